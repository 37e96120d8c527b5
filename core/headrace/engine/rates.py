"""How fast counters grow: sampled once a second, remembered for a quarter of an hour."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Protocol

__all__ = ["SECONDS", "Rate", "Sampled", "keep_rates"]

SECONDS = 10
"""Seconds that are *now*, as in EMQX: one event is 0.1 a second for so long, then 0."""
_KEPT = 15 * 60 // SECONDS


class Rate:
    """How fast one counter grows, per second. ``sample`` is told its value once a second."""

    __slots__ = ("_recent", "_seconds", "_tens", "max")

    def __init__(self, total: int = 0) -> None:
        self._recent = array("q", [total])  # of the last seconds
        self._tens = array("q", [total])  # of every tenth second
        self._seconds = 0
        self.max = 0.0
        """The highest ``now`` since the start."""

    def sample(self, total: int) -> None:
        """One second has passed."""
        self._seconds += 1
        self._recent.append(total)
        del self._recent[: -SECONDS - 1]
        if not self._seconds % SECONDS:
            self._tens.append(total)
            del self._tens[: -_KEPT - 1]
        self.max = max(self.max, self.now)

    @property
    def now(self) -> float:
        """Of the last ten seconds."""
        return (self._recent[-1] - self._recent[0]) / SECONDS

    def last(self, minutes: int) -> float:
        """Of the last minutes, to ten seconds; of the time since the start, while that is shorter."""
        tens = min(minutes * 60 // SECONDS, len(self._tens) - 1)
        seconds = tens * SECONDS + self._seconds % SECONDS
        return (self._recent[-1] - self._tens[-1 - tens]) / max(seconds, SECONDS)

    def history(self) -> list[float]:
        """For a chart: of each ten seconds, oldest first, for a quarter of an hour at most."""
        return [(after - before) / SECONDS for before, after in pairwise(self._tens)]

    def snapshot(self) -> dict[str, float]:
        """EMQX's three, and those of other times, all with two decimals."""
        found = {"rate": self.now, "rate.max": self.max}
        found |= {f"rate.last{minutes}m": self.last(minutes) for minutes in (1, 5, 15)}
        return {name: round(value, 2) for name, value in found.items()}


class Sampled(Protocol):
    """What has a counter whose rate is of interest."""

    def sample(self) -> None:
        """One second has passed."""


async def keep_rates(of: Callable[[], Iterable[Sampled]]) -> None:
    """Sample everything once a second, for ever."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + 1, loop.time())  # a second that was slept through is not made up for
        await asyncio.sleep(due - loop.time())
        for each in of():
            each.sample()
