"""What is counted in each case: the sink's counters, its rule's actions, histograms and the delivery log."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from headrace import Batch, ComponentConfig, Done, Sink
from headrace.engine.journal import KEPT, Journal
from headrace.engine.retry import Failure
from headrace.errors import Backoff, DeliveryError
from headrace.events import Event, now_ms
from headrace.hookspecs import hookimpl
from headrace.lanes import Item, Taken
from headrace.metrics import Histogram
from headrace.testing.doubles import Recorder
from headrace.testing.pipelines import run_pipeline

QUICK: dict[str, Any] = {"retry": {"initial": "5ms", "max": "20ms", "max_attempts": 4}}
UNKNOWN = {"actions.failed": 1, "actions.failed.unknown": 1}
AWAY = {"actions.failed": 1, "actions.failed.out_of_service": 1}


def status(code: int) -> DeliveryError:
    return DeliveryError(f"the server answered {code}", kind="status", status=code, answer=b"<oh no>")


def moved(counters: dict[str, int | float]) -> dict[str, int | float]:
    """Those that are not 0, without gauges and what is not about the event's end."""
    hidden = ("errors", "attempts", "matched")
    return {name: n for name, n in counters.items() if n and not name.startswith(hidden)}


@pytest.mark.parametrize(
    ("answers", "options", "sink", "rule"),
    [
        ([], {}, {"success": 1}, {"actions.success": 1}),
        ([status(404)], {}, {"failed": 1}, UNKNOWN),
        ([status(302)], {}, {"failed": 1}, UNKNOWN),
        ([status(501)], {}, {"failed": 1}, UNKNOWN),
        ([status(503)] * 2, {}, {"success": 1, "retried": 1, "retried.success": 1}, {"actions.success": 1}),
        ([status(500), status(404)], {}, {"failed": 1, "retried": 1, "retried.failed": 1}, UNKNOWN),
        ([status(503)] * 99, {"ttl": "60ms"}, {"dropped": 1, "dropped.expired": 1}, UNKNOWN),
        ([OSError("refused")] * 99, {"ttl": "60ms"}, {"dropped": 1, "dropped.expired": 1}, UNKNOWN),
        ([DeliveryError("refused", kind="network")], {"retry": {"on": [500]}}, {"failed": 1}, AWAY),
        ([status(503)], {"retry": {"on": [500]}}, {"failed": 1}, AWAY),
        ([DeliveryError("no url", kind="invalid")], {}, {"failed": 1}, UNKNOWN),
    ],
)
async def test_one_event(
    bench: Any, answers: list[Exception], options: dict[str, Any], sink: dict[str, int], rule: dict[str, int]
) -> None:
    left = list(answers)
    b = bench(Recorder(lambda event: left.pop(0) if left else None), **{**QUICK, **options})
    await b.give("k", timestamp=now_ms())
    await b.all_settled()
    assert moved(b.counters) == sink
    assert moved(b.rules["r"].snapshot()) == rule


async def test_an_answer_after_the_ttl_is_neither_success_nor_failure(bench: Any) -> None:
    recorder = Recorder(lambda event: recorder.hang())
    b = bench(recorder, ttl="50ms")
    await b.give("k", timestamp=now_ms())
    await b.until(lambda: recorder.hanging == 1)
    await asyncio.sleep(0.06)
    recorder.release()
    await b.all_settled()
    assert moved(b.counters) == {"late_reply": 1}
    assert moved(b.rules["r"].snapshot()) == UNKNOWN


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (status(503), "5xx"),
        (status(408), "4xx"),
        (status(302), "3xx"),
        (TimeoutError(), "timeout"),
        (DeliveryError("late", kind="timeout"), "timeout"),
        (OSError("refused"), "network"),
        (Backoff(0.01), "backoff"),
        (DeliveryError("no url", kind="invalid"), "invalid"),
        (KeyError("a bug"), "error"),
    ],
)
async def test_attempts_are_counted_by_what_happened(bench: Any, error: Exception, name: str) -> None:
    left = [error]
    b = bench(Recorder(lambda event: left.pop() if left else None), **QUICK)
    await b.give("a")
    await b.all_settled()
    counters = b.counters
    assert (counters["errors"], counters[f"errors.{name}"]) == (1, 1)
    assert counters["attempts"] == 1 + counters["success"]
    entry = b.runner.journal.entries()[0]
    assert (entry["outcome"], entry["attempt"], entry["status"]) == (name, 1, getattr(error, "status", None))
    assert entry["excerpt"]


async def test_durations_stand_for_every_attempt_that_began_together(bench: Any) -> None:
    b = bench(Recorder(lambda event: asyncio.sleep(0.02)))
    await b.give(*"abcde", timestamp=now_ms() - 1000)
    await b.all_settled()
    shown = b.tally.histograms()
    assert shown["latency"]["count"] == shown["end_to_end"]["count"] == 5
    assert 0.01 <= shown["latency"]["p50"] <= 0.5
    assert 1 <= shown["end_to_end"]["p99"] <= 2.5
    assert shown["latency"]["buckets"][-1] == ("+Inf", 5)


def test_quantiles_lie_in_their_bucket() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    histogram.add(0.004, 90)
    histogram.add(0.2, 9)
    histogram.add(1000)
    assert 0.0025 < histogram.quantile(0.5) <= 0.005  # type: ignore[operator]  # there are some
    assert 0.1 < histogram.quantile(0.99) <= 0.25  # type: ignore[operator]
    assert histogram.quantile(1.0) == 300
    assert histogram.snapshot()["sum"] == pytest.approx(0.36 + 1.8 + 1000)


def test_the_delivery_log_is_bounded_and_keeps_failures_apart_from_successes() -> None:
    journal = Journal()
    item = Item(Event({}, id="x" * 5000), Taken(None, 0), 0, "k")
    error = DeliveryError("y" * 5000, kind="status", status=500, answer=b"z" * 5000)
    for _ in range(3):
        journal.failed(item, Failure("y" * 5000, again=True, what="5xx"), error, 0.1)
    began = time.monotonic()
    while time.monotonic() - began < 0.05:
        journal.delivered(item, 0.1)
    entries = journal.entries(1000)
    assert 3 + 3 <= len(entries) <= 3 + 7, "successes are sampled, failures are not"
    assert [e["outcome"] for e in journal.entries(failures=True)] == ["5xx"] * 3
    for _ in range(1000):
        journal.failed(item, Failure("y" * 5000, again=True, what="5xx"), error, 0.1)
    assert len(journal.entries(5000, failures=True)) == KEPT
    assert sum(len(str(e)) for e in journal.entries(5000)) < 200_000
    assert len(journal.entries(2)) == 2


class Slow(Sink[ComponentConfig]):
    """Takes nothing until it is told to."""

    name = "slow"
    go: asyncio.Event

    async def write(self, batch: Batch, done: Done) -> None:
        await type(self).go.wait()


class Slows:
    @hookimpl
    def register_sinks(self) -> list[type[Slow]]:
        return [Slow]


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
async def test_what_a_full_buffer_drops_is_counted_for_its_rule_too(when_full: str) -> None:
    Slow.go = asyncio.Event()
    config = f"""
name: overflow
sources: {{g: {{type: generate, rate: 0, count: 6000}}}}
rules:
  one: {{sql: 'SELECT payload.seq AS seq FROM "#" WHERE payload.seq mod 2 = 0', to: [out, fast]}}
  two: {{sql: 'SELECT payload.seq AS seq FROM "#"', to: out}}
sinks:
  out: {{type: slow, buffer: {{max_bytes: 64KB, when_full: {when_full}}}}}
  fast: {{type: file, path: /dev/null}}
"""
    async with run_pipeline(config, plugins=[Slows()]) as running:
        await running.until(
            lambda s: (
                s["sources"]["g"]["state"] == "stopped"
                and s["stream"]["topics"]["events"]["unsettled"] == 0
                and s["sinks"]["fast"]["counters"]["success"] == 3000
            )
        )
        Slow.go.set()
        status = await running.until(lambda s: s["stream"]["topics"]["sink.out"]["unsettled"] == 0)
    out = status["sinks"]["out"]["counters"]
    assert out["matched"] == 9000
    assert out["dropped.queue_full"] > 3000
    failed = sum(rule["counters"]["actions.failed.unknown"] for rule in status["rules"].values())
    assert failed == out["dropped.queue_full"]
    for rule in status["rules"].values():
        c = rule["counters"]
        assert c["actions.total"] == c["actions.success"] + c["actions.failed"]
    assert status["rules"]["one"]["counters"]["actions.total"] == 6000
