"""Conditions that no event can meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf, isnan
from typing import Final, NamedTuple

from headrace import Event
from headrace_plugins.sql.compiler import Surroundings, compile_probe
from headrace_plugins.sql.nodes import And, Between, Call, Compare, Expr, Literal, Or, Path, Select, Unary, walk
from headrace_plugins.sql.render import render
from headrace_plugins.sql.values import is_number

__all__ = ["constants_of", "never"]

_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_MOST: Final = 50
"""Tests of one AND that are compared with each other."""
Constant = str | int | float | bool


class _Test(NamedTuple):
    """``path op constant``, one of an AND."""

    path: Path
    op: str
    value: Constant
    at: int
    text: str


def never(condition: Expr) -> tuple[int, str] | None:
    """Where and why a condition is never met; None if it may be, as far as can be told from its constants."""
    if not any(isinstance(node, Path | Call) for node in walk(condition)):
        return None if _holds(condition) else (condition.at, f"{render(condition)} is always false")
    if isinstance(condition, Or):
        reasons = [never(item) for item in condition.items]
        return reasons[0] if all(reasons) else None
    if not isinstance(condition, And):
        return _clash(list(_tests(condition)))  # BETWEEN is two tests
    return next(filter(None, map(never, condition.items)), None) or _clash(list(_tests(condition)))


def constants_of(condition: Expr, path: Path) -> Iterator[tuple[int, Constant]]:
    """What a path must equal to meet the condition."""
    yield from ((t.at, t.value) for t in _tests(condition) if t.op == "=" and _same(t.path, path))


def _holds(condition: Expr) -> bool:
    """The value of a condition without names; what cannot be computed is left to the run."""
    try:
        run = compile_probe(Select((), (), None), Surroundings(), [condition])
        (thunk,) = run(Event({}))
        return thunk() is not False
    except Exception:  # noqa: BLE001 - an error at each event is reported by each event
        return True


def _tests(condition: Expr) -> Iterator[_Test]:
    if isinstance(condition, And):
        for item in condition.items:
            yield from _tests(item)
    elif isinstance(condition, Compare):
        left, right = _constant(condition.left), _constant(condition.right)
        if isinstance(condition.left, Path) and right is not None:
            yield _Test(condition.left, condition.op, right, condition.at, render(condition))
        elif isinstance(condition.right, Path) and left is not None:
            op = _FLIPPED.get(condition.op, condition.op)
            yield _Test(condition.right, op, left, condition.at, render(condition))
    elif isinstance(condition, Between) and isinstance(condition.operand, Path):
        for op, bound in ((">=", condition.low), ("<=", condition.high)):
            if (value := _constant(bound)) is not None:
                yield _Test(condition.operand, op, value, condition.at, render(condition))


def _constant(expr: Expr) -> Constant | None:
    if isinstance(expr, Literal):
        return expr.value
    if isinstance(expr, Unary) and expr.op == "-":
        value = _constant(expr.operand)
        return -value if is_number(value) and not isinstance(value, str | None) else None
    return None


def _clash(tests: list[_Test]) -> tuple[int, str] | None:
    """Two tests of one path that exclude each other."""
    for i, test in enumerate(tests[:_MOST]):
        for earlier in tests[:i]:
            if _same(test.path, earlier.path) and _exclude(earlier, test):
                if earlier.text == test.text:
                    return test.at, f"{test.text} is never true"
                return test.at, f"{earlier.text} and {test.text} exclude each other"
    return None


def _same(one: Path, other: Path) -> bool:
    return replace(one, at=0) == replace(other, at=0)


def _exclude(one: _Test, other: _Test) -> bool:
    ops = {one.op, other.op}
    a, b = _number(one.value), _number(other.value)
    if is_number(one.value) and is_number(other.value) and not ops & {"!=", "<>", "=~", "~="}:
        return a is not None and b is not None and _apart(one.op, a, other.op, b)
    if type(one.value) is type(other.value) and "=" in ops and ops & {"!=", "<>"}:
        return one.value == other.value
    if ops != {"="}:
        return False  # values of other kinds have an order too
    if isinstance(one.value, bool) or isinstance(other.value, bool):
        return type(one.value) is type(other.value) and one.value != other.value
    # text and numbers are equal if the text reads as that number
    return one.value != other.value and (a is None or b is None or a != b)


def _apart(one: str, a: float, other: str, b: float) -> bool:
    """Do two ranges of numbers have nothing in common?"""
    low = max(_low(one, a), _low(other, b))
    high = min(_high(one, a), _high(other, b))
    if low != high:
        return low > high
    open_ends = {op for op, value in ((one, a), (other, b)) if value == low}
    return bool(open_ends & {"<", ">"})


def _low(op: str, value: float) -> float:
    return value if op in ("=", ">", ">=") else -inf


def _high(op: str, value: float) -> float:
    return value if op in ("=", "<", "<=") else inf


def _number(value: Constant) -> float | None:
    """The number that a comparison with a number reads in a value, by the widest reading."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if isnan(number) else number
