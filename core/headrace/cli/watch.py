"""``tap`` and ``top``: what passes a part of a running pipeline, and how fast everything goes."""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.cli.output import Commands, command, printable, table
from headrace.cli.screen import Screen
from headrace.cli.state import KINDS, NotRunning, add_pipeline, ask, find
from headrace.config.paths import status_socket
from headrace.errors import HeadraceError
from headrace.events import json_bytes
from headrace.units import parse_duration

__all__ = ["add_commands"]

HEADS = ("", "NAME", "STATE", "IN/S", "OUT/S", "WAITING", "OLDEST", "P99", "FAILED", "WHY")
IN_OUT = {"sources": ("received", "appended"), "rules": ("matched", "passed"), "sinks": ("matched", "success")}
BAD = {"sources": ("rejected",), "rules": ("failed.exception",), "sinks": ("failed", "dropped", "late_reply")}


def add_commands(commands: Commands) -> None:
    tap = command(commands, "tap", _tap, "show events as they pass a part of a running pipeline; Ctrl-C ends")
    tap.add_argument("node", metavar="NODE", help="source:NAME, rule:NAME or sink:NAME")
    add_pipeline(tap)
    tap.add_argument("--sample", type=int, default=1, metavar="N", help="one of N events")
    tap.add_argument("--topic", default="", metavar="FILTER", help="only events on these topics")
    tap.add_argument("--text", default="", metavar="TEXT", help="only events in which this stands")
    tap.add_argument("--count", type=int, metavar="N", help="end after so many")
    top = command(
        commands, "top", _top, "show live how fast each part of a running pipeline goes; q ends", output=False
    )
    add_pipeline(top)
    top.add_argument("--every", type=parse_duration, default=1.0, metavar="TIME", help="how often to look (1s)")
    top.add_argument("--count", type=int, metavar="N", help="end after so many looks")


# -- tap ---------------------------------------------------------------------------------------------------------


def _tap(args: argparse.Namespace) -> int:
    left = args.count
    wanted = {"node": args.node, "sample": args.sample, "topic": args.topic, "text": args.text}
    for event in _events(status_socket(*find(args)), wanted):
        if "error" in event:
            raise HeadraceError(event["error"])
        if "passed" in event:
            continue
        print(json.dumps(event, ensure_ascii=False) if args.output == "json" else _line(event), flush=True)
        left = None if left is None else left - 1
        if left == 0:
            return 0
    print("headrace: the pipeline has ended", file=sys.stderr)
    return 0


def _events(path: Path, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(path))
            peer.sendall(json_bytes({"call": "tap", **wanted}) + b"\n")
            with peer.makefile("rb") as lines:
                yield from map(json.loads, lines)
    except OSError as exc:
        raise NotRunning(f"nothing answers at {path}: {exc.strerror}") from exc


def _line(event: dict[str, Any]) -> str:
    at = event["at"] / 1000
    moment = time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03}"
    return printable(f"{moment} {event['key']} {json.dumps(event['columns'], ensure_ascii=False)}")


# -- top ---------------------------------------------------------------------------------------------------------


def _top(args: argparse.Namespace) -> int:
    path = status_socket(*find(args))
    before, then = ask(path), time.monotonic()
    left = args.count
    with Screen() as screen:
        while not screen.asked_to_end(max(args.every - (time.monotonic() - then), 0.0)):
            now = time.monotonic()
            status = ask(path)
            screen.show(_page(before, status, max(now - then, 1e-3)))
            before, then = status, now
            left = None if left is None else left - 1
            if left == 0:
                break
    return 0


def _page(before: dict[str, Any], now: dict[str, Any], seconds: float) -> list[str]:
    reason = f": {now['reason']}" if now["reason"] else ""
    rows = [
        _row(kind, name, part, before.get(kind, {}).get(name, {}).get("counters", {}), seconds)
        for kind in KINDS
        for name, part in now.get(kind, {}).items()
    ]
    head = f"{now['name']} is {now['state']}{reason}  {time.strftime('%H:%M:%S')}"
    return [printable(line) for line in [head, *table(rows, HEADS).splitlines()]]


def _row(kind: str, name: str, part: dict[str, Any], before: dict[str, Any], seconds: float) -> list[str]:
    counters = part["counters"]

    def rate(*names: str) -> str:
        grown = sum(counters.get(each, 0) - before.get(each, 0) for each in names)
        return f"{max(grown, 0) / seconds:.0f}"  # less than nothing: somebody has reset them

    comes, goes = IN_OUT.get(kind, ("", ""))
    sink = kind == "sinks"
    waiting = f"{counters.get('queuing', 0) + counters.get('inflight', 0):.0f}" if sink else ""
    p99 = part.get("histograms", {}).get("latency", {}).get("p99")
    return [
        kind[:-1],
        name,
        part["state"],
        rate(comes) if comes else "",
        rate(goes) if goes else "",
        waiting,
        f"{counters.get('queuing_age', 0):.0f}s" if sink else "",
        f"{p99 * 1000:.0f}ms" if p99 is not None else "",
        str(sum(counters.get(each, 0) for each in BAD.get(kind, ()))) if comes else "",
        part["reason"] or "",
    ]
