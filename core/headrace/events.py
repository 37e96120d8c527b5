"""The event, its identity, and its form on the stream.

An event is a flat mapping of columns (``topic``, ``payload``, ``qos``, ``clientid``, …) with the engine's fields
beside it. After a rule, the event's columns *are* the selected row.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import product
from typing import Any, Final

import msgpack
import msgspec
import orjson

__all__ = [
    "UNDEFINED", "Ack", "Batch", "Event", "decode", "encode_event", "json_bytes", "new_id", "now_ms", "traceparent",
]  # fmt: skip


class _Undefined:
    """The value of what is not there. Distinct from ``None``, which is JSON's null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "undefined"

    def __bool__(self) -> bool:
        return False

    def __copy__(self) -> _Undefined:
        return self

    def __deepcopy__(self, _memo: object) -> _Undefined:
        return self


UNDEFINED: Final = _Undefined()


def now_ms() -> int:
    """Unix time in milliseconds."""
    return int(time.time() * 1000)


_NOT_YET: Final = object()
_make = object.__new__
_decode_json: Final = msgspec.json.Decoder().decode  # orjson makes a float of an integer beyond 64 bits
_digits = [f"{n:03x}" for n in range(4096)]
_ids = map("".join, product([os.urandom(8).hex()], *[_digits] * 4))  # a third of the time of formatting a counter


def new_id() -> str:
    """An event id: unique over processes (64 random bits) and within one (a counter of 48 bits)."""
    return next(_ids)


_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


def traceparent(text: object) -> str:
    """What came as a ``traceparent`` (W3C Trace Context), as ``Event.trace`` holds it; "" if it is none."""
    found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    if found is None or (found[1] == "00" and found[5]):
        return ""
    return f"00-{found[2]}-{found[3]}-{int(found[4], 16) & 1:02x}"


class Event:
    """One event on its way.

    ``columns`` must not be changed once the event was handed on: all rules share it.
    ``key``: events of one key stay in order (the client id where it is known, else the topic).
    ``timestamp``: when the event was made, Unix milliseconds. ``attempt``: how often a sink has tried, from 1.
    ``rule`` and ``index`` are set on a rule's output: which rule, and which of its outputs for this event.
    ``error``: how a delivery of it failed before, if it comes from another sink or from the dead letters: ``reason``,
    ``kind``, ``status``, ``attempts``, ``sink``, ``at`` (ms).
    ``trace``: its place in a distributed trace, a ``traceparent`` (W3C Trace Context), or "". A source sets it to what
    came with the event; a sink sends it along.
    """

    __slots__ = (
        "_json", "attempt", "columns", "error", "id", "index", "key", "rule", "sink", "source", "timestamp", "trace",
    )  # fmt: skip

    def __init__(
        self,
        columns: dict[str, Any],
        id: str = "",
        key: str = "",
        timestamp: int = 0,
        *,
        source: str = "",
        rule: str = "",
        index: int = 0,
    ) -> None:
        self.columns = columns
        self.id = id or new_id()
        self.key = key
        self.timestamp = timestamp or now_ms()
        self.source = source
        self.rule = rule
        self.index = index
        self.sink = ""
        self.attempt = 0
        self.error: dict[str, Any] | None = None
        self.trace = ""
        self._json: Any = _NOT_YET

    def __getitem__(self, column: str) -> Any:
        return self.columns[column]

    def get(self, column: str, default: Any = None) -> Any:
        return self.columns.get(column, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __repr__(self) -> str:
        return f"Event({self.columns!r}, id={self.id!r})"

    def json(self) -> Any:
        """The payload decoded as JSON, decoded once however many rules ask. ValueError if it is not JSON."""
        value = self._json
        if value is _NOT_YET:
            try:
                value = _decode_json(self.columns["payload"])
            except (KeyError, TypeError, ValueError, RecursionError) as exc:
                value = ValueError(f"the payload is not JSON: {exc if self.columns.get('payload') else 'it is empty'}")
            self._json = value
        if type(value) is ValueError:
            raise value
        return value

    def output(self, row: dict[str, Any], rule: str, index: int = 0) -> Event:
        """The event a rule makes of this one: same identity, the row as its columns."""
        event = _make(Event)  # past __init__, which has more to ask: this is done for every result of every rule
        event.columns = row
        event.id = self.id
        event.key = self.key
        event.timestamp = self.timestamp
        event.source = self.source
        event.rule = rule
        event.index = index
        event.sink = ""
        event.attempt = 0
        event.error = None
        event.trace = self.trace
        event._json = _NOT_YET
        return event

    @property
    def delivery_id(self) -> str:
        """Stable over retry, restart and replay: a hash of event id, rule, output index and sink (never an offset)."""
        text = f"{self.id}\0{self.rule}\0{self.index}\0{self.sink}"
        return blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def meta(self) -> dict[str, Any]:
        """What ``${meta.…}`` reads in a template. Never part of the default body."""
        meta = {
            "id": self.id,
            "key": self.key,
            "timestamp": self.timestamp,
            "source": self.source,
            "rule": self.rule,
            "index": self.index,
            "sink": self.sink,
            "attempt": self.attempt,
            "delivery_id": self.delivery_id,
        }
        if self.error is not None:
            meta["error"] = self.error
        if self.trace:
            meta["trace"] = self.trace
        return meta


Batch = Sequence[Event]
Ack = Callable[[Exception | None], None]

# -- the form on the stream: msgpack, one array per event ------------------------------------------------------

_BIGINT, _UNDEF = 1, 2


def _pack_other(value: Any) -> Any:
    if isinstance(value, int):  # beyond 64 bits
        return msgpack.ExtType(_BIGINT, str(value).encode())
    if value is UNDEFINED:
        return msgpack.ExtType(_UNDEF, b"")
    raise TypeError(f"{type(value).__name__} cannot travel on the stream")


def _encode_undefined(value: Any) -> Any:
    if value is UNDEFINED:
        return msgspec.msgpack.Ext(_UNDEF, b"")
    raise TypeError


def _unpack_other(code: int, data: bytes | memoryview) -> Any:
    if code == _BIGINT:
        return int(bytes(data))
    if code == _UNDEF:
        return UNDEFINED
    raise ValueError(f"unknown msgpack extension {code}")


# Two implementations of one format: msgspec is four times as fast, msgpack also takes integers beyond 64 bits, lone
# surrogates and subclasses of the plain types.
_encode = msgspec.msgpack.Encoder(enc_hook=_encode_undefined).encode
_decode = msgspec.msgpack.Decoder(ext_hook=_unpack_other).decode
_packer = msgpack.Packer(use_bin_type=True, default=_pack_other, unicode_errors="surrogatepass")


def encode_event(event: Event) -> bytes:
    """One event as msgpack. TypeError if a column holds something that cannot travel.

    Columns hold what JSON has, bytes, ``UNDEFINED`` and integers of any size. Dates, UUIDs and decimals travel too,
    and are text when they are read back.
    """
    row: tuple[Any, ...] = event.id, event.key, event.timestamp, event.source, event.rule, event.index, event.columns
    if event.error is not None or event.trace:
        row += (event.error, event.trace)
    try:
        return _encode(row)
    except (TypeError, OverflowError, UnicodeEncodeError):
        pass
    try:
        return _packer.pack(row)  # type: ignore[no-any-return]
    except BaseException:
        _packer.reset()  # a failed pack leaves half an event in the buffer
        raise


def join(encoded: Sequence[bytes]) -> bytes:
    """Events that are encoded already, as a batch."""
    header: bytes = _packer.pack_array_header(len(encoded))
    return header + b"".join(encoded)


def decode(data: bytes) -> list[Event]:
    """The events of an encoded batch. ValueError or TypeError if it is none."""
    try:
        rows = _decode(data)
    except UnicodeDecodeError:
        rows = msgpack.unpackb(
            data, raw=False, ext_hook=_unpack_other, unicode_errors="surrogatepass", strict_map_key=False
        )
    try:
        return [
            Event(columns, id=id, key=key, timestamp=timestamp, source=source, rule=rule, index=index)
            for id, key, timestamp, source, rule, index, columns in rows
        ]
    except ValueError:  # some carry an error or a trace
        return [_with_more(*row) for row in rows]


def _with_more(
    id: str,
    key: str,
    timestamp: int,
    source: str,
    rule: str,
    index: int,
    columns: dict[str, Any],
    error: dict[str, Any] | None = None,
    trace: str = "",
) -> Event:
    event = Event(columns, id=id, key=key, timestamp=timestamp, source=source, rule=rule, index=index)
    event.error, event.trace = error, trace
    return event


# -- the form outside: JSON -------------------------------------------------------------------------------------


def _json_other(value: Any) -> Any:
    if value is UNDEFINED:
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return base64.b64encode(data).decode()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def json_bytes(value: Any) -> bytes:
    """Compact JSON. undefined becomes null; bytes become text, or base64 where they are not UTF-8."""
    try:
        return orjson.dumps(value, default=_json_other, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # integers beyond 64 bits and lone surrogates: the standard library knows both
        import json

        text = json.dumps(value, default=_json_other, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "replace")
