"""A rule beside the same thing written by hand, and many rules beside one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from stage import hot, query, reading, rules

from headrace import Event

Measure = Callable[..., None]
MANY = 1000
_BY_ID = (
    "SELECT {0} AS rule, payload.id AS id, payload.temp AS temp, payload.seq AS seq, payload.ts AS ts "
    'FROM "t/#" WHERE payload.id = {0}'
)


def by_hand(events: list[Event]) -> list[tuple[int, dict[str, Any]]]:
    """What a program would do that knows its data: it is JSON, and temp is a number."""
    rows = []
    for i, event in enumerate(events):
        payload = orjson.loads(event.columns["payload"])
        if payload["temp"] > 30:
            row = {
                "tf": payload["temp"] * 1.8 + 32,
                "id": payload["id"],
                "topic": event.columns["topic"],
                "seq": payload["seq"],
                "ts": payload["ts"],
            }
            rows.append((i, row))
    return rows


@pytest.mark.benchmark(group="filter and transform, 20 % pass")
def test_by_hand(measure: Measure) -> None:
    measure(by_hand)


@pytest.mark.benchmark(group="filter and transform, 20 % pass")
def test_compiled(measure: Measure) -> None:
    measure(query(hot).process)


@pytest.mark.benchmark(group="filter and transform, 20 % pass")
def test_compiled_in_the_rule_stage(measure: Measure) -> None:
    measure(rules(hot).process)


# -- WHERE payload.id = i: one rule beside many


def _of_one(i: int) -> dict[str, Any]:
    return {**reading(i), "id": 0}


def _of_none(i: int) -> dict[str, Any]:
    return {**reading(i), "id": MANY + i}


@pytest.mark.benchmark(group="rules by equality")
@pytest.mark.parametrize(
    ("n", "payload"),
    [(1, _of_one), (MANY, _of_one), (MANY, reading), (1, _of_none), (MANY, _of_none)],
    ids=["one rule", f"{MANY} rules", f"{MANY} rules in turn", "one rule, not meant", f"{MANY} rules, none meant"],
)
def test_many_rules(measure: Measure, n: int, payload: Callable[[int], Any]) -> None:
    measure(rules(*(_BY_ID.format(i) for i in range(n))).process, payload)
