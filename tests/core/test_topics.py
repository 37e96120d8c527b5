"""Topics that stand for events."""

from __future__ import annotations

import itertools

import pytest

from headrace.topics import TopicIndex, event_topics, matches, overlap


@pytest.mark.parametrize(
    ("name", "topics"),
    [
        ("client.connected", ("$events/client/connected", "$events/client_connected")),
        ("delivery.dropped", ("$events/message/delivery_dropped", "$events/delivery_dropped")),
        ("client.check_authn_complete", ("$events/auth/check_authn_complete", "$events/client_check_authn_complete")),
        ("alarm.activated", ("$events/sys/alarm_activated",)),
        ("$bridges/mqtt:plant", ("$bridges/mqtt:plant",)),
    ],
)
def test_an_event_has_both_spellings_of_its_topic(name: str, topics: tuple[str, ...]) -> None:
    assert event_topics(name) == topics


@pytest.mark.parametrize("name", ["message.publish", "client.unheard_of", ""])
def test_a_message_and_an_unknown_event_have_none(name: str) -> None:
    assert event_topics(name) == ()


def test_wildcards_reach_events_only_below_their_prefix() -> None:
    topics = event_topics("client.connected")
    assert any(matches("$events/client/+", topic) for topic in topics)
    assert any(matches("$events/#", topic) for topic in topics)
    assert not any(matches("#", topic) for topic in topics)


def test_two_filters_overlap_if_some_topic_matches_both() -> None:
    levels = ("a", "b", "+", "#")
    filters = ["/".join(each) for n in (1, 2, 3) for each in itertools.product(levels, repeat=n)]
    filters = [f for f in filters if "#" not in f.removesuffix("#")] + ["$SYS/#", "$SYS/+", "$SYS"]
    topics = ["/".join(each) for n in (1, 2, 3, 4) for each in itertools.product("abc", repeat=n)]
    topics += ["$SYS", "$SYS/a", "$SYS/a/b"]
    matched = {filter: {topic for topic in topics if matches(filter, topic)} for filter in filters}
    for one, other in itertools.product(filters, repeat=2):
        assert overlap(one, other) == bool(matched[one] & matched[other]), (one, other)
    index: TopicIndex[str] = TopicIndex()
    for filter in filters:
        index.add(filter, filter)
    for one in filters:
        assert index.meeting(one) == tuple(other for other in filters if overlap(one, other)), one
