"""The conformance cases: what EMQX's own code made of each statement and event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.testing.sql import agrees, load, outcome
from headrace_plugins.sql.transform import Sql

CASES = load(Path(__file__).parent / "cases.json")

# Where EMQX's result is one that nobody relies on, ours is what people mean.
BETTER: dict[str, Any] = {
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
KEEPS_THE_PAYLOAD = "pub-nested_as-002"
# Statements EMQX does not have and headrace does, unless it is asked to be strict.
MORE = ("pub-parse_error-029", "pub-parse_error-030")
BY_ID = {case["id"]: case for case in CASES}


@pytest.mark.parametrize("case", [pytest.param(c, id=c["id"]) for c in CASES if c["id"] != KEEPS_THE_PAYLOAD])
def test_case(case: dict[str, Any]) -> None:
    if case["id"] in BETTER:
        assert case["quirk"]
        case = {**case, "expect": {"outputs": BETTER[case["id"]]}}
    got = outcome(case, Sql)
    assert agrees(case, got), got


def test_adding_to_the_payload_keeps_its_other_members() -> None:
    case = BY_ID[KEEPS_THE_PAYLOAD]
    assert case["quirk"]
    (row,) = outcome(case, Sql).rows
    assert row["payload"] == {**json.loads(case["event"]["payload"]), "b": 2}


@pytest.mark.parametrize("name", MORE)
def test_what_emqx_does_not_read_is_read_unless_strict(name: str) -> None:
    assert Sql.Config(query=BY_ID[name]["sql"]).query


def test_there_are_601_cases() -> None:
    assert len(BY_ID) == 601
