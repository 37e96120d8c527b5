"""The delivery log: what became of a sink's last attempts."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple

from headrace.components import Receipt
from headrace.engine.retry import Failure
from headrace.errors import DeliveryError
from headrace.lanes import Item

__all__ = ["KEPT", "Journal"]

KEPT = 100
"""Entries of each kind: so many failures, and so many successes."""
_PAUSE = 0.01  # between two successes that are logged: at full speed there are thousands
_TEXT = 256


class _Entry(NamedTuple):
    at: float
    event: str
    attempt: int
    outcome: str
    status: int | None
    seconds: float
    excerpt: str


class Journal:
    """Every failed attempt, and of the successes at most a hundred a second; bounded in number and in bytes."""

    def __init__(self) -> None:
        self._failures: deque[_Entry] = deque(maxlen=KEPT)
        self._successes: deque[_Entry] = deque(maxlen=KEPT)
        self._next_success = 0.0

    def failed(self, item: Item, failure: Failure, error: Exception, seconds: float) -> None:
        """An attempt failed, after so many seconds."""
        status, text = None, failure.reason
        if isinstance(error, DeliveryError):
            status = error.status
            if error.answer:
                text = f"{text}: {error.answer[:_TEXT].decode('utf-8', 'replace')}"
        self._failures.append(self._entry(item, failure.what, status, seconds, text))

    def delivered(self, item: Item, seconds: float, receipt: Receipt | None = None) -> None:
        """An attempt succeeded; ``receipt``: what the peer said, if the sink tells."""
        now = time.monotonic()
        if now >= self._next_success:
            self._next_success = now + _PAUSE
            status, said = receipt or (None, b"")
            text = said[:_TEXT].decode("utf-8", "replace")
            self._successes.append(self._entry(item, "delivered", status, seconds, text))

    @staticmethod
    def _entry(item: Item, outcome: str, status: int | None, seconds: float, text: str) -> _Entry:
        return _Entry(time.time(), item.event.id[:_TEXT], item.tries, outcome, status, seconds, text[:_TEXT])

    def entries(self, limit: int = KEPT, *, failures: bool = False) -> list[dict[str, Any]]:
        """The newest entries, oldest first; only the failures, if asked for."""
        found = sorted([*self._failures, *(() if failures else self._successes)])
        return [entry._asdict() for entry in found[-limit:]]
