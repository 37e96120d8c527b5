"""Bits of integers, and fields cut out of binary data."""

from __future__ import annotations

import math
import struct
from typing import Any, Final

from headrace_plugins.sql.functions.arguments import choice, integer
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.runtime import checked
from headrace_plugins.sql.values import Bits, U, describe, from_bytes, to_bytes

_MAX_SHIFT: Final = 1024
_FLOATS: Final = {16: "e", 32: "f", 64: "d"}


@function(kind="num")
def bitnot(value: Any) -> int:
    """Every bit of an integer turned over."""
    return ~integer(value)


@function(kind="num")
def bitand(a: Any, b: Any) -> int:
    """The bits that both integers have."""
    return integer(a) & integer(b)


@function(kind="num")
def bitor(a: Any, b: Any) -> int:
    """The bits that one of two integers has, or both."""
    return integer(a) | integer(b)


@function(kind="num")
def bitxor(a: Any, b: Any) -> int:
    """The bits that only one of two integers has."""
    return integer(a) ^ integer(b)


@function(kind="num")
def bitsl(value: Any, count: Any) -> int:
    """Shift left; a negative count shifts right."""
    shift = integer(count)
    if shift < 0:
        return integer(value) >> -shift
    if integer(value) and shift > _MAX_SHIFT:
        raise OverflowError
    return checked(integer(value) << min(shift, _MAX_SHIFT))


@function(kind="num")
def bitsr(value: Any, count: Any) -> int:
    """Shift right; a negative count shifts left."""
    return bitsl(value, -integer(count))


def _binary(value: Any) -> bytes:
    if isinstance(value, str | bytes):
        return to_bytes(value)
    raise ValueError(f"expected a string or bytes, not {describe(value)}")


def _size(data: bytes) -> int:
    return data.size if isinstance(data, Bits) else len(data) * 8


@function(kind="num")
def bitsize(value: Any) -> int:
    """How many bits a string or bytes have."""
    return _size(_binary(value))


@function(kind="num")
def bytesize(value: Any) -> int:
    """Bytes of a string, or of all strings and bytes in an array."""
    if isinstance(value, list):
        return sum(1 if type(item) is int and 0 <= item < 256 else bytesize(item) for item in value)
    return len(_binary(value))


_NOTHING = object()


@function()
def subbits(
    value: Any,
    start: Any,
    length: Any = _NOTHING,
    type: Any = "integer",
    sign: Any = "unsigned",
    endianness: Any = "big",
) -> Any:
    """As many bits from bit ``start`` on (1 is the first), or at the beginning: ``subbits(value, length)``.

    Fewer, if no more are left. ``type``: integer, float, bits; ``sign``: unsigned, signed; ``endianness``: big, little.
    """
    if length is _NOTHING:
        start, length = 1, start
    data = _binary(value)
    total = _size(data)
    left = total - integer(start) + 1
    integer(length)
    choice(type, "integer", "float", "bits")
    signed = choice(sign, "signed", "unsigned") == "signed"
    little = choice(endianness, "big", "little") == "little"
    if start < 1 or left < 1:
        return U
    rest = int.from_bytes(data, "big") & ((1 << left) - 1)
    if type == "float":
        return _float(rest, left, length, little)
    count = length if 0 <= length <= left else left
    field = rest >> (left - count)
    if type == "bits":
        return Bits.of(field, count) if count % 8 else from_bytes(field.to_bytes(count // 8, "big"))
    if little:
        field = _swapped(field, count)
    return checked(field - (1 << count) if signed and count and field >> (count - 1) else field)


def _swapped(field: int, count: int) -> int:
    """Little-endian: the first eight bits are the lowest; a part of a byte at the end is the highest."""
    full, part = divmod(count, 8)
    low = int.from_bytes((field >> part).to_bytes(full, "big"), "little")
    return low | (field & ((1 << part) - 1)) << (full * 8)


def _float(rest: int, left: int, length: int, little: bool) -> float:
    for count in (length, left):
        if count in _FLOATS and count <= left:
            data = (rest >> (left - count)).to_bytes(count // 8, "big")
            number: float = struct.unpack(("<" if little else ">") + _FLOATS[count], data)[0]
            if math.isfinite(number):
                return number
    raise ValueError(f"{length} bits are no float; it has 16, 32 or 64")
