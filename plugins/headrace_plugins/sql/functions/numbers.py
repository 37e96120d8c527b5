"""Arithmetic beyond the operators, and random values."""

from __future__ import annotations

import math
import random as random_
import uuid
from collections.abc import Callable
from typing import Any

from headrace_plugins.sql import runtime
from headrace_plugins.sql.functions.arguments import number
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.values import same

function("div", kind="num")(runtime.div)
function("mod", kind="num")(runtime.mod)


@function(kind="bool")
def eq(a: Any, b: Any) -> bool:
    """Equal, 1 and 1.0 too; a number and a string never are."""
    return same(a, b)


@function(kind="num")
def abs_(value: Any) -> int | float:
    return abs(number(value))


def _real(name: str, of: Callable[[float], float]) -> None:
    def call(value: Any) -> float:
        return float(of(number(value)))

    call.__code__ = call.__code__.replace(co_name=name)  # for messages
    function(name, kind="num")(call)


for _name in (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "log", "log10", "log2"),
    *("sin", "sinh", "sqrt", "tan", "tanh"),
):
    _real(_name, getattr(math, _name))


@function(kind="num")
def ceil(value: Any) -> int:
    return math.ceil(number(value))


@function(kind="num")
def floor(value: Any) -> int:
    return math.floor(number(value))


@function(kind="num")
def round_(value: Any) -> int:
    """The nearest integer, halves away from zero."""
    size = abs(number(value))
    whole = math.floor(size)
    whole += size - whole >= 0.5
    return whole if value >= 0 else -whole


@function(kind="num")
def fmod(a: Any, b: Any) -> float:
    return math.fmod(number(a), number(b))


@function(kind="num")
def power(a: Any, b: Any) -> float:
    return math.pow(number(a), number(b))


@function(kind="num")
def random() -> float:
    return random_.random()  # noqa: S311 - not for secrets


@function(kind="str")
def uuid_v4() -> str:
    return str(uuid.uuid4())


@function(kind="str")
def uuid_v4_no_hyphen() -> str:
    return uuid.uuid4().hex
