"""How fast counters grow: sampled once a second, remembered for an hour, and roughly for a day."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, ClassVar, Final, Protocol

__all__ = ["SPANS", "Rate", "Sampled", "Watched", "keep_rates"]

SECONDS = 10
"""Seconds that are *now*, as in EMQX: one event is 0.1 a second for so long, then 0."""
SPANS: Final = {"1h": (SECONDS, 360), "24h": (300, 288)}
"""What is remembered: so many seconds a point, so many points. That is 5.2 kB a counter."""


class Rate:
    """How fast one counter grows, per second. ``sample`` is told its value once a second."""

    __slots__ = ("_recent", "_seconds", "_spans", "grew_at", "max")

    def __init__(self, total: int = 0) -> None:
        self._recent = array("q", [total])  # of the last seconds
        self._spans = {span: array("q", [total]) for span in SPANS}  # of every so manieth second
        self._seconds = 0
        self.max = 0.0
        """The highest ``now`` since the start."""
        self.grew_at: float | None = None
        """When it last did, in Unix seconds, to one second."""

    def sample(self, total: int) -> None:
        """One second has passed."""
        if total > self._recent[-1]:
            self.grew_at = time.time()
        self._seconds += 1
        self._recent.append(total)
        del self._recent[: -SECONDS - 1]
        if not self._seconds % SECONDS:
            self._remember(total)
        self.max = max(self.max, self.now)

    def _remember(self, total: int) -> None:
        for span, (seconds, points) in SPANS.items():
            if not self._seconds % seconds:
                self._spans[span].append(total)
                del self._spans[span][: -points - 1]

    @property
    def now(self) -> float:
        """Of the last ten seconds."""
        return (self._recent[-1] - self._recent[0]) / SECONDS

    def last(self, minutes: int) -> float:
        """Of the last minutes, to ten seconds; of the time since the start, while that is shorter."""
        known = self._spans["1h"]
        tens = min(minutes * 60 // SECONDS, len(known) - 1)
        seconds = tens * SECONDS + self._seconds % SECONDS
        return (self._recent[-1] - known[-1 - tens]) / max(seconds, SECONDS)

    def history(self, span: str) -> list[float]:
        """For a chart: of each ``SPANS[span]`` seconds, oldest first. What counts from none again is 0 there."""
        seconds, _ = SPANS[span]
        return [max(after - before, 0) / seconds for before, after in pairwise(self._spans[span])]

    def until(self, span: str) -> float:
        """When the last point of a history was made, in Unix seconds."""
        return time.time() - self._seconds % SPANS[span][0]

    def snapshot(self) -> dict[str, float]:
        """EMQX's three, and those of other times, all with two decimals."""
        found = {"rate": self.now, "rate.max": self.max}
        found |= {f"rate.last{minutes}m": self.last(minutes) for minutes in (1, 5, 15)}
        return {name: round(value, 2) for name, value in found.items()}


class Sampled(Protocol):
    """What has a counter whose rate is of interest."""

    def sample(self) -> None:
        """One second has passed."""


class Watched:
    """Counters whose rates are kept, by name; the first is the one that tells whether anything happens."""

    WATCHED: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self._rates = self._fresh()

    def _fresh(self) -> dict[str, Rate]:
        return {name: Rate() for name in self.WATCHED}

    def value(self, name: str) -> int:
        """Of a counter, now."""
        raise NotImplementedError

    @property
    def rate(self) -> Rate:
        """Of the first of them."""
        return self._rates[self.WATCHED[0]]

    def sample(self) -> None:
        """One second has passed."""
        for name, rate in self._rates.items():
            rate.sample(self.value(name))

    def rates(self) -> dict[str, float]:
        """Of the first of them, by EMQX's names for rules: ``matched.rate`` and so on."""
        return {f"{self.WATCHED[0]}.{name}": value for name, value in self.rate.snapshot().items()}

    def forget_rates(self) -> None:
        """They are counted from none."""
        self._rates = self._fresh()

    def history(self, span: str) -> dict[str, Any]:
        """Of each counter, how fast it grew; ``seconds`` a point, the last one made at ``until``."""
        rates = {name: [round(each, 2) for each in rate.history(span)] for name, rate in self._rates.items()}
        return {"seconds": SPANS[span][0], "until": self.rate.until(span), "rates": rates}


async def keep_rates(of: Callable[[], Iterable[Sampled]]) -> None:
    """Sample everything once a second, for ever."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + 1, loop.time())  # a second that was slept through is not made up for
        await asyncio.sleep(due - loop.time())
        for each in of():
            each.sample()
