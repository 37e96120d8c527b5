"""Which filters share topics, which messages are copies, and what a file remembers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.topics import matches
from headrace_plugins.mqtt.rivals import Rivals
from headrace_plugins.mqtt.subscriptions import WINDOW, Copies, Remembered, identifier, overlapping

levels = st.sampled_from(["a", "b", "+", "", "$x"])
filters = st.builds(
    lambda levels, rest: "/".join([*levels, "#"] if rest else levels),
    st.lists(levels, min_size=1, max_size=3),
    st.booleans(),
)
topic_names = st.builds("/".join, st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=4))


@pytest.mark.parametrize(
    ("some", "found"),
    [
        (["a/+", "+/b"], ["a/+", "+/b"]),
        (["a/#", "+/+/c"], ["a/#", "+/+/c"]),
        (["a/#", "+"], ["a/#", "+"]),
        (["a", "b/#"], []),
        (["+/a", "$SYS/#"], []),
        (["$share/g/a/+", "$share/g/+/b", "a/b"], ["$share/g/a/+", "$share/g/+/b"]),
        (["$share/g/a/+", "$share/h/+/b"], []),
    ],
)
def test_filters_that_share_topics(some, found):
    assert overlapping(some) == found


@given(filters, filters, topic_names)
def test_what_two_filters_match_makes_them_overlap(one, other, topic):
    if one != other and matches(one, topic) and matches(other, topic):
        assert overlapping([one, other]) == [one, other]


def test_copies_are_told_by_what_they_are_for():
    copies = Copies()

    def is_one(*ids, topic="t", payload=b"x", qos=1):
        found = {"Subscription-Identifier": list(ids) if len(ids) > 1 else ids[0]} if ids else {}
        return copies.is_one(topic, payload, qos, found)

    assert [is_one(1), is_one(2), is_one(3)] == [False, True, True]
    assert [is_one(1), is_one(1, payload=b"y"), is_one(2), is_one(2, payload=b"y")] == [False, False, True, True]
    assert not is_one(1)
    assert not is_one(1), "the same subscription again: it was published again"
    assert not is_one(2, qos=0), "of another QoS: it does not stand in for the other"
    assert [is_one(7, 8, topic="u"), is_one(7, 8, topic="u")] == [False, False], "one for all, as some brokers send it"
    assert [is_one(), is_one()] == [False, False]
    assert not is_one(5, payload=b"z")
    for n in range(WINDOW):
        is_one(5, payload=b"%d" % n)
    assert not is_one(6, payload=b"z"), "too long ago"


def test_an_identifier_is_the_same_in_every_run():
    assert identifier("a/+") == 150_255_913


def test_what_is_remembered(tmp_path):
    path = tmp_path / "mqtt" / "plant.json"
    Remembered(path, "one").keep(["a", "b"])
    assert Remembered(path, "one").filters == ("a", "b")
    assert Remembered(path, "other").filters == ()
    for broken in ("", "[]", "{", '{"session": "one"}', '{"session": "one", "filters": 3}'):
        path.write_text(broken)
        assert Remembered(path, "one").filters == ()
    memory = Remembered(None, "one")
    memory.keep(["a"])
    assert memory.filters == ("a",)


def test_a_broker_that_says_so_names_the_rival_at_once():
    rivals = Rivals("me")
    assert rivals.lost(True, False, 0, 100) == "another client connected as me"
    assert rivals.pause(100, 1.0) == 1.0
    rivals.lost(True, False, 100, 101)
    assert "uses the client id me" in rivals.lost(True, False, 101, 102)
    assert rivals.pause(102, 1.0) == 2.0
    assert rivals.problem(102)
    assert rivals.problem(200) == ""


def test_without_a_word_from_the_broker_only_a_row_of_short_lives_tells():
    rivals = Rivals("me")
    assert rivals.lost(False, True, 0, 1) == rivals.lost(False, True, 1, 2) == ""
    assert "does another client use the id me?" in rivals.lost(False, True, 2, 3)
    for n in range(20):
        rivals.lost(False, True, n, n + 1)
    assert rivals.pause(21, 1.0) == 5.0
    rivals.lost(True, False, 21, 22)
    assert rivals.pause(22, 1.0) == 30.0
    assert rivals.lost(False, True, 100, 200) == "", "it lived long enough"
    assert rivals.lost(False, True, 200, 201) == ""
    assert rivals.lost(False, False, 201, 202) == "", "we ended it"
