"""How fast counters grow."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.engine.calls import call
from headrace.engine.rates import SPANS, Rate, keep_rates
from headrace.engine.tally import RuleTally, SinkTally, Totals
from headrace.errors import HeadraceError
from headrace.metrics import Metrics
from headrace.testing.pipelines import run_pipeline


def sampled(*totals: int) -> Rate:
    rate = Rate()
    for total in totals:
        rate.sample(total)
    return rate


def test_one_event_is_a_tenth_for_ten_seconds() -> None:
    rate = Rate()
    shown = []
    for _ in range(12):
        rate.sample(1)
        shown.append(rate.now)
    assert shown == [0.1] * 10 + [0.0] * 2
    assert rate.max == 0.1


def test_a_steady_flow_is_the_same_over_all_times() -> None:
    rate = sampled(*(50 * second for second in range(1, 2001)))
    assert rate.snapshot() == {
        "rate": 50.0, "rate.max": 50.0, "rate.last1m": 50.0, "rate.last5m": 50.0, "rate.last15m": 50.0,
    }  # fmt: skip
    assert rate.history("1h") == [50.0] * 200
    assert rate.history("24h") == [50.0] * 6


def test_the_history_is_bounded() -> None:
    rate = sampled(*range(1, 90_000))
    assert {span: len(rate.history(span)) for span in SPANS} == {"1h": 360, "24h": 288}
    kept = [rate._recent, *rate._spans.values()]
    assert sum(each.itemsize * len(each) for each in kept) < 5300


def test_it_is_known_when_something_last_came(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Rate()
    assert rate.grew_at is None
    for now, total in ((100.0, 1), (101.0, 1), (102.0, 0)):  # counted from none is not that something came
        monkeypatch.setattr(time, "time", lambda now=now: now)
        rate.sample(total)
        assert rate.grew_at == 100.0


def test_a_reset_is_a_gap_in_the_totals_and_no_negative_rate() -> None:
    rule = RuleTally()
    totals = Totals({}, {"r": rule}, {})
    for _ in range(10):
        rule.processed(events=30, passed=20, exceptions=10, no_result=0)
        totals.sample()
    rule.reset()
    for _ in range(10):
        totals.sample()
    assert totals.history("1h")["rates"] == {
        "received": [0.0, 0.0], "matched": [30.0, 0.0], "success": [0.0, 0.0], "failed": [10.0, 0.0],
    }  # fmt: skip


@pytest.mark.parametrize("minutes", [1, 5, 15])
def test_what_is_longer_ago_counts_no_more(minutes: int) -> None:
    after = minutes * 60 + 10  # windows are exact to ten seconds
    rate = sampled(*[6000] * (after - 20))
    assert rate.last(minutes) > 0
    for _ in range(20):
        rate.sample(6000)
    assert rate.last(minutes) == 0


@pytest.mark.parametrize(("seconds", "shown"), [(1, 60.0), (10, 60.0), (20, 30.0), (60, 10.0)])
def test_a_short_past_is_divided_by_its_length(seconds: int, shown: float) -> None:
    rate = sampled(*[600] * seconds)
    assert rate.last(1) == shown


def test_the_highest_is_kept() -> None:
    rate = sampled(1000, *[1000] * 100)
    assert (rate.now, rate.max) == (0.0, 100.0)


def test_what_was_counted_before_is_no_rate() -> None:
    rate = Rate(5000)
    rate.sample(5001)
    assert rate.now == 0.1


def test_a_rule_and_a_sink_have_the_rate_of_what_they_matched() -> None:
    rule, sink = RuleTally(), SinkTally(Metrics())
    rule.processed(events=7, passed=7, exceptions=0, no_result=0)
    rule.skipped = lambda: 3
    sink.sent(20)
    rule.sample()
    sink.sample()
    assert rule.rates()["matched.rate"] == 1.0
    assert sink.rates() == {"rate": 2.0, "rate_max": 2.0, "rate_last1m": 2.0, "rate_last5m": 2.0, "rate_last15m": 2.0}
    assert set(rule.rates()) == {f"matched.{name}" for name in Rate().snapshot()}


async def test_everything_is_sampled_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    ticked = asyncio.Event()

    class One:
        n = 0

        def sample(self) -> None:
            self.n += 1
            if self.n == 3:
                ticked.set()

    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    one = One()
    keeping = asyncio.create_task(keep_rates(lambda: [one]))
    await asyncio.wait_for(ticked.wait(), 10)
    keeping.cancel()
    assert slept[0] == pytest.approx(1.0, abs=0.1)


async def test_a_running_pipeline_tells_its_rates_and_their_history() -> None:
    config = """
sources: {g: {type: generate, rate: 5000, count: 50}}
rules: {all: {sql: 'SELECT * FROM "#"', to: out}}
sinks: {out: {type: console}}
"""
    async with run_pipeline(config) as running:
        status = await running.until(lambda status: status["sinks"]["out"]["rates"]["rate"] == 5.0)
        assert status["rules"]["all"]["rates"]["matched.rate.max"] == 5.0
        for kind, name, counters in (
            ("sources", "g", {"received"}),
            ("rules", "all", {"matched", "passed"}),
            ("sinks", "out", {"matched", "success", "failed"}),
            (None, None, {"received", "matched", "success", "failed"}),
        ):
            found = await call(running.pipeline, "history", {"kind": kind, "name": name})
            assert (found["seconds"], found["rates"]) == (10, {counter: [] for counter in counters})
            if kind is not None:
                assert time.time() - 20 < status[kind][name]["last_event_at"] <= time.time()
        with pytest.raises(HeadraceError, match="there is no sink 'nope' running"):
            await call(running.pipeline, "history", {"kind": "sinks", "name": "nope"})
        with pytest.raises(HeadraceError, match="span: one of 1h, 24h"):
            await call(running.pipeline, "history", {"span": "1y"})
