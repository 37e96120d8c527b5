"""Arithmetic beyond the operators, and random values."""

from __future__ import annotations

import math
import random as random_
import uuid
from collections.abc import Callable
from typing import Any, Final

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
    """The size of a number, without its sign."""
    return abs(number(value))


def _real(name: str, of: Callable[[float], float], about: str) -> None:
    def call(value: Any) -> float:
        return float(of(number(value)))

    call.__doc__ = f"{about}, as a float."
    call.__code__ = call.__code__.replace(co_name=name)  # for messages
    function(name, kind="num")(call)


_RATIOS: Final = {"sin": "sine", "cos": "cosine", "tan": "tangent"}
_REAL: Final = {
    **{name: f"The {ratio} of an angle in radians" for name, ratio in _RATIOS.items()},
    **{f"a{name}": f"The angle in radians of a {ratio}" for name, ratio in _RATIOS.items()},
    **{f"{name}h": f"The hyperbolic {ratio}" for name, ratio in _RATIOS.items()},
    **{f"a{name}h": f"The inverse of the hyperbolic {ratio}" for name, ratio in _RATIOS.items()},
    "exp": "e to the power of a number",
    "log": "The natural logarithm",
    "log10": "The logarithm to base 10",
    "log2": "The logarithm to base 2",
    "sqrt": "The square root",
}
for _name, _about in _REAL.items():
    _real(_name, getattr(math, _name), _about)


@function(kind="num")
def ceil(value: Any) -> int:
    """The smallest integer that is not below."""
    return math.ceil(number(value))


@function(kind="num")
def floor(value: Any) -> int:
    """The largest integer that is not above."""
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
    """What is left of a float division, with the sign of the first."""
    return math.fmod(number(a), number(b))


@function(kind="num")
def power(a: Any, b: Any) -> float:
    """One number to the power of another, as a float."""
    return math.pow(number(a), number(b))


@function(kind="num")
def random() -> float:
    """A number from 0 up to 1, but not 1."""
    return random_.random()  # noqa: S311 - not for secrets


@function(kind="str")
def uuid_v4() -> str:
    """A random UUID."""
    return str(uuid.uuid4())


@function(kind="str")
def uuid_v4_no_hyphen() -> str:
    """A random UUID as 32 digits."""
    return uuid.uuid4().hex
