"""From one kind to another."""

from __future__ import annotations

import math
from typing import Any

from headrace_plugins.sql.functions.arguments import integer, octets
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.functions.maps import as_map
from headrace_plugins.sql.values import Bits, describe, fixed, from_bytes, is_number, number_of, text, to_bytes


@function(kind="str")
def str_(value: Any) -> str | bytes:
    """A value as text."""
    return text(value)


@function(kind="str")
def str_utf8(value: Any) -> str:
    """A value as text; bytes that are not UTF-8 are an error."""
    shown = text(value)
    if isinstance(shown, bytes):
        raise ValueError("these bytes are not UTF-8")
    return shown


@function()
def str_utf16_le(value: Any) -> str | bytes:
    """A value as text in UTF-16, little end first."""
    return from_bytes(str_utf8(value).encode("utf-16-le"))


@function(kind="bool")
def bool_(value: Any) -> bool:
    """true, false, their names, 1 and 0."""
    if type(value) is bool:
        return value
    if value == "true" or value == "false":
        return bool(value == "true")
    if is_number(value) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{describe(value)} is no boolean")


def _number(value: Any) -> int | float:
    if is_number(value):
        return value  # type: ignore[no-any-return]  # is_number
    if isinstance(value, str | bytes):
        return number_of(value)
    raise ValueError(f"{describe(value)} is no number")


@function(kind="num")
def int_(value: Any) -> int:
    """Booleans are 1 and 0; fractions are cut toward minus infinity."""
    return int(value) if type(value) is bool else math.floor(_number(value))


@function(kind="num")
def float_(value: Any, decimals: Any = None) -> float:
    """As a float, rounded to some decimals if asked."""
    result = float(_number(value))
    if decimals is None:
        return result
    if not 0 < integer(decimals) <= 253:
        raise ValueError("the number of decimals is 1 to 253")
    return float(fixed(result, decimals, compact=False))


@function(kind="str")
def float2str(value: Any, decimals: Any) -> str:
    """In decimal notation, with at most so many decimals."""
    if not is_number(value):
        raise ValueError(f"{describe(value)} is no number")
    if not 0 <= integer(decimals) <= 253:
        raise ValueError("the number of decimals is 0 to 253")
    return fixed(float(value), decimals, compact=True)


@function("map")
def map_(value: Any) -> dict[str, Any]:
    """An object, or what a JSON text holds as one."""
    return as_map(value)


@function(kind="str")
def bin2hexstr(value: Any, prefix: Any = "") -> str:
    """Upper-case hexadecimal, with a prefix if given."""
    if not isinstance(value, str | bytes) or not isinstance(prefix, str):
        raise ValueError(f"expected a string or bytes, not {describe(value)}")
    digits = to_bytes(value).hex().upper()
    if isinstance(value, Bits) and 0 < value.size % 8 <= 4:
        digits = digits[1:]  # the first digit is padding only
    return prefix + digits


@function()
def hexstr2bin(value: Any, prefix: Any = "") -> str | bytes:
    """The bytes of hexadecimal digits; the prefix must be there."""
    digits = octets(value)
    if not isinstance(value, str) or not isinstance(prefix, str) or not value.startswith(prefix):
        raise ValueError(f"{describe(digits)} does not begin with {prefix!r}")
    digits = value[len(prefix) :]
    if not set(digits) <= set("0123456789abcdefABCDEF"):
        raise ValueError(f"{describe(value)} is not hexadecimal")
    return from_bytes(bytes.fromhex("0" * (len(digits) % 2) + digits))


@function(kind="str")
def sqlserver_bin2hexstr(value: Any) -> str:
    """Upper-case hexadecimal, after 0x."""
    return bin2hexstr(value, "0x")
