"""How compiled queries compare: the slow half, right for every value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.topics import matches
from headrace_plugins.sql.values import U, describe, is_number, number_of, order, same, strictly_same, text

__all__ = [
    "among",
    "between",
    "eq",
    "ge",
    "gt",
    "le",
    "like",
    "like_topic",
    "lt",
    "ne",
]


def _coerced(a: Any, b: Any) -> tuple[Any, Any]:
    """Number against string: the string's number. Boolean or null against string: its name."""
    if isinstance(b, str | bytes):
        if is_number(a):
            return a, _number(b, a)
        if a is None or type(a) is bool:
            return text(a), b
    elif isinstance(a, str | bytes):
        if is_number(b):
            return _number(a, b), b
        if b is None or type(b) is bool:
            return a, text(b)
    return a, b


def _number(text: str | bytes, beside: Any) -> int | float:
    try:
        return number_of(text)
    except ValueError:
        raise ValueError(f"cannot compare {describe(beside)} with {describe(text)}, which is no number") from None


def eq(a: Any, b: Any) -> bool:
    if a is U or b is U:
        return a is b
    return same(*_coerced(a, b))


def ne(a: Any, b: Any) -> bool:
    return not (a is U or b is U) and not same(*_coerced(a, b))


def lt(a: Any, b: Any) -> bool:
    return not (a is U or b is U) and order(*_coerced(a, b)) < 0


def gt(a: Any, b: Any) -> bool:
    return not (a is U or b is U) and order(*_coerced(a, b)) > 0


def le(a: Any, b: Any) -> bool:
    return a is b if a is U or b is U else order(*_coerced(a, b)) <= 0


def ge(a: Any, b: Any) -> bool:
    return a is b if a is U or b is U else order(*_coerced(a, b)) >= 0


def like_topic(a: Any, b: Any) -> bool:
    """``a =~ b``: a topic name against a topic filter."""
    if a is U or b is U:
        return False
    a, b = _coerced(a, b)
    if not (isinstance(a, str) and isinstance(b, str)):
        raise ValueError(f"=~ takes a topic and a topic filter, not {describe(a)} and {describe(b)}")
    return matches(b, a)


def among(value: Any, members: Sequence[Any]) -> bool:
    """``IN``: same kind and value."""
    return any(strictly_same(value, member) for member in members)


def between(value: Any, low: Any, high: Any) -> bool:
    return ge(value, low) and le(value, high)


def like(value: Any, pattern: Any) -> bool:
    """SQL's LIKE: ``%`` is any text, ``_`` one character."""
    if value is U or value is None or pattern is U:
        return False
    if not (isinstance(value, str) and isinstance(pattern, str)):
        raise ValueError(f"LIKE takes two strings, not {describe(value)} and {describe(pattern)}")
    first, *rest = pattern.split("%")
    if not rest:
        return _fits(value, 0, first) and len(value) == len(first)
    last = rest.pop()
    end = len(value) - len(last)
    if not (_fits(value, 0, first) and end >= len(first) and _fits(value, end, last)):
        return False
    at = len(first)
    for part in rest:  # the earliest place of each part leaves the most for the others
        while not _fits(value, at, part) and at + len(part) <= end:
            at = at + 1 if part[:1] in ("", "_") else _next(value, part[0], at + 1)
        at += len(part)
        if at > end:
            return False
    return True


def _next(value: str, char: str, start: int) -> int:
    at = value.find(char, start)
    return at if at >= 0 else len(value)


def _fits(value: str, at: int, part: str) -> bool:
    if "_" not in part:
        return value.startswith(part, at)
    return len(value) - at >= len(part) and all(p in ("_", v) for p, v in zip(part, value[at:], strict=False))
