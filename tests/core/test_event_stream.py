"""The form of events on the stream: what goes in comes out, whichever of the two encoders takes it."""

import enum

import msgpack
import pytest

from headrace.events import UNDEFINED, Event, decode, encode_event, join, traceparent
from headrace.templates import Template


class Word(str):
    __slots__ = ()


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 1.5, float("inf"), "", "ü", "\ud800", b"\x00\xff", 2**63, -(2**63) - 1, 10**30, UNDEFINED,
        [1, [2, {"a": None}]], {"a": {"b": UNDEFINED}, 1: 2, None: 3}, {"big": 2**64, "text": "\udfff"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_column_comes_back_as_it_was(value):
    event = Event({"v": value, "topic": "t"}, "id", "key", 7, source="in", rule="r", index=3)
    (again,) = decode(join([encode_event(event)]))
    assert again.columns == event.columns
    assert type(again["v"]) is type(value)
    for field in ("id", "key", "timestamp", "source", "rule", "index"):
        assert getattr(again, field) == getattr(event, field)


def test_subclasses_of_plain_types_travel_as_those():
    (again,) = decode(join([encode_event(Event({"word": Word("a"), "colour": Colour.RED}))]))
    assert again.columns == {"word": "a", "colour": 1}


def test_what_cannot_travel_is_a_type_error_and_spoils_nothing():
    with pytest.raises(TypeError, match="object cannot travel"):
        encode_event(Event({"a": 2**64, "v": object()}))
    (again,) = decode(join([encode_event(Event({"v": 2**64}))]))
    assert again["v"] == 2**64


def test_the_format_is_plain_msgpack():
    rows = msgpack.unpackb(join([encode_event(Event({"v": b"x"}, "id", "key", 7))]))
    assert rows == [["id", "key", 7, "", "", 0, {"v": b"x"}]]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91", b"\x91\x01", b"\x91\x90", b"\x01"])
def test_what_is_no_batch_is_a_value_error(data):
    with pytest.raises((ValueError, TypeError)):
        decode(data)


TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def test_a_trace_travels_with_its_event_and_its_outputs():
    event = Event({"a": 1})
    event.trace = TRACE
    plain, traced = decode(join([encode_event(Event({})), encode_event(event.output({"a": 2}, "r"))]))
    assert (plain.trace, traced.trace, traced.error) == ("", TRACE, None)
    assert (traced.meta["trace"], "trace" in plain.meta) == (TRACE, False)
    template = Template("${meta.trace}", missing="omit")
    assert (template.render(traced), template.render(plain)) == (TRACE, "")


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        (TRACE, TRACE),
        (TRACE[:-2] + "00", TRACE[:-2] + "00"),
        (TRACE[:-2] + "03", TRACE),  # bits this version does not know are not passed on
        (f"cc{TRACE[2:]}-what-comes-later", TRACE),
        (TRACE + "-more", ""), ("ff" + TRACE[2:], ""), (TRACE.upper(), ""), (TRACE[:-1], ""), (TRACE + "\n", ""),
        (TRACE.replace("a", "0"), ""), (TRACE.replace("b", "0"), ""), ("", ""), (None, ""), (b"x", ""),
    ],
)  # fmt: skip
def test_a_traceparent_is_taken_as_the_standard_says_or_not_at_all(text, trace):
    assert traceparent(text) == trace
