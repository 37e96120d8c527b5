"""Why an event has a row, or none, told step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from headrace import Event
from headrace_plugins.sql.errors import EvaluationError
from headrace_plugins.sql.nodes import And, Compare, Expr, Literal, Not, Or, Path, Query, Select, children
from headrace_plugins.sql.render import render
from headrace_plugins.sql.runtime import decoded_text
from headrace_plugins.sql.values import U, describe, json_text

__all__ = ["Probe", "steps_of_where", "why_none"]

Probe = Callable[[Event], Sequence[Callable[[], Any]]]


def steps_of_where(query: Query, probe: Callable[[Sequence[Expr]], Probe], event: Event) -> Iterator[str]:
    """What WHERE and each of its parts came to, with the values compared."""
    if query.where is None:
        return
    parts = list(_parts(query.where))
    exprs = [query.where, *(expr for part in parts for expr in (part, *_operands(part)))]
    try:
        thunks = iter(probe(exprs)(event))
    except Exception:  # noqa: BLE001 - the event fails before WHERE; processing says why
        return
    yield f"WHERE {render(query.where)}: {_outcome(next(thunks))}"
    for part in parts:
        outcome = _outcome(next(thunks))
        values = [f"{render(operand)} is {_outcome(next(thunks))}" for operand in _operands(part)]
        if len(parts) > 1 or values:
            yield f"  {render(part)}: {outcome}" + (f" ({', '.join(values)})" if values else "")


def why_none(query: Query, probe: Callable[[Sequence[Expr]], Probe], event: Event) -> str:
    """Why an event that did not fail has no row."""
    if isinstance(query, Select):
        return "WHERE is false"
    array = query.fields[-1].expr
    assert array is not None  # or the query would have been refused
    conditions = [] if query.where is None else [query.where]
    value, *where = [thunk() for thunk in probe([array, *conditions])(event)]
    if where == [False]:
        return "WHERE is false"
    if array == Path("payload", (), array.at):
        value = decoded_text(value)  # another text is no array
    if not isinstance(value, list):
        hint = "; json_decode() makes one of a text" if isinstance(value, str) and value.lstrip()[:1] == "[" else ""
        return f"{render(array)} is {describe(value)}, and FOREACH takes an array{hint}"
    return f"INCASE is true for none of {len(value)} elements" if value else f"{render(array)} is an empty array"


def _parts(expr: Expr) -> Iterator[Expr]:
    """The tests that AND, OR and NOT join."""
    if isinstance(expr, And | Or):
        for item in expr.items:
            yield from _parts(item)
    elif isinstance(expr, Not) and isinstance(expr.operand, And | Or | Not):
        yield from _parts(expr.operand)
    else:
        yield expr


def _operands(part: Expr) -> list[Expr]:
    """What a test looks at, besides constants."""
    inner = part.operand if isinstance(part, Not) else part
    if not isinstance(inner, Compare):
        return [child for child in children(inner) if not isinstance(child, Literal)]
    return [side for side in (inner.left, inner.right) if not isinstance(side, Literal)]


def _outcome(thunk: Callable[[], Any]) -> str:
    try:
        value = thunk()
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is what there is to tell
        return str(EvaluationError("error", exc))
    if value is U:
        return "undefined"
    shown = json_text(value)
    return shown if len(shown) <= 200 else shown[:197] + "…"
