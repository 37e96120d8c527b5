"""One query on one event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace import Event
from headrace.components import Context
from headrace.events import new_id
from headrace_plugins.sql import Sql, SqlConfig

Make = Callable[..., Sql]
Run = Callable[..., Any]


@pytest.fixture
def make() -> Make:
    """A transform of a query; ``functions`` are those of plugins, the rest are options."""

    def make(query: str, *, functions: dict[str, Callable[..., Any]] | None = None, **options: Any) -> Sql:
        config = SqlConfig.model_validate({"query": query, **options}, context={"functions": functions or {}})
        return Sql(config, Context("rule", pipeline=new_id(), functions=functions or {}))

    return make


@pytest.fixture
def run(make: Make) -> Run:
    """The rows of a query on an event, or its exception, which is raised."""

    def run(query: str, payload: Any = "{}", *, options: dict[str, Any] | None = None, **columns: Any) -> list[Any]:
        event = Event({"topic": "t/1", "qos": 1, "clientid": "c1", "payload": payload, **columns})
        output = make(query, **(options or {})).process([event])
        for error in output.exceptions.values():
            raise error
        assert list(output.no_result) == ([] if output.rows else [0])
        return [row for _, row in output.rows]

    return run


@pytest.fixture
def value(run: Run) -> Run:
    """The value of one expression."""

    def value(expression: str, payload: Any = "{}", **more: Any) -> Any:
        (row,) = run(f'SELECT {expression} AS v FROM "#"', payload, **more)
        return row["v"]

    return value
