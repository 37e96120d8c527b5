"""Events that pass a part, for people: some of them, no more than can be read, nothing of them long or secret."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace import topics
from headrace.config.problems import looks_secret, mask
from headrace.config.show import HIDDEN
from headrace.errors import HeadraceError
from headrace.events import Event, json_bytes

if TYPE_CHECKING:
    from headrace.engine.pipeline import Pipeline

__all__ = ["Tap", "TooMany", "is_there", "tapping"]

NODES: Final = ("source", "rule", "sink")
MOST: Final = 16
"""Taps at one time."""
A_SECOND, WAITING, TEXT = 50, 100, 4096
"""Events that one tap shows a second, that may wait to be shown, and characters of one text in them."""
SEARCHED: Final = 2000
"""Events that one tap with a text looks through a second: it costs the engine some 10 µs for each."""
BEAT: Final = 10.0
MOST_SAMPLE: Final = 1_000_000


class TooMany(HeadraceError):
    """There are as many taps as there may be."""


def is_there(pipeline: Pipeline, node: str) -> bool:
    """Is ``source:NAME``, ``rule:NAME`` or ``sink:NAME`` configured?"""
    kind, _, name = node.partition(":")
    return kind in NODES and name in getattr(pipeline.spec, f"{kind}s")


@contextlib.contextmanager
def tapping(pipeline: Pipeline, node: str, tap: Tap) -> Iterator[None]:
    """While inside, the tap is shown what passes. HeadraceError if there is no such part, TooMany if many look."""
    if not is_there(pipeline, node):
        raise HeadraceError(f"there is no {node!r}: say {', '.join(f'{each}:NAME' for each in NODES)}")
    if sum(map(len, pipeline.taps.looking.values())) >= MOST:
        raise TooMany(f"there are {MOST} taps open already: close one")
    pipeline.taps.add(node, tap.look)
    try:
        yield
    finally:
        pipeline.taps.remove(node, tap.look)


class Tap:
    """What one tap has seen and not yet shown: one of ``sample`` events on a ``topic`` filter, with a ``text``."""

    def __init__(self, sample: int = 1, topic: str = "", text: str = "") -> None:
        if not isinstance(sample, int) or not 1 <= sample <= MOST_SAMPLE:
            raise HeadraceError(f"sample: show one of so many, a number from 1 to {MOST_SAMPLE}")
        if topic and (why := topics.problem(topic)):
            raise HeadraceError(f"topic: {why}")
        self._every = sample
        self._topic = topic
        self._text = text.lower()
        self._seen = 0
        self._second = 0.0
        self._shown = self._searched = 0
        self._waiting: deque[Event] = deque()
        self._more = asyncio.Event()
        self.passed = 0
        self.ended = False

    def end(self) -> None:
        """There is no more: whoever waits goes on."""
        self.ended = True
        self._more.set()

    def look(self, events: Sequence[Event]) -> None:
        """Called by the engine: choose some, and no more than can be shown."""
        self.passed += len(events)
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._second, self._shown, self._searched = now, 0, 0
        for event in events:
            if self._shown >= A_SECOND or len(self._waiting) >= WAITING:
                break
            if self._topic and not self._on_topic(event):
                continue
            if self._text and not self._says(event):
                continue
            self._seen += 1
            if (self._seen - 1) % self._every == 0:
                self._shown += 1
                self._waiting.append(event)
                self._more.set()

    def _on_topic(self, event: Event) -> bool:
        topic = event.get("topic")
        return isinstance(topic, str) and topics.matches(self._topic, topic)

    def _says(self, event: Event) -> bool:
        """Does what would be shown of it have the text?"""
        self._searched += 1
        if self._searched > SEARCHED:
            return False
        try:
            return self._text in json_bytes(_shown(event)).decode("utf-8", "replace").lower()
        except Exception:  # noqa: BLE001 - a plugin may have put anything into it
            return False

    async def messages(self) -> None:
        """Returns when there is something to show, or nothing has been for a while."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._more.wait(), BEAT)

    def take(self) -> Iterator[bytes]:
        """What there is to show, each as JSON."""
        self._more.clear()
        while self._waiting:
            yield json_bytes(_shown(self._waiting.popleft()))


def _shown(event: Event) -> dict[str, Any]:
    """An event for people: nothing of it is long, and nothing secret."""
    told = {"id": event.id, "source": event.source, "rule": event.rule, "key": event.key, "at": event.timestamp}
    if event.trace:
        told["trace"] = event.trace
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
