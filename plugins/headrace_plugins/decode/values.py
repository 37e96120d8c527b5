"""Payloads as values that can travel on: what JSON has, and bytes."""

from __future__ import annotations

import base64
import datetime
import importlib
import uuid
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgpack
import msgspec

__all__ = ["as_bytes", "as_json", "base64_text", "cbor", "message_pack", "needs_cbor"]

MAX_DEPTH = 100
_json = msgspec.json.Decoder().decode


def as_bytes(payload: Any) -> bytes:
    """A payload as it was sent. ValueError if it is none."""
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, bytes):
        return payload
    raise ValueError(f"the payload is {type(payload).__name__}, not text or bytes")


def as_json(payload: Any) -> Any:
    """A payload decoded as JSON; as it is if that was done before. ValueError if it is no JSON."""
    if isinstance(payload, dict | list):
        return payload
    try:
        return _json(as_bytes(payload))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the payload is not JSON: {error}") from None


def base64_text(payload: Any) -> str:
    """A payload as base64, whatever it holds."""
    return base64.b64encode(as_bytes(payload)).decode()


def message_pack(payload: Any) -> Any:
    """A payload decoded as MessagePack. ValueError if it is none."""
    try:
        found = msgpack.unpackb(as_bytes(payload), raw=False, strict_map_key=False, timestamp=3, ext_hook=_extension)
    except (ValueError, msgpack.UnpackException) as error:  # its own errors are ValueErrors without a text
        raise ValueError(f"the payload is not MessagePack: {str(error) or type(error).__name__}") from None
    return _plain(found, 0)


def _extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def needs_cbor() -> Any:
    """The package that reads CBOR. ValueError says how to install it."""
    try:
        return importlib.import_module("cbor2")
    except ImportError:
        raise ValueError("CBOR needs the package cbor2: pip install 'headrace[cbor]'") from None


def cbor(payload: Any) -> Any:
    """A payload decoded as CBOR. ValueError if it is none."""
    cbor2 = needs_cbor()
    try:
        return _plain(cbor2.loads(as_bytes(payload)), 0)
    except (cbor2.CBORDecodeError, EOFError, OverflowError, RecursionError) as error:
        raise ValueError(f"the payload is not CBOR: {str(error) or type(error).__name__}") from None


def _plain(value: Any, depth: int) -> Any:
    """What cannot travel as what comes nearest: keys and dates as text, exact numbers as floats."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Decimal | Fraction):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if type(value).__name__ in ("CBORSimpleValue", "UndefinedType", "undefined_type"):
        return None
    raise ValueError(f"a {type(value).__name__} has no place in a row")


def _key(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return key if isinstance(key, str) else str(key)
