"""Compression, base64, JSON, MessagePack and CBOR."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import msgpack

from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.functions.extras import needs
from headrace_plugins.sql.values import MAX_BYTES, decode_json, describe, from_bytes, json_text, plain, to_bytes

_GZIP, _RAW, _ZLIB = 31, -15, 15


def _data(value: Any) -> bytes:
    if not isinstance(value, str | bytes):
        raise ValueError(f"expected a string or bytes, not {describe(value)}")
    return to_bytes(value)


def _compress(value: Any, format: int) -> str | bytes:
    packer = zlib.compressobj(wbits=format)
    return from_bytes(packer.compress(_data(value)) + packer.flush())


def _uncompress(value: Any, format: int) -> str | bytes:
    unpacker = zlib.decompressobj(wbits=format)
    try:
        data = unpacker.decompress(_data(value), MAX_BYTES)
    except zlib.error as exc:
        raise ValueError(str(exc)) from None
    if not unpacker.eof:
        raise ValueError(f"the data is cut short, or it is more than {MAX_BYTES} bytes")
    return from_bytes(data)


@function()
def gzip(value: Any) -> str | bytes:
    """A gzip stream."""
    return _compress(value, _GZIP)


@function()
def gunzip(value: Any) -> str | bytes:
    """What gzip packed."""
    return _uncompress(value, _GZIP)


@function("zip")
def zip_(value: Any) -> str | bytes:
    """Raw deflate."""
    return _compress(value, _RAW)


@function()
def unzip(value: Any) -> str | bytes:
    """What zip packed."""
    return _uncompress(value, _RAW)


@function()
def zip_compress(value: Any) -> str | bytes:
    """The zlib format."""
    return _compress(value, _ZLIB)


@function()
def zip_uncompress(value: Any) -> str | bytes:
    """What zip_compress packed."""
    return _uncompress(value, _ZLIB)


@function(kind="str")
def base64_encode(value: Any, option: Any = "", other: Any = "") -> str:
    """Options: ``no_padding``, ``urlsafe``."""
    options = (option, other)
    encoded = base64.urlsafe_b64encode(_data(value)) if "urlsafe" in options else base64.b64encode(_data(value))
    return encoded.decode().rstrip("=" if "no_padding" in options else "")


@function()
def base64_decode(value: Any, option: Any = "", other: Any = "") -> str | bytes:
    """Options: ``no_padding`` (it need not be there), ``urlsafe``."""
    options = (option, other)
    digits = b"".join(_data(value).split())
    if "no_padding" in options:
        digits = digits.rstrip(b"=")
        digits += b"=" * (-len(digits) % 4)
    if "urlsafe" in options and not {*b"+/"}.isdisjoint(digits):
        raise ValueError("not base64 that is safe in URLs: it has + or /")
    try:
        return from_bytes(base64.b64decode(digits, b"-_" if "urlsafe" in options else None, validate=True))
    except binascii.Error as exc:
        raise ValueError(f"not base64: {exc}") from None


@function(kind="str")
def json_encode(value: Any) -> str:
    """A value as compact JSON."""
    return json_text(value)


@function()
def json_decode(value: Any) -> Any:
    """The value of a JSON text."""
    if not isinstance(value, str | bytes):
        raise ValueError(f"expected a string, not {describe(value)}")
    return decode_json(value)


@function()
def msgpack_decode(value: Any) -> Any:
    """A value in MessagePack. Keys become strings."""
    try:
        return plain(msgpack.unpackb(_data(value), raw=False, strict_map_key=False))
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as exc:
        raise ValueError(f"not MessagePack: {exc}") from None


@function()
def cbor_decode(value: Any) -> Any:
    """A value in CBOR. Keys become strings."""
    cbor2 = needs("cbor2", "cbor")
    try:
        return plain(cbor2.loads(_data(value)))
    except (cbor2.CBORDecodeError, RecursionError, MemoryError) as exc:
        raise ValueError(f"not CBOR: {exc}") from None
