"""Where events go that a sink gave up: the dead-letter log, another sink, or nowhere by request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from headrace.engine.retry import Failure
from headrace.errors import DeliveryError
from headrace.events import Event
from headrace.lanes import Item
from headrace.metrics import Metrics
from headrace.stream import Topic

__all__ = ["DEAD_LETTERS", "DeadLetters", "Outlet", "Quiet", "to_other_sink"]

DEAD_LETTERS = "dead_letters"


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


class DeadLetters:
    """The pipeline's dead letters: an append-only log without a consumer, bounded, never blocking.

    A letter holds the event, rule, sink, delivery id, attempts, reason, status, the first 512 B of the answer, and of
    the request its method, URL and the hash of its body; never the connector's headers or credentials.
    """

    def __init__(self, topic: Topic, log: logging.Logger) -> None:
        self._topic = topic
        self._log = Quiet(log)
        self.metrics = Metrics("kept", "dropped")
        topic.on_dropped = self._dropped

    def _dropped(self, n: int) -> None:
        self.metrics.add("dropped", n)
        self._log.warning("dropped", f"{n} old dead letters dropped: the dead-letter log is full")

    def keep(self, sink: str, item: Item, failure: Failure, error: Exception) -> asyncio.Future[None]:
        """Append a letter; the future resolves when it is as durable as the stream."""
        event = item.event
        self._log.warning(
            f"letter {sink}",
            f"sink {sink}: event {event.id} goes to the dead letters after {item.tries} attempts: {failure.reason}",
        )
        letter = Event(self._letter(sink, item, failure, error), key=event.key)
        future = self._topic.send([letter])
        future.add_done_callback(self._kept)
        return future

    def _kept(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.metrics.add("kept")

    @staticmethod
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
        if isinstance(error, DeliveryError):
            letter |= {"kind": error.kind, "status": error.status, "answer": error.answer, "request": error.request}
        return letter


def to_other_sink(topic: Topic, sent: Callable[[int], None], item: Item) -> asyncio.Future[None]:
    """``on_error: <sink>``: the event goes to that sink's topic, as if its rule had named it."""
    event = item.event
    copy = event.output(event.columns, event.rule, event.index)
    sent(1)
    future = topic.send([copy])
    future.add_done_callback(lambda f: sent(-1) if not f.cancelled() and f.exception() else None)
    return future
