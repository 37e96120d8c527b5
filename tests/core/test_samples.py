"""Sample events: one of each, whatever it is called."""

import pytest

from headrace.components import Inputs
from headrace.samples import event_named, make_event, sample, samples
from headrace.topics import event_names


def test_there_is_a_sample_of_every_event():
    assert [each.name for each in samples()] == list(event_names())


@pytest.mark.parametrize("name", event_names())
def test_a_sample_is_what_its_names_in_from_stand_for(name: str):
    found = sample(name)
    event = make_event(found.columns)
    assert event["event"] == name
    assert isinstance(event["timestamp"], int)
    assert None not in found.columns.values()
    for topic in found.topics:
        assert sample(topic).name == name
        assert Inputs(("#",), (topic,)).matching(event) == (topic,)
    assert Inputs(("#",)).matching(event) == (("#",) if name == "message.publish" else ())


def test_an_event_is_known_by_any_of_its_names():
    spellings = ("client.connected", "client_connected", "$events/client_connected", "$events/client/connected")
    assert {event_named(name) for name in spellings} == {"client.connected"}
    assert event_named("client.conected") is None
    with pytest.raises(ValueError, match=r"did you mean 'client.connected'\?"):
        sample("client.conected")


def test_events_of_one_client_have_one_key():
    assert make_event({"clientid": "c", "topic": "t"}).key == "c"
    assert make_event({"topic": "t"}).key == "t"
    assert make_event({}, "plant").source == "plant"
