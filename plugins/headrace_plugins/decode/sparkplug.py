"""Sparkplug B: the payload's metrics with their names, types and values."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from headrace_plugins._protobuf import fields, varint
from headrace_plugins.decode.values import as_bytes, as_json

__all__ = ["Aliases", "sparkplug"]

MAX_NODES, MAX_ALIASES = 10_000, 100_000
MAX_DEPTH = 16
_TYPES: Final = (
    *("Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double"),
    *("Boolean", "String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template", "PropertySet"),
    *("PropertySetList", "Int8Array", "Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array"),
    *("UInt32Array", "UInt64Array", "FloatArray", "DoubleArray", "BooleanArray", "StringArray", "DateTimeArray"),
)
_SIGNED: Final = {"Int8": 8, "Int16": 16, "Int32": 32, "Int64": 64}
_ARRAYS: Final = {
    "Int8Array": "b",
    "Int16Array": "h",
    "Int32Array": "i",
    "Int64Array": "q",
    "UInt8Array": "B",
    "UInt16Array": "H",
    "UInt32Array": "I",
    "UInt64Array": "Q",
    "FloatArray": "f",
    "DoubleArray": "d",
    "DateTimeArray": "q",
}


class Aliases:
    """What births said: the name and type behind each alias, per edge node. Bounded; who was heard last stays."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, dict[int, tuple[str, str]]] = OrderedDict()

    def born(self, node: str) -> None:
        """A node is born: what it said before is void."""
        self._nodes[node] = {}
        self._nodes.move_to_end(node)
        if len(self._nodes) > MAX_NODES:
            self._nodes.popitem(last=False)

    def learn(self, node: str, alias: int, name: str, type: str) -> None:
        known = self._nodes.setdefault(node, {})
        if len(known) < MAX_ALIASES:
            known[alias] = name, type

    def meant(self, node: str, alias: int) -> tuple[str | None, str | None]:
        """Name and type behind an alias, if its birth was seen."""
        return self._nodes.get(node, {}).get(alias, (None, None))


_aliases = Aliases()


def sparkplug(topic: str, payload: Any, aliases: Aliases = _aliases) -> dict[str, Any]:
    """A Sparkplug B message: group_id, message_type, edge_node, device, seq, sent_at, metrics, and values by name.

    Aliases are resolved by the births seen in this process; a metric whose birth was not seen has no name.
    """
    levels = topic.split("/")
    if levels[0] == "STATE" or levels[1:2] == ["STATE"]:
        return _host(levels, payload)
    if len(levels) not in (4, 5) or levels[0] != "spBv1.0":
        raise ValueError(f"{topic!r} is no topic of Sparkplug B: spBv1.0/GROUP/TYPE/NODE or …/NODE/DEVICE")
    _, group, kind, node, *device = levels
    key = f"{group}/{node}"
    if kind == "NBIRTH":
        aliases.born(key)
    reader = _Reader(aliases, key)
    try:
        message = reader.payload(as_bytes(payload))
    except (ValueError, struct.error) as error:
        raise ValueError(f"no payload of Sparkplug B: {error}") from None
    return {
        "group_id": group,
        "message_type": kind,
        "edge_node": node,
        "device": device[0] if device else None,
        **message,
    }


def _host(levels: list[str], payload: Any) -> dict[str, Any]:
    """The state of a host application: JSON since 3.0, a word before."""
    try:
        state = as_json(payload)
    except ValueError:
        state = {"online": payload == "ONLINE"}
    online, at = (state.get("online"), state.get("timestamp")) if isinstance(state, dict) else (None, None)
    return {"message_type": "STATE", "host": levels[-1], "online": online, "sent_at": at, "metrics": [], "values": {}}


class _Reader:
    def __init__(self, aliases: Aliases, node: str) -> None:
        self._aliases = aliases
        self._node = node

    def payload(self, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {"seq": None, "sent_at": None}
        metrics = []
        for number, value in fields(data):
            if number == 1:
                found["sent_at"] = value
            elif number == 2 and isinstance(value, bytes):
                metrics.append(self._metric(value, 0))
            elif number == 3:
                found["seq"] = value
            elif number == 5:
                found["body"] = value
        values = {metric["name"]: metric["value"] for metric in metrics if metric["name"] is not None}
        return found | {"metrics": metrics, "values": values}

    def _metric(self, data: bytes, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise ValueError(f"templates nested deeper than {MAX_DEPTH} levels")
        name: str | None = None
        alias: int | None = None
        kind = "Unknown"
        flags: dict[int, Any] = {}
        raw: tuple[int, int | bytes] | None = None
        for number, value in fields(data):
            if number == 1:
                name = _text(value)
            elif number == 2 and isinstance(value, int):
                alias = value
            elif number == 4 and isinstance(value, int):
                kind = _TYPES[value] if value < len(_TYPES) else "Unknown"
            elif 10 <= number <= 18:
                raw = number, value
            else:
                flags[number] = value
        if alias is not None and name:
            self._aliases.learn(self._node, alias, name, kind)
        elif alias is not None:
            name, known = self._aliases.meant(self._node, alias)
            kind = known or kind
        null = bool(flags.get(7)) or raw is None
        metric = {"name": name, "alias": alias, "type": kind, "timestamp": flags.get(3)}
        metric["value"] = None if null or raw is None else self._value(kind, *raw, depth)
        if flags.get(5):
            metric["is_historical"] = True
        return metric

    def _value(self, kind: str, number: int, value: int | bytes, depth: int) -> Any:
        """The value of a metric, which its field's number and its type tell together."""
        if isinstance(value, int):
            return bool(value) if number == 14 else _signed(value, _SIGNED.get(kind))
        if number == 12:
            return struct.unpack("<f", value)[0]
        if number == 13:
            return struct.unpack("<d", value)[0]
        if number == 15:
            return _text(value)
        if number == 16:
            return _array(kind, value)
        if number == 17:
            return _data_set(value)
        return {
            "metrics": [self._metric(each, depth + 1) for n, each in fields(value) if n == 2 and type(each) is bytes]
        }


def _text(value: int | bytes) -> str:
    if not isinstance(value, bytes):
        raise ValueError("a number where a text should be")
    return value.decode("utf-8", "replace")


def _signed(value: int, bits: int | None) -> int:
    """Two's complement, for the types that have a sign."""
    if bits is None:
        return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _array(kind: str, data: bytes) -> Any:
    if kind in _ARRAYS:
        code = _ARRAYS[kind]
        if len(data) % struct.calcsize(code):
            raise ValueError(f"the bytes of a {kind} do not come out even")
        return list(struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data))
    if kind == "BooleanArray":
        (count,) = struct.unpack_from("<I", data)
        if count > (len(data) - 4) * 8:
            raise ValueError("a BooleanArray is cut short")
        return [bool(data[4 + i // 8] >> (7 - i % 8) & 1) for i in range(count)]
    if kind == "StringArray":
        return [_text(each) for each in data.split(b"\0")[:-1]]
    return data


def _data_set(data: bytes) -> dict[str, Any]:
    columns: list[str] = []
    types: list[int] = []
    rows: list[bytes] = []
    for number, value in fields(data):
        if number == 2:
            columns.append(_text(value))
        elif number == 3 and isinstance(value, int):
            types.append(value)
        elif number == 3 and isinstance(value, bytes):  # packed
            types += _packed(value)
        elif number == 4 and isinstance(value, bytes):
            rows.append(value)
    names = [_TYPES[type] if type < len(_TYPES) else "Unknown" for type in types]
    cells: Callable[[bytes], list[bytes]] = lambda row: [e for n, e in fields(row) if n == 1 and type(e) is bytes]  # noqa: E731
    return {
        "columns": columns,
        "rows": [[_cell(*pair) for pair in zip(names, cells(row), strict=False)] for row in rows],
    }


def _packed(data: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        number, at = varint(data, at)
        numbers.append(number)
    return numbers


def _cell(kind: str, data: bytes) -> Any:
    for number, value in fields(data):
        if isinstance(value, int):
            return bool(value) if number == 5 else _signed(value, _SIGNED.get(kind))
        if number in (3, 4):
            return struct.unpack("<f" if number == 3 else "<d", value)[0]
        return _text(value)
    return None
