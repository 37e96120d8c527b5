"""Counters and states, one set per component; the names are those of the docs page "Metrics"."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

__all__ = ["Metrics", "State", "Status"]

State = Literal["connecting", "running", "degraded", "stopped"]


class Metrics:
    """Flat counters and gauges of one component.

    A counter only grows. A gauge is read when somebody looks, so it costs nothing in between.
    """

    __slots__ = ("_gauges", "counters")

    def __init__(self, *names: str) -> None:
        self.counters: dict[str, int] = dict.fromkeys(names, 0)
        self._gauges: dict[str, Callable[[], int | float]] = {}

    def add(self, name: str, n: int = 1) -> None:
        """Count ``n`` more of ``name``; a name is made at its first use."""
        self.counters[name] = self.counters.get(name, 0) + n

    def __getitem__(self, name: str) -> int:
        return self.counters.get(name, 0)

    def gauge(self, name: str, read: Callable[[], int | float]) -> None:
        """Show ``read()`` as ``name`` in every snapshot."""
        self._gauges[name] = read

    def snapshot(self) -> dict[str, int | float]:
        """All values of this moment, gauges included."""
        return {**self.counters, **{name: read() for name, read in self._gauges.items()}}


class Status:
    """What a component is doing, why, since when, and the last thing that went wrong."""

    __slots__ = ("last_error", "last_error_at", "reason", "since", "state")

    def __init__(self, state: State = "connecting", reason: str = "") -> None:
        self.state: State = state
        self.reason = reason
        self.since = time.time()
        self.last_error: str | None = None
        self.last_error_at: float | None = None

    def set(self, state: State, reason: str = "") -> bool:
        """Enter a state. True if the state changed (the moment to log it)."""
        changed = state != self.state
        if changed:
            self.since = time.time()
        self.state, self.reason = state, reason
        return changed

    def error(self, text: str) -> None:
        """Remember the last error; the state stays."""
        self.last_error, self.last_error_at = text, time.time()

    def snapshot(self) -> dict[str, object]:
        return {
            "state": self.state,
            "reason": self.reason,
            "since": self.since,
            "last_error": self.last_error,
            "last_error_at": self.last_error_at,
        }
