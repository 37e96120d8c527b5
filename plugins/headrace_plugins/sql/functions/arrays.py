"""Arrays."""

from __future__ import annotations

from typing import Any

from headrace_plugins.sql.comparison import among
from headrace_plugins.sql.functions.arguments import array, from_one, integer
from headrace_plugins.sql.functions.base import function


@function(check=from_one)
def nth(n: Any, values: Any) -> Any:
    """The n-th element, from 1."""
    array(values)
    if not 1 <= integer(n) <= len(values):
        raise ValueError(f"there is no element {n} of {len(values)}")
    return values[n - 1]


@function(kind="num")
def length(values: Any) -> int:
    """How many elements an array has."""
    return len(array(values))


@function(kind="list")
def sublist(start: Any, count: Any, values: Any = None) -> list[Any]:
    """As many elements from ``start`` on (1 is the first), or at the beginning: ``sublist(count, values)``."""
    if values is None:
        start, count, values = 1, start, count
    array(values)
    if integer(start) < 1 or (integer(count) < 0 and start <= len(values) + 1):
        raise ValueError("elements count from 1, and their number is not negative")
    return values[start - 1 : start - 1 + max(count, 0)]  # type: ignore[no-any-return]  # a list


@function()
def first(values: Any) -> Any:
    """The first element; an empty array has none, and is an error."""
    if not array(values):
        raise ValueError("the array is empty")
    return values[0]


@function()
def last(values: Any) -> Any:
    """The last element; an empty array has none, and is an error."""
    if not array(values):
        raise ValueError("the array is empty")
    return values[-1]


@function(kind="bool")
def contains(value: Any, values: Any) -> bool:
    """Is the value among the elements, by kind and value?"""
    return among(value, array(values))
