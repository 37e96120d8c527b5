"""How much a sink may try now: its circuit, what its peer asked for, its window and its rate.

The *circuit* is closed while all is well. A failure that is the peer's opens it: nothing is sent until the next try is
due. Then it is half open: one event goes, and its outcome closes or opens the circuit. The *window* is how many events
may be under way. Answers that say "later" (408, 425, 429, 503) halve it; successes let it grow back. After an outage it
begins with one and doubles.
"""

from __future__ import annotations

import random
import time
from typing import Any, Literal

from headrace.config.model import RetryOptions, SinkOptions

__all__ = ["Circuit", "Flow", "Rate", "Window", "jitter"]

GROWTH = 1.1  # of the pause between probes: it stays near a tenth of the outage's age, so recovery is seen soon


class Circuit:
    """When a sink whose peer is out may be probed again."""

    def __init__(self, options: RetryOptions) -> None:
        self._options = options
        self.broken = False
        self.since = time.time()
        self._rounds = 0

    def failed(self) -> float:
        """A probe (or the first event) failed: seconds to wait before the next."""
        if not self.broken:
            self.broken, self.since = True, time.time()
        options = self._options
        pause = min(options.max, options.initial * GROWTH ** min(self._rounds, 100))
        self._rounds += 1
        return pause * jitter()

    def succeeded(self) -> None:
        """The peer is back."""
        if self.broken:
            self.broken, self.since = False, time.time()
        self._rounds = 0


class Window:
    """How many events may be under way at one time: at most ``most``, fewer for a peer that says "later".

    Up to ``_goal`` it grows by one for each success, which doubles it each round; beyond, by one each round.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = self._goal = float(most)
        self._halved_at = -1  # the sink's successes then

    def later(self, mark: int, successes: int) -> None:
        """An attempt begun after ``mark`` successes was put off. Those that were under way together halve it once."""
        if mark > self._halved_at:
            self.size = self._goal = max(1.0, self.size / 2)
            self._halved_at = successes

    def restart(self, later: bool) -> None:
        """The peer is out: begin with one again, and be careful sooner if it was too much for it."""
        if later:
            self._goal = max(1.0, self.size / 2)
        self.size = 1.0

    def succeeded(self) -> None:
        self.size = min(float(self.most), self.size + (1.0 if self.size < self._goal else 1.0 / self.size))


class Rate:
    """A token bucket for ``rate: 50/s``: a second's worth at most at once (one event at least)."""

    def __init__(self, text: str) -> None:
        number, unit = text.split("/")
        self._per_second = float(number) / {"s": 1, "m": 60, "h": 3600}[unit]
        self._most = max(1.0, self._per_second)
        self._tokens = self._most
        self._at = 0.0

    def allow(self, wanted: int, now: float) -> tuple[int, float]:
        """How many may go now, and in how many seconds one more may."""
        if self._at:
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        allowed = max(0, min(wanted, int(self._tokens)))
        return allowed, 0.0 if allowed >= wanted else (1.0 - self._tokens % 1.0) / self._per_second

    def spend(self, n: int) -> None:
        self._tokens -= n


class Flow:
    """All of it for one sink. Times are the loop's, but what people see is Unix time."""

    def __init__(self, options: SinkOptions) -> None:
        self._circuit = Circuit(options.retry)
        self._window = Window(options.inflight)
        self._rate = Rate(options.rate) if options.rate else None
        self._resume_at = 0.0  # after an outage's pause
        self._asked_until = 0.0  # the peer asked to wait
        self.broken = False
        """The peer is out: one event at a time is tried."""
        self.hindered = False
        """Broken, or the window is not whole: ``succeeded`` has something to do."""

    def room(self, writing: int, now: float) -> tuple[int, float]:
        """How many more may go now, and in how many seconds to look again (0: when something happens)."""
        wait = max(self._resume_at, self._asked_until) - now
        if wait > 0:
            return 0, wait
        room = (1 if self.broken else int(self._window.size)) - writing
        return (room, 0.0) if self._rate is None or room <= 0 else self._rate.allow(room, now)

    def spend(self, n: int) -> None:
        """``n`` attempts begin."""
        if self._rate is not None:
            self._rate.spend(n)

    def asked(self, seconds: float, now: float) -> None:
        """The peer asked for a pause."""
        self._asked_until = max(self._asked_until, now + seconds)

    def later(self, mark: int, successes: int) -> None:
        """The peer put an attempt off, and took others."""
        self._window.later(mark, successes)
        self.hindered = True

    def failed(self, later: bool, now: float) -> bool:
        """The peer is out. True if that is new. Of many that failed together the first sets the pause."""
        new = not self.broken
        if new:
            self._window.restart(later)
        if new or now >= self._resume_at:
            self._resume_at = now + self._circuit.failed()
        self.broken = self.hindered = True
        return new

    def succeeded(self) -> bool:
        """An event was delivered. True if the peer was out until now."""
        back, self.broken = self.broken, False
        if back:
            self._circuit.succeeded()
            self._resume_at = 0.0
        self._window.succeeded()
        self.hindered = self._window.size < self._window.most
        return back

    def snapshot(self, now: float) -> dict[str, Any]:
        """What people see: the circuit, since when, when the next try is due, and the window."""
        wait = max(self._resume_at, self._asked_until) - now
        state: Literal["closed", "open", "half_open"] = "open" if wait > 0 else "half_open" if self.broken else "closed"
        return {
            "circuit": state,
            "since": self._circuit.since,
            "next_try": time.time() + wait if wait > 0 else None,
            "window": int(self._window.size),
        }


def jitter() -> float:
    """A factor that spreads what would come all at once."""
    return random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, guards nothing
