"""The event that ``sql`` and ``explain`` try: what the arguments say, on top of a sample or of columns from a file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from headrace.errors import HeadraceError
from headrace.events import Event, json_bytes
from headrace.samples import event_named, make_event, sample
from headrace.topics import MESSAGE

__all__ = ["add_message", "columns_of", "message"]

PLAIN = {
    "event": MESSAGE,
    "clientid": "client",
    "payload": "",
    "topic": "t/1",
    "qos": 0,
    "flags": {"retain": False, "dup": False},
    "pub_props": {},
}


def add_message(parser: argparse.ArgumentParser) -> None:
    """The arguments that describe an event."""
    parser.add_argument("--topic", help="topic of the message (t/1)")
    parser.add_argument("--payload", help="its payload; @FILE reads a file, @- standard input")
    parser.add_argument("--clientid", help="client id of who sent it (client)")
    parser.add_argument("--qos", type=int, choices=(0, 1, 2))
    parser.add_argument(
        "--event", metavar="NAME|FILE",
        help="another event than a message, such as client.connected (see list events); or a JSON file of columns",
    )  # fmt: skip


def message(args: argparse.Namespace, source: str = "") -> Event:
    """The event the arguments describe."""
    return make_event(columns_of(args), source)


def columns_of(args: argparse.Namespace) -> dict[str, Any]:
    """Its columns. HeadraceError says what cannot be read."""
    columns = dict(PLAIN) if args.event is None else _of_event(args.event)
    given = {"topic": args.topic, "clientid": args.clientid, "qos": args.qos}
    columns |= {name: value for name, value in given.items() if value is not None}
    if args.payload is not None:
        columns["payload"] = _payload(args.payload)
    if columns.get("event") == MESSAGE:
        if args.topic is not None and not {"+", "#"}.isdisjoint(args.topic):
            raise HeadraceError(f"a message has a topic without wildcards, not {args.topic!r}")
        columns.setdefault("publish_received_at", columns.get("timestamp", make_event({}).timestamp))
    return columns


def _of_event(name: str) -> dict[str, Any]:
    path = name.removeprefix("@")
    if event_named(name) is None and (path != name or path.endswith(".json") or Path(path).is_file()):
        return _of_file(path)
    try:
        return dict(sample(name).columns)
    except ValueError as exc:
        raise HeadraceError(f"{exc}; headrace list events names them all") from None


def _of_file(path: str) -> dict[str, Any]:
    try:
        columns = json.loads(_read(path))
    except ValueError as exc:
        raise HeadraceError(f"{path} is not JSON: {exc}") from None
    if not isinstance(columns, dict):
        raise HeadraceError(f"{path} must hold a JSON object: the columns of one event")
    if not isinstance(columns.get("payload", ""), str):  # written out for the eye: a payload is the text that came
        columns["payload"] = json_bytes(columns["payload"]).decode()
    columns.setdefault("event", MESSAGE)
    return columns


def _payload(given: str) -> str | bytes:
    if not given.startswith("@"):
        return given
    data = _read(given[1:])
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as exc:
        raise HeadraceError(f"cannot read {path}: {exc.strerror}") from exc
