"""Counters and states, one set per component; the names are those of the docs page "Metrics"."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, Final, Literal

__all__ = ["Histogram", "Metrics", "State", "Status"]

State = Literal["connecting", "running", "degraded", "stopped", "disabled"]


class Histogram:
    """How long something took, in seconds, counted by upper bounds from a millisecond to five minutes."""

    BOUNDS: Final = (
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, float("inf"),
    )  # fmt: skip

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * len(self.BOUNDS)
        self.sum = 0.0

    def add(self, seconds: float, n: int = 1) -> None:
        """``n`` of them took this long."""
        self.counts[bisect_left(self.BOUNDS, seconds)] += n
        self.sum += seconds * n

    def reset(self) -> None:
        """Forget all of them."""
        self.counts[:] = [0] * len(self.BOUNDS)
        self.sum = 0.0

    def quantile(self, q: float) -> float | None:
        """About how long ``q`` of them took at most; None if there were none."""
        rank = q * sum(self.counts)
        below = 0
        for i, count in enumerate(self.counts):
            if count and below + count >= rank:
                low, high = self.BOUNDS[i - 1] if i else 0.0, self.BOUNDS[i]
                return low if high == float("inf") else low + (high - low) * (rank - below) / count
            below += count
        return None

    def snapshot(self) -> dict[str, Any]:
        """``buckets`` has (upper bound, how many took at most as long); the last bound is ``+Inf``."""
        bounds = [*map(str, self.BOUNDS[:-1]), "+Inf"]
        return {
            "count": sum(self.counts),
            "sum": self.sum,
            **{f"p{int(q * 100)}": self.quantile(q) for q in (0.5, 0.9, 0.99)},
            "buckets": list(zip(bounds, accumulate(self.counts), strict=True)),
        }


class Metrics:
    """Flat counters and gauges of one component.

    A counter only grows. A gauge is read when somebody looks, so it costs nothing in between.
    """

    __slots__ = ("_gauges", "counters", "histograms")

    def __init__(self, *names: str) -> None:
        self.counters: dict[str, int] = dict.fromkeys(names, 0)
        self.histograms: dict[str, Histogram] = {}
        self._gauges: dict[str, Callable[[], int | float]] = {}

    def add(self, name: str, n: int = 1) -> None:
        """Count ``n`` more of ``name``; a name is made at its first use."""
        self.counters[name] = self.counters.get(name, 0) + n

    def reset(self) -> None:
        """Count from nothing; gauges stay what they are."""
        self.counters.update(dict.fromkeys(self.counters, 0))
        for histogram in self.histograms.values():
            histogram.reset()

    def __getitem__(self, name: str) -> int:
        return self.counters.get(name, 0)

    def gauge(self, name: str, read: Callable[[], int | float]) -> None:
        """Show ``read()`` as ``name`` in every snapshot."""
        self._gauges[name] = read

    @property
    def gauges(self) -> Iterable[str]:
        """The names of all gauges."""
        return self._gauges.keys()

    def histogram(self, name: str) -> Histogram:
        """The histogram of this name, made at its first use."""
        return self.histograms.setdefault(name, Histogram())

    def snapshot(self) -> dict[str, int | float]:
        """All values of this moment, gauges included; histograms have their own."""
        return {**self.counters, **{name: read() for name, read in self._gauges.items()}}


class _Group:
    """Errors with the same reason."""

    __slots__ = ("count", "first", "last", "said", "status")

    def __init__(self, now: float) -> None:
        self.count = 0
        self.first = now
        self.last = now
        self.status: int | None = None
        self.said = b""


class Status:
    """What a component is doing, why, since when, and what went wrong."""

    GROUPS: Final = 8
    """Reasons that are remembered: those that came last."""
    TEXT: Final = 300
    """Characters of each."""
    SAID: Final = 200
    """Bytes of what a peer said."""

    __slots__ = ("_groups", "facts", "last_error", "last_error_at", "reason", "since", "state")

    def __init__(self, state: State = "connecting", reason: str = "") -> None:
        self.state: State = state
        self.reason = reason
        self.since = time.time()
        self.last_error: str | None = None
        self.last_error_at: float | None = None
        self.facts: dict[str, Any] = {}
        """More for people, of JSON, by name: set when it changes, shown to who looks at this component alone."""
        self._groups: dict[str, _Group] = {}

    def set(self, state: State, reason: str = "") -> bool:
        """Enter a state. True if the state changed (the moment to log it)."""
        changed = state != self.state
        if changed:
            self.since = time.time()
        self.state, self.reason = state, reason
        return changed

    def error(self, text: str, n: int = 1, *, status: int | None = None, said: bytes = b"") -> None:
        """Remember an error that came ``n`` times, with what the peer answered if it did; the state stays."""
        now = self.last_error_at = time.time()
        self.last_error = text
        text = text[: self.TEXT]
        group = self._groups.pop(text, None)  # the newest stands last
        if group is None:
            group = _Group(now)
            if len(self._groups) == self.GROUPS:
                del self._groups[next(iter(self._groups))]
        group.count += n
        group.last, group.status, group.said = now, status, said[: self.SAID]
        self._groups[text] = group

    def forget(self) -> None:
        """Count errors from none; the last one is still known."""
        self._groups.clear()

    def errors(self) -> list[dict[str, Any]]:
        """Errors by reason, the newest first: how many, when the first and the last, what the peer said to the last."""
        return [
            {
                "reason": reason,
                "count": group.count,
                "first": group.first,
                "last": group.last,
                "status": group.status,
                "said": group.said.decode("utf-8", "replace"),
            }
            for reason, group in reversed(self._groups.items())
        ]

    def snapshot(self) -> dict[str, object]:
        return {
            "state": self.state,
            "reason": self.reason,
            "since": self.since,
            "last_error": self.last_error,
            "last_error_at": self.last_error_at,
            "errors": self.errors(),
        }
