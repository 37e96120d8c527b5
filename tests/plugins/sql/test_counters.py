"""Which counters of a rule each outcome of a query moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace import Event
from headrace.engine.rules import Rule, RuleSet
from headrace.engine.tally import RuleTally
from headrace.metrics import Status

NO_RESULT = {"matched": 1, "passed": 0, "failed": 1, "failed.no_result": 1, "failed.exception": 0, "actions.total": 0}
EXCEPTION = {"matched": 1, "passed": 0, "failed": 1, "failed.no_result": 0, "failed.exception": 1, "actions.total": 0}
PASSED = {"matched": 1, "passed": 1, "failed": 0, "failed.no_result": 0, "failed.exception": 0, "actions.total": 1}
NOTHING = dict.fromkeys(PASSED, 0)


@pytest.mark.parametrize(
    ("query", "counters"),
    [
        ('SELECT qos FROM "other/#"', NOTHING),
        ('SELECT qos FROM "$events/client_connected"', NOTHING),
        ('SELECT qos FROM "t/#"', PASSED),
        ('SELECT qos FROM "t/#", "#", "t/1"', PASSED),
        ('SELECT qos FROM "t/#" WHERE qos = 2', NO_RESULT),
        ('SELECT qos FROM "t/#" WHERE payload.gone != 1', NO_RESULT),
        ('SELECT payload.l - 1 AS v FROM "t/#"', EXCEPTION),
        ('SELECT payload.l - 1 AS v FROM "t/#" WHERE qos = 2', EXCEPTION),
        ("SELECT qos FROM \"t/#\" WHERE qos = 'x'", EXCEPTION),
        ('FOREACH payload.l DO item FROM "t/#"', {**PASSED, "actions.total": 3}),
        ('FOREACH payload.l AS e DO e INCASE e > 5 FROM "t/#"', NO_RESULT),
        ('FOREACH payload.gone DO item FROM "t/#"', NO_RESULT),
        ('FOREACH payload.l DO item FROM "t/#" WHERE qos = 2', NO_RESULT),
        ('FOREACH payload.l - 1 DO item FROM "t/#"', EXCEPTION),
        ("FOREACH payload.l DO item FROM \"t/#\" WHERE qos = 'x'", EXCEPTION),
        ("FOREACH payload.l AS e DO e INCASE e = 'x' FROM \"t/#\"", EXCEPTION),
        ('FOREACH payload.l AS e DO 1 / (e - 3) AS v FROM "t/#"', EXCEPTION),
    ],
)
def test_an_outcome_moves_its_counters(query: str, counters: dict[str, int], make: Callable[..., Any]) -> None:
    rule = Rule("rule", [make(query)], ("out",), None, RuleTally(), Status("running"))
    columns = {"event": "message.publish", "topic": "t/1", "qos": 1, "payload": '{"l": [1, 2, 3]}'}
    outputs = RuleSet([rule]).process([Event(columns, source="s")]).get("out", [])
    values = rule.tally.snapshot()
    assert {name: values[name] for name in counters} == counters
    assert len(outputs) == counters["actions.total"]
