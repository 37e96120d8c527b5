"""``GET tap?node=sink:NAME``: events as they pass, as server-sent events: sampled, filtered, secrets starred out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from headrace import topics
from headrace.api.answers import Refused
from headrace.api.described import STRING, number, says
from headrace.api.facts import KINDS
from headrace.api.finding import pipeline
from headrace.config.problems import looks_secret, mask
from headrace.config.show import HIDDEN
from headrace.engine import Pipeline
from headrace.events import Event, json_bytes

__all__ = ["TAPS", "end_taps", "routes"]

NODES = tuple(kind[:-1] for kind in KINDS if kind != "connectors")
MOST = 16
"""Taps at one time."""
A_SECOND, WAITING, TEXT = 50, 100, 4096
"""Events that one tap shows a second, that may wait to be shown, and characters of one text in them."""
BEAT = 10.0


def routes() -> list[web.AbstractRouteDef]:
    """The address of the taps."""
    return [web.get("/api/v1/tap", _tap)]


async def end_taps(app: web.Application) -> None:
    """On shutdown: whoever looks is told that there is no more."""
    for tap in app[TAPS]:
        tap.end()


class _Tap:
    """What one tap has seen and not yet shown."""

    def __init__(self, every: int, topic: str, text: str) -> None:
        self._every = every
        self._topic = topic
        self._text = text.lower()
        self._seen = 0
        self._second = 0.0
        self._shown = 0
        self._waiting: deque[Event] = deque()
        self._more = asyncio.Event()
        self.passed = 0
        self.ended = False

    def end(self) -> None:
        self.ended = True
        self._more.set()

    def look(self, events: Sequence[Event]) -> None:
        """Called by the engine: choose some, and no more than can be shown."""
        self.passed += len(events)
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._second, self._shown = now, 0
        for event in events:
            if self._shown >= A_SECOND or len(self._waiting) >= WAITING:
                break
            if self._topic and not self._on_topic(event):
                continue
            self._seen += 1
            if (self._seen - 1) % self._every == 0:
                self._shown += 1
                self._waiting.append(event)
                self._more.set()

    def _on_topic(self, event: Event) -> bool:
        topic = event.get("topic")
        return isinstance(topic, str) and topics.matches(self._topic, topic)

    async def messages(self) -> None:
        """Returns when there is something to show, or nothing has been for a while."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._more.wait(), BEAT)

    def take(self) -> Iterator[bytes]:
        """What there is to show."""
        self._more.clear()
        while self._waiting:
            shown = json_bytes(_shown(self._waiting.popleft()))
            if self._text in shown.decode("utf-8", "replace").lower():
                yield b"data: " + shown + b"\n\n"
        yield b"event: passed\ndata: %d\n\n" % self.passed


TAPS = web.AppKey("taps", set[_Tap])


@says(
    gives=STRING,
    media="text/event-stream",
    query={"node": STRING, "sample": number(1, 1_000_000), "topic": STRING, "text": STRING},
)
async def _tap(request: web.Request) -> web.StreamResponse:
    """Events as they pass a part, as server-sent events."""
    node, tap = _asked(request)
    found = pipeline(request)
    taps = request.app[TAPS]
    if len(taps) >= MOST:
        raise Refused("TOO_MANY", f"there are {MOST} taps open already: close one", 429)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    taps.add(tap)
    found.taps.add(node, tap.look)
    try:
        with contextlib.suppress(ConnectionError):
            while not tap.ended:
                await response.write(b"".join(tap.take()))
                await tap.messages()
    finally:
        found.taps.remove(node, tap.look)
        taps.discard(tap)
    return response


def _asked(request: web.Request) -> tuple[str, _Tap]:
    given = request.query
    node = given.get("node", "")
    if not _is_there(pipeline(request), node):
        raise Refused("NOT_FOUND", f"node: say {', '.join(f'{each}:NAME' for each in NODES)} of one that is there", 404)
    sample, topic = given.get("sample", "1"), given.get("topic", "")
    if not sample.isascii() or not sample.isdigit() or not 1 <= int(sample) <= 1_000_000:
        raise Refused("BAD_REQUEST", "sample: show one of so many, a number from 1 to 1000000", path="sample")
    if topic and (why := topics.problem(topic)):
        raise Refused("BAD_REQUEST", f"topic: {why}", path="topic")
    return node, _Tap(int(sample), topic, given.get("text", ""))


def _is_there(found: Pipeline, node: str) -> bool:
    kind, _, name = node.partition(":")
    return kind in NODES and name in getattr(found.spec, f"{kind}s")


def _shown(event: Event) -> dict[str, Any]:
    """An event for people: nothing of it is long, and nothing secret."""
    told = {"id": event.id, "source": event.source, "rule": event.rule, "key": event.key, "at": event.timestamp}
    return {**told, "columns": _masked(dict(event.columns))}


def _masked(value: Any, depth: int = 0) -> Any:
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if each and isinstance(key, str) and looks_secret(key) else _masked(each, depth + 1)
            for key, each in list(value.items())[:100]
        } if depth < 8 else "…"  # fmt: skip
    if isinstance(value, list | tuple):
        return [_masked(each, depth + 1) for each in value[:100]] if depth < 8 else "…"
    if isinstance(value, bytes):
        return f"{len(value)} bytes: {value[:64].hex()}"
    if isinstance(value, str):
        return mask(value[:TEXT]) + ("…" if len(value) > TEXT else "")
    return value
