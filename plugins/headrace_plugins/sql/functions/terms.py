"""Erlang's external term format, for what JSON can say."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.values import MAX_BYTES, U, describe, from_bytes, to_bytes

_ATOMS: Final = {b"true": True, b"false": False, b"null": None, b"undefined": U}
_MAX_DEPTH: Final = 200


@function()
def term_encode(value: Any) -> str | bytes:
    """A value in Erlang's external term format."""
    return from_bytes(b"\x83" + _encode(value))


@function()
def term_decode(value: Any) -> Any:
    """The value of Erlang's external term format."""
    if not isinstance(value, str | bytes):
        raise ValueError(f"expected bytes, not {describe(value)}")
    try:
        return _Reader(_body(to_bytes(value))).whole()
    except (struct.error, IndexError, UnicodeDecodeError, zlib.error) as exc:
        raise ValueError(f"no term of Erlang: {exc}") from None


def _encode(value: Any) -> bytes:
    if value is U or value is None or type(value) is bool:
        name = next(name for name, atom in _ATOMS.items() if atom is value)
        return bytes((119, len(name))) + name
    if type(value) is int:
        return _encode_int(value)
    if type(value) is float:
        return b"F" + struct.pack(">d", value)
    if isinstance(value, list):
        if value and len(value) < 65_536 and all(type(item) is int and 0 <= item < 256 for item in value):
            return b"k" + struct.pack(">H", len(value)) + bytes(value)
        body = b"".join(map(_encode, value))
        return (b"l" + struct.pack(">I", len(value)) + body if value else b"") + b"j"
    if isinstance(value, dict):
        pairs = b"".join(_encode(key) + _encode(value[key]) for key in sorted(value))
        return b"t" + struct.pack(">I", len(value)) + pairs
    data = to_bytes(value)
    return b"m" + struct.pack(">I", len(data)) + data


def _encode_int(value: int) -> bytes:
    if 0 <= value < 256:
        return bytes((97, value))
    if -(1 << 31) <= value < 1 << 31:
        return b"b" + struct.pack(">i", value)
    size = (abs(value).bit_length() + 7) // 8
    return bytes((110, size, value < 0)) + abs(value).to_bytes(size, "little")


def _body(data: bytes) -> bytes:
    if data[:1] != b"\x83":
        raise ValueError("no term of Erlang: it begins with another byte than 131")
    if data[1:2] != b"P":
        return data[1:]
    if struct.unpack_from(">I", data, 2)[0] > MAX_BYTES:
        raise ValueError(f"a term of more than {MAX_BYTES} bytes")
    return zlib.decompressobj().decompress(data[6:], MAX_BYTES)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._depth = 0

    def whole(self) -> Any:
        value = self._term()
        if self._at != len(self._data):
            raise ValueError("no term of Erlang: something follows it")
        return value

    def _take(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) < size:
            raise ValueError("no term of Erlang: it is cut short")
        self._at += size
        return data

    def _number(self, format: str) -> Any:
        return struct.unpack(format, self._take(struct.calcsize(format)))[0]

    def _term(self) -> Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("the term is nested too deeply")
        tag = chr(self._number(">B"))
        value = self._scalar(tag) if tag not in "ltjk" else self._collection(tag)
        self._depth -= 1
        return value

    def _scalar(self, tag: str) -> Any:
        numbers = {"a": ">B", "b": ">i", "F": ">d"}
        if tag in numbers:
            return self._number(numbers[tag])
        if tag in "no":
            size, sign = self._number(">B" if tag == "n" else ">I"), self._number(">B")
            value = int.from_bytes(self._take(size), "little")
            return -value if sign else value
        if tag == "m":
            return from_bytes(self._take(self._number(">I")))
        if tag in "wvsd":
            name = self._take(self._number(">B" if tag in "ws" else ">H"))
            return _ATOMS[name] if name in _ATOMS else name.decode()
        raise ValueError(f"a term of type {ord(tag)} has no place here")

    def _collection(self, tag: str) -> Any:
        if tag == "j":
            return []
        if tag == "k":
            return list(self._take(self._number(">H")))
        count = self._number(">I")
        if count > len(self._data):
            raise ValueError("no term of Erlang: it is cut short")
        if tag == "t":
            return {_name(self._term()): self._term() for _ in range(count)}
        items = [self._term() for _ in range(count)]
        if self._term() != []:
            raise ValueError("an improper list has no place here")
        return items


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a key is a string, not {describe(key)}")
    return key
