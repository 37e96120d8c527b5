"""The conformance cases: what EMQX's own code made of each statement and event."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest

from headrace.events import UNDEFINED, Event
from headrace.testing.context import make_context
from headrace.topics import event_topics, matches
from headrace_plugins.sql.transform import Sql

CASES = json.loads((Path(__file__).parent / "cases.json").read_text())

# Where EMQX's result is one that nobody relies on, ours is what people mean (docs: differences from EMQX).
BETTER: dict[str, Any] = {
    "pub-nested_as-002": "keeps the other members of the payload",
    "pub-where-016": [{"q": 1}],
    "pub-where-017": [{"q": 1}],
    "pub-where-034": [{"q": 1}],
    "pub-where-035": [{"q": 1}],
    "pub-where-043": [{"q": 1}],
    "pub-case-010": [{"r": 1}],
    "pub-func_math-002": [{"a": 1.5}],
    "pub-func_conv-005": [{"a": "[72,105]"}],
    "pub-func_conv-018": [{"a": "5.0"}],
    "pub-func_str-010": [{"b": "én"}],
    "pub-func_str-011": [{"b": "本日"}],
    "pub-func_str-053": [{"one": True, "two": False}],
    "pub-func_date-010": [{"a": "1970年"}],
}
# Statements EMQX does not have and headrace does.
MORE = {"pub-parse_error-029", "pub-parse_error-030"}


def plain(value: Any) -> Any:
    """A value as the cases write it: undefined is null, bytes that are no text are marked."""
    if value is UNDEFINED:
        return None
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"$bytes": base64.b64encode(value).decode()}
    return value


def same(got: Any, wanted: Any) -> bool:
    """Equal in kind and value; floats to the last digits, which differ between mathematical libraries."""
    if type(got) is not type(wanted):
        return False
    if isinstance(wanted, float):
        return math.isclose(got, wanted, rel_tol=1e-12)
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(same(got[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    return bool(got == wanted)


def event_of(case: dict[str, Any]) -> Event:
    columns = {
        name: base64.b64decode(value["$bytes"]) if isinstance(value, dict) and "$bytes" in value else value
        for name, value in case["event"].items()
    }
    return Event(columns)


def run(case: dict[str, Any]) -> tuple[str, Any]:
    """``outputs``, ``no_result``, ``error`` or ``parse_error``, with the rows or the text."""
    try:
        transform = Sql(Sql.Config(query=case["sql"]), make_context())
    except ValueError as exc:
        return "parse_error", str(exc)
    event = event_of(case)
    inputs = transform.inputs()
    name = event.get("event", "message.publish")
    if name == "message.publish":
        wanted = any(matches(filter, event.get("topic", "")) for filter in inputs.topics)
    else:
        wanted = any(matches(filter, topic) for topic in event_topics(name) for filter in inputs.events)
    if not wanted:
        return "no_result", "from"
    output = transform.process([event])
    if output.exceptions:
        return "error", repr(output.exceptions[0])
    return ("outputs", [plain(row) for _, row in output.rows]) if output.rows else ("no_result", "")


KINDS = {
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) is float,
    "string": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "uuid_v4": lambda value: isinstance(value, str) and len(value) == 36 and value[14] == "4",
    "hex32": lambda value: isinstance(value, str) and len(value) == 32 and int(value, 16) >= 0,
}


def subset(got: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    return len(got) == len(wanted) and all(
        all(key in row and same(row[key], value) for key, value in want.items())
        for row, want in zip(got, wanted, strict=True)
    )


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    kind, got = run(case)
    expect = case["expect"]
    if case["id"] in MORE:
        assert kind != "parse_error"
    elif case["id"] in BETTER:
        assert case["quirk"]
        assert kind == "outputs", got
        assert isinstance(BETTER[case["id"]], str) or same(got, BETTER[case["id"]])
    elif "parse_error" in expect:
        assert kind == "parse_error", got
    elif "type_checks" in expect:
        assert kind == "outputs", got
        for column, wanted in expect["type_checks"].items():
            assert KINDS[wanted](got[0][column]), (column, got)
    elif "outputs" in expect:
        assert kind == "outputs", got
        assert (subset if case.get("match") == "subset" else same)(got, expect["outputs"]), got
    elif "error" in expect:  # what EMQX only finds at run time may be refused earlier
        assert kind in ("error", "parse_error"), got
    else:
        assert kind == "no_result", got


def test_adding_to_the_payload_keeps_its_other_members() -> None:
    case = next(case for case in CASES if case["id"] == "pub-nested_as-002")
    _, (row,) = run(case)
    assert row["payload"] == {**json.loads(case["event"]["payload"]), "b": 2}


def test_there_are_601_cases() -> None:
    assert len({case["id"] for case in CASES}) == 601
