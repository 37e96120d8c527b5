"""The values of rule SQL: their text, their order, when two are the same.

Integers, floats, booleans, ``None`` (JSON's null), strings, ``dict``, ``list`` and ``UNDEFINED``. A string that is
not UTF-8 is ``bytes``, and only such a one: so equal strings are equal objects of one type.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any, Final

import msgspec
import orjson

from headrace import UNDEFINED

__all__ = [
    "MAX_BYTES",
    "MAX_NUMBER",
    "Bits",
    "U",
    "as_bytes",
    "decode_json",
    "describe",
    "fixed",
    "from_bytes",
    "is_number",
    "json_text",
    "number_of",
    "order",
    "plain",
    "same",
    "strictly_same",
    "text",
    "to_bytes",
    "unescaped",
]

U: Final = UNDEFINED
MAX_NUMBER: Final = 1.7976931348623157e308
MAX_BYTES: Final = 16 << 20
"""No string that a function makes is longer."""


class Bits(bytes):
    """Bits that are no whole number of bytes, right-aligned. ``size``: how many."""

    size: int

    @classmethod
    def of(cls, number: int, size: int) -> Bits:
        bits = cls(number.to_bytes((size + 7) // 8, "big"))
        bits.size = size
        return bits


# -- kinds


def is_number(value: Any) -> bool:
    """An integer or a float; a boolean is neither."""
    return type(value) is int or type(value) is float


_KINDS: Final = {bool: "a boolean", int: "a number", float: "a number", str: "a string", dict: "an object"}


def describe(value: Any) -> str:
    """A value for a message: ``the string 'abc'``, cut short."""
    if value is U:
        return "undefined"
    if value is None:
        return "null"
    if type(value) is list:
        return f"an array of {len(value)}"
    if type(value) is dict:
        return "an object"
    kind = _KINDS.get(type(value), "bytes")
    shown = repr(value) if not isinstance(value, bool) else str(value).lower()
    return f"{kind.replace('a ', 'the ', 1)} {shown if len(shown) <= 40 else shown[:37] + '…'}"


# -- strings and bytes


def from_bytes(data: bytes) -> str | bytes:
    """A string of these bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return bytes(data)


def to_bytes(value: str | bytes) -> bytes:
    """The bytes of a string."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def as_bytes(value: Any) -> bytes:
    """The bytes of a value's text."""
    return to_bytes(text(value))


def fixed(value: float, decimals: int, compact: bool) -> str:
    """Decimal notation, rounded half away from zero; ``compact`` drops zeros at the end, but one."""
    size = abs(value)
    if size > 1 << 53 or decimals > 18:
        shown = f"{size:.{decimals}f}"
    else:
        # What the C code behind Erlang's float_to_binary does: the fraction is scaled as a float, then rounded.
        whole = math.floor(size)
        part = _round((size - whole) * 10.0**decimals)
        if part >= 10**decimals:
            whole, part = whole + 1, 0
        shown = f"{whole}.{part:0{decimals}d}" if decimals else str(whole)
    if compact and "." in shown:
        shown = shown.rstrip("0")
        shown += "0" if shown.endswith(".") else ""
    return "-" + shown if value < 0 else shown


def _round(value: float) -> int:
    whole = math.floor(value)
    return whole + (value - whole >= 0.5)


def text(value: Any) -> str | bytes:
    """A value as text, as ``+`` with a string, ``str()`` and ``concat()`` have it."""
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        return value
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return fixed(value, 10, compact=True)
    if value is U:
        return "undefined"
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    return json_text(value)


# -- what others made

_PLAIN: Final = (bool, type(None), type(U))


def plain(value: Any) -> Any:
    """What a plugin or a decoder gave, as a value of ours; what has no place in JSON becomes its text."""
    if isinstance(value, str):
        return value if type(value) is str and value.isascii() else from_bytes(to_bytes(str.__str__(value)))
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, int | float) and value == value:  # NaN is not
        if not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise OverflowError
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, dict):
        return {_key(key): plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return value if isinstance(value, Bits) else from_bytes(bytes(value))
    return plain(str(value))


def _key(key: Any) -> str:
    shown = text(plain(key))
    return shown if isinstance(shown, str) else shown.decode("utf-8", "replace")


# -- JSON

_decoder: Final = msgspec.json.Decoder()


def decode_json(data: str | bytes) -> Any:
    """Any JSON value; integers of any size. ValueError for what is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise ValueError(f"not JSON: {exc}") from None


def _json_other(value: Any) -> Any:
    if value is U:
        return "undefined"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} has no JSON form")


_EXPONENT: Final = re.compile(r"[0-9]e[-+0-9]")
_FLOAT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[-0-9.]+e[-+0-9]+')


def json_text(value: Any) -> str:
    """Compact JSON. An undefined value is the string "undefined", and a float 1e20 is written out, as in EMQX."""
    try:
        shown = orjson.dumps(value, default=_json_other, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        import json  # integers beyond 64 bits

        shown = json.dumps(value, default=_json_other, separators=(",", ":"), ensure_ascii=False)
    return _FLOAT.sub(_written, shown) if _EXPONENT.search(shown) else shown


def _written(found: re.Match[str]) -> str:
    """A float with an exponent from 21 on and up to -7, and written out between; strings stay."""
    if found[0].startswith('"'):
        return found[0]
    number = Decimal(found[0])
    if -7 < number.adjusted() < 21:
        shown = f"{number:f}"
        return shown if "." in shown else f"{shown}.0"
    mantissa, exponent = f"{number:e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


# -- equality and order

_NUMBER: Final = re.compile(r"([+-]?[0-9]+)(\.[0-9]+(?:[eE][+-]?[0-9]+)?)?")


def number_of(value: str | bytes) -> int | float:
    """The number a string is: ``12``, ``+4``, ``007``, ``1.0e3``. ValueError for other text."""
    found = _NUMBER.fullmatch(value) if type(value) is str else None
    if found is None:
        raise ValueError(f"{describe(value)} is no number")
    if found[2] is None:
        return int(value)
    number = float(value)
    if math.isinf(number):
        raise ValueError(f"{describe(value)} is too large")
    return number


def strictly_same(a: Any, b: Any) -> bool:
    """Same kind and value, all the way down: 1 is not 1.0, and '1' is neither."""
    if type(a) is not type(b):
        return isinstance(a, bytes) and isinstance(b, bytes) and a == b
    if type(a) is list:
        return len(a) == len(b) and all(map(strictly_same, a, b))
    if type(a) is dict:
        return a.keys() == b.keys() and all(strictly_same(value, b[key]) for key, value in a.items())
    return bool(a == b)


def same(a: Any, b: Any) -> bool:
    """Equal as a comparison has it: 1 and 1.0 are, at any depth; a boolean is no number."""
    if is_number(a) and is_number(b):
        return bool(a == b)
    if type(a) is not type(b):
        return isinstance(a, bytes) and isinstance(b, bytes) and a == b
    if type(a) is list:
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is dict:
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    return bool(a == b)


_NAMES: Final = {False: "false", None: "null", True: "true", U: "undefined"}
_RANKS: Final = {int: 0, float: 0, bool: 1, type(None): 1, type(U): 1, dict: 2, list: 3}


def order(a: Any, b: Any) -> int:
    """-1, 0 or 1. Across kinds: number < boolean and null (by name) < object < array < string."""
    rank, other = _RANKS.get(type(a), 4), _RANKS.get(type(b), 4)
    if rank != other:
        return -1 if rank < other else 1
    if rank == 1:
        return _compare(_NAMES[a], _NAMES[b])
    if rank == 2:
        return _compare(len(a), len(b)) or _order_all(sorted(a), sorted(b)) or _order_members(a, b)
    if rank == 3:
        return _order_all(a, b) or _compare(len(a), len(b))
    if type(a) is not type(b) and rank == 4:
        return _compare(to_bytes(a), to_bytes(b))
    return _compare(a, b)


def _compare(a: Any, b: Any) -> int:
    return bool(a > b) - bool(a < b)


def _order_all(a: list[Any], b: list[Any]) -> int:
    return next((found for found in map(order, a, b) if found), 0)


def _order_members(a: dict[str, Any], b: dict[str, Any]) -> int:
    return next((found for key in sorted(a) if (found := order(a[key], b[key]))), 0)


# -- escapes in strings

_ESCAPES: Final = dict(zip("ntrbfva\\'\"?", "\n\t\r\b\f\v\a\\'\"?", strict=True))
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]+)|(.))", re.DOTALL)


def unescaped(value: str) -> str:
    r"""With ``\n``, ``\x1F600`` and the like in place of what they stand for. ValueError for an unknown one."""
    return _ESCAPE.sub(_character, value)


def _character(found: re.Match[str]) -> str:
    digits, letter = found.groups()
    if digits is None:
        if letter not in _ESCAPES:
            raise ValueError(f"the escape {found[0]} is unknown")
        return _ESCAPES[letter]
    code = int(digits, 16) if len(digits) < 20 else -1
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"{found[0][:20]} is no character")
    return chr(code)
