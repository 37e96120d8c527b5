"""What bounds a sink's attempts: circuit, window, pauses the peer asked for, rate."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from headrace.config.model import RetryOptions, SinkOptions
from headrace.engine.flow import Circuit, Flow, Rate, Window
from headrace.errors import Backoff, DeliveryError
from headrace.events import Event
from headrace.testing.doubles import Recorder

QUICK: dict[str, Any] = {"retry": {"initial": "10ms", "max": "50ms", "max_attempts": 4}}


def test_pauses_between_probes_stay_a_fraction_of_the_outage() -> None:
    circuit = Circuit(RetryOptions(initial="100ms", max="30s"))
    age = 0.0
    for _ in range(60):
        pause = circuit.failed()
        assert pause <= max(0.1, age / 3 + 0.1)
        assert pause <= 30
        age += pause
    assert circuit.broken
    circuit.succeeded()
    assert not circuit.broken
    assert circuit.failed() <= 0.1


def test_a_rate_gives_one_seconds_worth_and_then_waits() -> None:
    rate = Rate("10/s")
    allowed, wait = rate.allow(100, 1.0)
    assert (allowed, wait > 0) == (10, True)
    rate.spend(10)
    assert rate.allow(5, 1.0)[0] == 0
    assert rate.allow(5, 1.25)[0] == 2
    rate = Rate("30/m")
    assert rate.allow(3, 1.0)[0] == 1


def test_the_window_is_halved_once_for_what_was_under_way_together_and_grows_by_one_a_round() -> None:
    window = Window(100)
    window.later(mark=5, successes=7)
    window.later(mark=6, successes=7)
    assert window.size == 50
    window.later(mark=8, successes=20)
    assert window.size == 25
    for _ in range(26):
        window.succeeded()
    assert 25.9 < window.size < 26.1
    for mark in range(30, 60):
        window.later(mark, mark + 1)
    assert window.size == 1
    for _ in range(100_000):
        window.succeeded()
    assert window.size == 100


def test_the_circuit_opens_is_half_open_and_closes() -> None:
    flow = Flow(SinkOptions(retry=RetryOptions(initial="1s", max="30s")))
    assert flow.room(40, 0.0) == (60, 0.0)
    assert flow.failed(False, 10.0)
    assert not flow.failed(False, 10.1), "it failed together with the first"
    room, wait = flow.room(0, 10.1)
    assert room == 0
    assert 0.6 < wait < 1.0
    shown = flow.snapshot(10.1)
    assert shown["circuit"] == "open"
    assert 0 < shown["next_try"] - time.time() <= 1
    assert flow.room(0, 11.1) == (1, 0.0)
    assert flow.snapshot(11.1)["circuit"] == "half_open"
    assert flow.succeeded()
    assert flow.snapshot(11.1) | {"since": 0} == {"circuit": "closed", "since": 0, "next_try": None, "window": 2}
    for _ in range(98):
        flow.succeeded()
    assert flow.room(0, 11.1) == (100, 0.0)
    assert not flow.hindered


async def test_the_status_shows_the_circuit_and_when_the_next_try_is_due(bench: Any) -> None:
    down = True
    b = bench(Recorder(lambda e: OSError("refused") if down else None), **QUICK)
    await b.give("a", "b")
    await b.until(lambda: b.runner.flow()["circuit"] == "open")
    assert b.runner.flow()["next_try"] > time.time() - 0.1
    down = False
    await b.all_settled()
    assert b.runner.flow()["circuit"] == "closed"


async def test_a_pause_the_peer_asked_for_is_shown(bench: Any) -> None:
    answers = [Backoff(0.2)]
    b = bench(Recorder(lambda e: answers.pop() if answers else None), **QUICK)
    await b.give("a")
    await b.until(lambda: b.runner.flow()["next_try"] is not None)
    await b.all_settled()


async def test_a_peer_that_takes_few_at_a_time_is_given_fewer(bench: Any) -> None:
    """It answers 429 to whatever comes while four are under way: nearly all of it comes when it can be taken."""
    busy = refused = 0

    async def answer(event: Event) -> Exception | None:
        nonlocal busy, refused
        if busy >= 4:
            refused += 1
            return DeliveryError("429", kind="status", status=429)
        busy += 1
        await asyncio.sleep(0.001)
        busy -= 1
        return None

    b = bench(Recorder(answer), retry={"initial": "1ms", "max": "5ms"})
    await b.give(*[f"k{n}" for n in range(500)])
    await b.until(lambda: b.counters["success"] >= 250)
    half_way = refused
    assert b.runner.flow()["window"] < 20
    await b.all_settled()
    assert b.given_up == []
    assert refused - half_way < 250, "less than one refusal for each delivery"
