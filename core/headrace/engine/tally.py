"""Counting: every change of an event's state changes the counters in the same turn of the loop.

The laws, which hold at every read:

    source   received = appended + rejected.* + pending
    rule     matched = passed + failed.exception + failed.no_result
    sink     matched + recovered = success + failed + dropped.* + late_reply + queuing + inflight

An event with an ``error`` comes from another sink or from the dead letters. Its rule has counted it already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from headrace.engine.meanings import RULE, SINK, SOURCE
from headrace.engine.rates import Watched
from headrace.engine.retry import Failure
from headrace.events import Event
from headrace.metrics import Metrics

__all__ = ["RuleTally", "SinkTally", "SourceTally", "Totals"]


class SourceTally(Watched):
    """The counters of one source; ``pending`` is what is on its way into the stream."""

    WATCHED: ClassVar = ("received",)

    def __init__(self) -> None:
        super().__init__()
        self.metrics = Metrics(*SOURCE)

    def value(self, name: str) -> int:
        return self.metrics[name]

    def reset(self) -> None:
        """Count from nothing; what is pending counts as received."""
        pending = self.metrics["pending"]
        self.metrics.reset()
        self.metrics.counters.update(received=pending, pending=pending)
        self.forget_rates()


class RuleTally(Watched):
    """The counters of one rule. ``skipped`` tells how many events the index passed over for it."""

    WATCHED: ClassVar = ("matched", "passed")

    def __init__(self) -> None:
        super().__init__()
        self.metrics = Metrics(*RULE)
        self.skipped: Callable[[], int] = lambda: 0
        self._forgotten = 0  # of those, at the last reset

    def value(self, name: str) -> int:
        return self.metrics[name] + (self.skipped() - self._forgotten if name == "matched" else 0)

    def processed(self, events: int, passed: int, exceptions: int, no_result: int) -> None:
        counters = self.metrics.counters
        counters["matched"] += events
        counters["passed"] += passed
        counters["failed"] += exceptions + no_result
        counters["failed.exception"] += exceptions
        counters["failed.no_result"] += no_result

    def acted(self, n: int, sinks: int, discarded: int, refused: int) -> None:
        """``n`` results went to so many sinks each; ``discarded`` ones are disabled, ``refused`` have no connector."""
        counters = self.metrics.counters
        counters["actions.total"] += n * (sinks + discarded + refused)
        if discarded:
            counters["actions.discarded"] += n * discarded
        if refused:
            counters["actions.failed"] += n * refused
            counters["actions.failed.out_of_service"] += n * refused

    def snapshot(self) -> dict[str, int | float]:
        values = self.metrics.snapshot()
        skipped = self.skipped() - self._forgotten
        for name in ("matched", "failed", "failed.no_result"):
            values[name] += skipped
        return values

    def reset(self) -> None:
        """Count from nothing."""
        self.metrics.reset()
        self._forgotten = self.skipped()
        self.forget_rates()

    def settle_skipped(self) -> None:
        """Before the index is replaced: make its count of skipped events this rule's own."""
        skipped = self.skipped() - self._forgotten
        self.processed(skipped, 0, 0, skipped)
        self.skipped = lambda: 0
        self._forgotten = 0


class SinkTally(Watched):
    """The counters of one sink. ``queuing`` waits for a first attempt, ``inflight`` has had one and is unsettled."""

    WATCHED: ClassVar = ("matched", "success", "failed")

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self.metrics = metrics
        for name in SINK:
            metrics.counters.setdefault(name, 0)
        self.queuing = 0
        self.inflight = 0
        self.latency = metrics.histogram("latency")
        self.end_to_end = metrics.histogram("end_to_end")
        self._recovered_unread = 0
        metrics.gauge("queuing", lambda: self.queuing)
        metrics.gauge("inflight", lambda: self.inflight)

    def histograms(self) -> dict[str, Any]:
        """``latency`` of attempts, and ``end_to_end`` from the making of an event to its delivery."""
        return {name: histogram.snapshot() for name, histogram in self.metrics.histograms.items()}

    def value(self, name: str) -> int:
        return self.metrics[name]

    def rates(self) -> dict[str, float]:
        """How fast ``matched`` grows, by EMQX's names for actions."""
        return {name.replace(".", "_"): value for name, value in self.rate.snapshot().items()}

    def reset(self) -> None:
        """Count from nothing; what waits counts as recovered."""
        self.metrics.reset()
        self.metrics.counters["recovered"] = self.queuing + self.inflight
        self.forget_rates()

    def recovered(self, n: int) -> None:
        """``n`` unsettled events were found in the stream at start."""
        self.metrics.add("recovered", n)
        self.queuing += n
        self._recovered_unread += n

    def requeued(self) -> None:
        """Its runner is replaced: what had been tried and is unsettled waits for a first attempt again."""
        self.queuing += self.inflight
        self.inflight = 0

    def refused(self, n: int) -> None:
        """A rule gave ``n`` events to this sink, whose connector is disabled."""
        self.metrics.counters["matched"] += n
        self._dropped(n, "resource_stopped")

    def sent(self, n: int) -> None:
        """A rule gave ``n`` events to this sink."""
        self.metrics.counters["matched"] += n
        self.queuing += n

    def arrived(self, events: Iterable[Event], rules: Mapping[str, RuleTally]) -> None:
        """Events came off the stream. Recovered ones come first, and no rule of this process has counted them."""
        if not self._recovered_unread:
            return
        for event in events:
            if self._recovered_unread:
                self._recovered_unread -= 1
                if event.error is None and (rule := rules.get(event.rule)):
                    rule.metrics.counters["actions.total"] += 1

    def begun(self, attempts: int, first: int) -> None:
        """Attempts begin, some of them the first of their event."""
        self.metrics.counters["attempts"] += attempts
        self.queuing -= first
        self.inflight += first

    def erred(self, what: str, n: int = 1) -> None:
        """Attempts failed, whatever becomes of their events."""
        self.metrics.counters["errors"] += n
        self.metrics.add(f"errors.{what}", n)

    def measured(self, event: Event, seconds: float, n: int, *, delivered: bool) -> None:
        """``n`` attempts that began together ended; the one of ``event`` took so long."""
        self.latency.add(seconds, n)
        if delivered:
            self.end_to_end.add(max(time.time() - event.timestamp / 1000, 0.0), n)

    def delivered(self, events: Sequence[Event], rules: Mapping[str, RuleTally], *, late: bool = False) -> None:
        counters, by_rule, retried = self.metrics.counters, dict[str, int](), 0
        for event in events:
            if event.attempt > 1:
                retried += 1
            if event.error is None:
                by_rule[event.rule] = by_rule.get(event.rule, 0) + 1
        self.inflight -= len(events)
        counters["late_reply" if late else "success"] += len(events)
        if retried and not late:
            counters["retried"] += retried
            counters["retried.success"] += retried
        for name, n in by_rule.items():
            if rule := rules.get(name):
                counters = rule.metrics.counters
                if late:
                    counters["actions.failed"] += n
                    counters["actions.failed.unknown"] += n
                else:
                    counters["actions.success"] += n

    def failed(self, event: Event, tries: int, failure: Failure, rules: Mapping[str, RuleTally]) -> None:
        counters = self.metrics.counters
        counters["failed"] += 1
        if tries > 1:
            counters["retried"] += 1
            counters["retried.failed"] += 1
        self.inflight -= 1
        self._action_failed(event, "out_of_service" if failure.network or failure.later else "unknown", rules)

    def dropped(self, event: Event, tries: int, reason: str, rules: Mapping[str, RuleTally]) -> None:
        if tries:
            self.inflight -= 1
        else:
            self.queuing -= 1
        self._dropped(1, reason)
        self._action_failed(event, "unknown", rules)

    def dropped_unread(self, n: int, events: Sequence[Event], rules: Mapping[str, RuleTally], *, oldest: bool) -> None:
        """The stream dropped ``n`` events that nobody had read: the oldest ones, or those that were to come."""
        if oldest:
            self.arrived(events, rules)
        self.queuing -= n
        self._dropped(n, "queue_full")
        for event in events:
            self._action_failed(event, "unknown", rules)

    def _dropped(self, n: int, reason: str) -> None:
        self.metrics.counters["dropped"] += n
        self.metrics.add(f"dropped.{reason}", n)

    def _action_failed(self, event: Event, how: str, rules: Mapping[str, RuleTally]) -> None:
        if event.error is None and (rule := rules.get(event.rule)):
            counters = rule.metrics.counters
            counters["actions.failed"] += 1
            counters[f"actions.failed.{how}"] += 1


class Totals(Watched):
    """What all parts together have received, matched, delivered and failed to do."""

    WATCHED: ClassVar = ("received", "matched", "success", "failed")

    def __init__(
        self,
        sources: Mapping[str, SourceTally],
        rules: Mapping[str, RuleTally],
        sinks: Mapping[str, SinkTally],
    ) -> None:
        super().__init__()
        self._of: dict[str, tuple[tuple[Mapping[str, Watched], str], ...]] = {
            "received": ((sources, "received"),),
            "matched": ((rules, "matched"),),
            "success": ((sinks, "success"),),
            "failed": ((sinks, "failed"), (rules, "failed.exception")),
        }

    def value(self, name: str) -> int:
        return sum(tally.value(counter) for tallies, counter in self._of[name] for tally in tallies.values())
