"""Compiled queries do what a plain reading of them does, and say why in any case."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from headrace import UNDEFINED, Event
from headrace_plugins.sql import Sql
from sql_interpreter import rows_of
from sql_queries import Chance

QUERIES = 500


def _text(value: Any) -> str:
    """1, 1.0 and true are three texts."""
    return json.dumps(value, default=lambda other: "undefined" if other is UNDEFINED else repr(other), sort_keys=True)


def _read(sql: Sql, columns: dict[str, Any]) -> str:
    try:
        return _text(rows_of(sql.query, Event(dict(columns))))
    except (ValueError, ArithmeticError):
        return "fails"


def _run(sql: Sql, columns: dict[str, Any]) -> str:
    rows, no_result, exceptions = sql.process([Event(dict(columns))])
    assert len(exceptions) + len(list(no_result)) + bool(rows) == 1
    return "fails" if exceptions else _text([row for _, row in rows])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(4))
def test_compiled_and_read_plainly_a_query_gives_the_same(seed: int, make: Callable[..., Sql]) -> None:
    chance = Chance(seed)
    outcomes = {"fails": 0, "[]": 0}
    for _ in range(QUERIES):
        text = chance.query()
        try:
            sql = make(text)
        except ValidationError:
            continue
        for columns in (chance.event(), chance.event()):
            found = _run(sql, columns)
            outcomes[found] = outcomes.get(found, 0) + 1
            assert found == _read(sql, columns), (text, columns)
            told = sql.explain(Event(dict(columns)))
            assert _text(list(told.rows)) == ("[]" if found == "fails" else found), (text, columns)
    assert min(outcomes["fails"], outcomes["[]"], len(outcomes)) > QUERIES / 20
