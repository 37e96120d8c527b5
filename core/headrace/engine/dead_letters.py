"""Where events go that a sink gave up: the dead-letter log, another sink, or nowhere by request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.engine.retry import Failure
from headrace.errors import DeliveryError, HeadraceError
from headrace.events import Event, now_ms
from headrace.lanes import Item
from headrace.metrics import Metrics
from headrace.stream import Kept, Topic

__all__ = ["DEAD_LETTERS", "DeadLetters", "Outlet", "Quiet", "Replayed", "Which", "revive", "to_other_sink"]

DEAD_LETTERS = "dead_letters"
_PAGE_EVENTS, _PAGE_BYTES = 256, 1 << 20


class Outlet(Protocol):
    """Where events go that the sink gave up. The future resolves when the event is safe there."""

    def __call__(self, item: Item, failure: Failure, error: Exception) -> asyncio.Future[None] | None: ...


class Quiet:
    """Log lines of one kind at most once in ten seconds, with how many there were."""

    def __init__(self, log: logging.Logger, every: float = 10.0) -> None:
        self._log = log
        self._every = every
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def warning(self, kind: str, text: str) -> None:
        now = time.monotonic()
        held = self._held.get(kind, 0)
        if now - self._last.get(kind, -self._every) >= self._every:
            self._log.warning("%s%s", text, f" (and {held} like it)" if held else "")
            self._last[kind], self._held[kind] = now, 0
        else:
            self._held[kind] = held + 1


@dataclass(frozen=True)
class Which:
    """Which dead letters: those that meet everything given here.

    ``reason``: a part of it, in any case. ``since``: Unix milliseconds. ``id``: the letter's number, or the id of the
    event or of its delivery.
    """

    sink: str = ""
    rule: str = ""
    reason: str = ""
    since: int = 0
    id: str = ""

    def __call__(self, kept: Kept) -> bool:
        letter = kept.event.columns
        return (
            self.sink in ("", letter["sink"])
            and self.rule in ("", letter["rule"])
            and self.reason.lower() in letter["reason"].lower()
            and kept.event.timestamp >= self.since
            and self.id in ("", str(kept.offset), letter["event_id"], letter["delivery_id"])
        )


@dataclass(frozen=True)
class Replayed:
    """What came of a replay: events given to their sinks again, and the sinks that could not take theirs."""

    replayed: int
    failed: dict[str, str]
    """Sink → why; these letters stay."""


class DeadLetters:
    """The pipeline's dead letters: an append-only log without a consumer, bounded, never blocking.

    A letter holds the event, rule, sink, delivery id, attempts, reason, status, the first 512 B of the answer, and of
    the request its method, URL and the hash of its body; never the connector's headers or credentials. A letter that
    was replayed or purged is settled, as any other event of the stream: the log's commit record is the index.
    """

    def __init__(self, topic: Topic, log: logging.Logger) -> None:
        self._topic = topic
        self._log = Quiet(log)
        self._busy = asyncio.Lock()
        self.metrics = Metrics("kept", "dropped", "replayed", "purged")
        self.metrics.gauge("held", lambda: topic.unsettled)
        self.metrics.gauge("held_bytes", lambda: topic.unsettled_bytes)
        topic.on_dropped = self._dropped

    def _dropped(self, n: int, _: Sequence[Event]) -> None:
        self.metrics.add("dropped", n)
        self._log.warning("dropped", f"{n} old dead letters dropped: the dead-letter log is full")

    def keep(self, sink: str, item: Item, failure: Failure, error: Exception) -> asyncio.Future[None]:
        """Append a letter; the future resolves when it is as durable as the stream."""
        event = item.event
        self._log.warning(
            f"letter {sink}",
            f"sink {sink}: event {event.id} goes to the dead letters after {item.tries} attempts: {failure.reason}",
        )
        letter = Event(_letter(sink, item, failure, error), key=event.key)
        future = self._topic.send([letter])
        future.add_done_callback(self._kept)
        return future

    def _kept(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.metrics.add("kept")

    async def find(self, which: Which, limit: int, skip: int = 0) -> list[Kept]:
        """The oldest letters but the first few, ``limit`` at most. StreamError if this stream has no look inside."""
        found: list[Kept] = []
        async for page in self._pages(which):
            found += page[skip:]
            skip = max(skip - len(page), 0)
            if len(found) >= limit:
                break
        return found[:limit]

    async def replay(
        self,
        which: Which,
        give: Callable[[str, Sequence[Event]], Awaitable[None]],
        columns: dict[str, Any] | None = None,
    ) -> Replayed:
        """Give events to their sinks again, by ``give(sink, events)``, and settle the letters of those that went.

        ``columns``: what to give instead of what the rule selected. A crash in between replays again; the delivery ids
        stay the same.
        """
        replayed, failed = 0, dict[str, str]()
        async with self._busy:
            async for page in self._pages(which):
                for sink in dict.fromkeys(kept.event["sink"] for kept in page):
                    letters = [kept for kept in page if kept.event["sink"] == sink]
                    if sink not in failed:
                        try:
                            await give(sink, [revive(kept.event, columns) for kept in letters])
                        except HeadraceError as exc:
                            failed[sink] = str(exc)
                        else:
                            replayed += sum(self._topic.discard(kept) for kept in letters)
        self.metrics.add("replayed", replayed)
        return Replayed(replayed, failed)

    async def purge(self, which: Which) -> int:
        """Settle letters without doing anything else. Returns how many."""
        purged = 0
        async with self._busy:
            async for page in self._pages(which):
                purged += sum(self._topic.discard(kept) for kept in page)
        self.metrics.add("purged", purged)
        return purged

    async def _pages(self, which: Which) -> AsyncIterator[list[Kept]]:
        """The letters, some at a time: the log may hold more than memory should. Reading is done on a thread."""
        letters = filter(which, self._topic.kept())
        while page := await asyncio.to_thread(_page, letters):
            yield page


def _page(letters: Iterator[Kept]) -> list[Kept]:
    page: list[Kept] = []
    size = 0
    for kept in letters:
        page.append(kept)
        size += kept.size
        if len(page) >= _PAGE_EVENTS or size >= _PAGE_BYTES:
            break
    return page


def _letter(sink: str, item: Item, failure: Failure, error: Exception) -> dict[str, Any]:
    event = item.event
    letter: dict[str, Any] = {
        "sink": sink,
        "rule": event.rule,
        "source": event.source,
        "event": event.columns,
        "event_id": event.id,
        "index": event.index,
        "key": event.key,
        "timestamp": event.timestamp,
        "delivery_id": event.delivery_id,
        "attempts": item.tries,
        "reason": failure.reason,
    }
    if event.trace:
        letter["trace"] = event.trace
    if isinstance(error, DeliveryError):
        letter |= {"kind": error.kind, "status": error.status, "answer": error.answer, "request": error.request}
    return letter


def revive(letter: Event, columns: dict[str, Any] | None = None) -> Event:
    """The event of a letter, as its sink had it or with other columns; ``event.error`` says how it failed."""
    get = letter.get
    event = Event(
        letter["event"] if columns is None else columns,
        id=letter["event_id"],
        key=letter["key"],
        timestamp=letter["timestamp"],
        source=letter["source"],
        rule=letter["rule"],
        index=letter["index"],
    )
    event.sink, event.trace = letter["sink"], get("trace", "")
    event.error = {name: get(name) for name in ("sink", "reason", "kind", "status", "attempts")} | {"at": now_ms()}
    return event


def to_other_sink(
    sink: str, topic: Topic, sent: Callable[[int], None], item: Item, failure: Failure, error: Exception
) -> asyncio.Future[None]:
    """``on_error: <sink>``: the event goes to that sink's topic, with how it failed in ``sink`` as its ``error``."""
    event = item.event
    copy = event.output(event.columns, event.rule, event.index)
    copy.error = {
        "sink": sink,
        "reason": failure.reason,
        "kind": getattr(error, "kind", "error"),
        "status": getattr(error, "status", None),
        "attempts": item.tries,
        "at": now_ms(),
    }
    sent(1)
    future = topic.send([copy])
    future.add_done_callback(lambda f: sent(-1) if not f.cancelled() and f.exception() else None)
    return future
