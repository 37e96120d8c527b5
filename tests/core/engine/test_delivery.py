"""Retry, order, outage, poison, time to live, batches: for a sink that scripts what goes wrong."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from headrace.errors import Backoff, DeliveryError, NotConnected
from headrace.events import Event, now_ms
from headrace.testing.doubles import Recorder

QUICK: dict[str, Any] = {"retry": {"initial": "10ms", "max": "50ms", "max_attempts": 4}}


def order(recorder: Recorder, key: str) -> list[int]:
    return [event["n"] for event in recorder.delivered if event["key"] == key]


async def test_everything_arrives_in_order_per_key(bench: Any) -> None:
    recorder = Recorder(lambda event: asyncio.sleep(0.001 * (event["n"] % 3)))
    b = bench(recorder)
    await b.give(*("abc" * 20))
    await b.all_settled()
    assert len(recorder.delivered) == 60
    for key in "abc":
        assert order(recorder, key) == sorted(order(recorder, key))
    assert recorder.clashes == []
    assert b.counters["success"] == 60
    assert b.rules["r"].snapshot()["actions.success"] == 60


async def test_indices_settled_before_a_restart_are_skipped(bench: Any) -> None:
    b = bench(Recorder())
    record = await b.give("a", "b", "c", settled=[1])
    await b.all_settled()
    assert sorted(record.done) == [0, 2]
    assert [event["n"] for event in b.recorder.delivered] == [0, 2]


async def test_an_outage_is_waited_out_whatever_max_attempts_says(bench: Any) -> None:
    down = True

    def script(event: Event) -> Exception | None:
        return DeliveryError("refused", kind="network") if down else None

    recorder = Recorder(script)
    b = bench(recorder, **QUICK)
    await b.give(*"abcabcabc")
    await b.until(lambda: len(recorder.attempts) > 15)
    assert b.runner.status.state == "degraded"
    assert "refused" in b.runner.status.reason
    assert b.given_up == []
    down = False
    await b.all_settled()
    assert b.runner.status.state == "running"
    assert [order(recorder, key) for key in "abc"] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert b.counters["retried"] >= 1


async def test_a_500_outage_is_waited_out_when_nothing_succeeds(bench: Any) -> None:
    down = True
    recorder = Recorder(lambda e: DeliveryError("500", kind="status", status=500) if down else None)
    b = bench(recorder, **QUICK)
    await b.give(*"abcd")
    await b.until(lambda: len(recorder.attempts) > 12)
    assert b.given_up == []
    down = False
    await b.all_settled()
    assert b.counters["success"] == 4


async def test_during_an_outage_one_event_at_a_time_is_tried(bench: Any) -> None:
    recorder = Recorder(lambda e: DeliveryError("503", kind="status", status=503))
    b = bench(recorder, **QUICK)
    await b.give(*[f"k{n}" for n in range(50)])
    await b.until(lambda: b.runner.status.state == "degraded")
    before = len(recorder.calls)
    await b.until(lambda: len(recorder.calls) > before + 3)
    assert all(len(call) == 1 for call in recorder.calls[before + 1 :])


async def test_one_poison_event_is_given_up_and_its_lane_goes_on(bench: Any) -> None:
    def script(event: Event) -> Exception | None:
        bad = event["key"] == "p" and event["n"] == 0
        return DeliveryError("status 500", kind="status", status=500) if bad else None

    recorder = Recorder(script)
    b = bench(recorder, **QUICK)
    await b.give("p", *"abcabc", "p", "p")
    await b.all_settled()
    assert [event["n"] for event, _ in b.given_up] == [0]
    assert b.counters["failed"] == 1
    assert order(recorder, "p") == [7, 8]
    # the first failure came before anything had succeeded: it is not held against the event
    assert [n for event_id, n in recorder.attempts if event_id == b.given_up[0][0].id] == [1, 2, 3, 4, 5]


async def test_poison_at_the_end_is_given_up_though_nothing_else_comes(bench: Any) -> None:
    recorder = Recorder(
        lambda e: {"bad": DeliveryError("500", kind="status", status=500), "hang": TimeoutError("no answer")}.get(
            e["key"]
        )
    )
    b = bench(recorder, **QUICK)
    await b.give("a", "bad", "b", "hang", "c")
    await b.all_settled()
    assert {event["key"] for event, _ in b.given_up} == {"bad", "hang"}
    assert len(recorder.delivered) == 3


async def test_poison_that_holds_the_only_lane_is_found_and_the_order_kept(bench: Any) -> None:
    recorder = Recorder(lambda e: DeliveryError("500", kind="status", status=500) if e["n"] in (3, 6) else None)
    b = bench(recorder, **QUICK)
    await b.give(*("a" * 10))
    await b.all_settled()
    assert order(recorder, "a") == [0, 1, 2, 4, 5, 7, 8, 9]
    assert [event["n"] for event, _ in b.given_up] == [3, 6]
    assert recorder.clashes == []


async def test_an_outage_of_one_lane_is_not_held_against_its_head(bench: Any) -> None:
    down = True
    recorder = Recorder(lambda e: DeliveryError("500", kind="status", status=500) if down else None)
    b = bench(recorder, **QUICK)
    await b.give(*("a" * 5))
    await b.until(lambda: len(recorder.attempts) > 20)
    down = False
    await b.all_settled()
    assert b.given_up == []
    assert order(recorder, "a")[-1] == 4


async def test_later_holds_the_only_lane_for_as_long_as_it_takes(bench: Any) -> None:
    busy = True
    recorder = Recorder(lambda e: DeliveryError("503", kind="status", status=503) if busy and e["n"] == 0 else None)
    b = bench(recorder, **QUICK)
    await b.give(*("a" * 5))
    await b.until(lambda: len(recorder.attempts) > 12)
    busy = False
    await b.all_settled()
    assert order(recorder, "a") == [0, 1, 2, 3, 4]


async def test_a_final_answer_is_not_retried(bench: Any) -> None:
    recorder = Recorder(lambda e: DeliveryError("404", kind="status", status=404))
    b = bench(recorder)
    await b.give("a")
    await b.all_settled()
    assert len(recorder.attempts) == 1
    assert b.counters["failed"] == 1
    assert b.counters["retried"] == 0
    rule = b.rules["r"].snapshot()
    assert (rule["actions.failed"], rule["actions.failed.unknown"]) == (1, 1)


async def test_later_is_never_held_against_an_event(bench: Any) -> None:
    busy = 30
    attempts = 0

    def script(event: Event) -> Exception | None:
        nonlocal attempts
        if event["key"] != "slow":
            return None
        attempts += 1
        return DeliveryError("429", kind="status", status=429) if attempts < busy else None

    recorder = Recorder(script)
    b = bench(recorder, **QUICK)
    await b.give("slow")
    for _ in range(busy):
        await b.give("other")
        await asyncio.sleep(0.03)
    await b.all_settled()
    assert b.given_up == []


async def test_an_event_waiting_for_its_retry_holds_only_its_own_key(bench: Any) -> None:
    blocked = True
    recorder = Recorder(
        lambda e: (
            DeliveryError("503", kind="status", status=503) if blocked and (e["key"], e["n"]) == ("k", 0) else None
        )
    )
    b = bench(recorder, retry={"initial": "20ms", "max": "20ms"})
    await b.give("k", *(["k"] * 1000), *[f"o{n}" for n in range(1000)])
    await b.until(lambda: len(recorder.delivered) == 1000)
    assert {event["key"] for event in recorder.delivered}.isdisjoint({"k"})
    blocked = False
    await b.all_settled()
    assert order(recorder, "k") == list(range(1001))


async def test_reading_ahead_is_bounded(bench: Any) -> None:
    recorder = Recorder(lambda e: recorder.hang())
    b = bench(recorder)
    for _ in range(16):
        await b.give(*[f"k{n}" for n in range(256)])
    blocked = asyncio.ensure_future(b.give("late"))
    await asyncio.sleep(0.05)
    assert not blocked.done()
    assert recorder.most_in_write <= 100
    recorder.script = lambda e: None
    await b.until(lambda: recorder.release() or blocked.done())
    await b.all_settled()


async def test_backoff_pauses_the_sink(bench: Any) -> None:
    first = True

    def script(event: Event) -> Exception | None:
        nonlocal first
        if first:
            first = False
            return Backoff(0.2)
        return None

    b = bench(Recorder(script), **QUICK)
    started = time.monotonic()
    await b.give("a", "b")
    await b.all_settled()
    assert time.monotonic() - started >= 0.15
    assert b.counters["success"] == 2


async def test_not_connected_opens_the_sink_again(bench: Any) -> None:
    recorder = Recorder()
    recorder.write_errors.append(NotConnected("gone"))
    b = bench(recorder, **QUICK)
    await b.give("a")
    await b.all_settled()
    assert recorder.opened == 2


async def test_a_sink_that_does_not_open_keeps_its_events(bench: Any) -> None:
    recorder = Recorder()
    recorder.open_errors.extend([OSError("refused"), OSError("refused")])
    b = bench(recorder)
    await b.give("a", "b")
    await b.until(lambda: b.runner.status.state == "connecting" and "refused" in b.runner.status.reason)
    await b.all_settled()
    assert len(recorder.delivered) == 2


async def test_those_behind_an_event_given_up_wait_until_it_is_safe(bench: Any) -> None:
    refused = DeliveryError("no", kind="status", status=400)
    b = bench(Recorder(lambda e: refused if e["n"] == 0 else None))
    b.safe = asyncio.get_running_loop().create_future()
    await b.give("a", "a", "b")
    await b.until(lambda: len(b.recorder.delivered) == 1)
    assert b.recorder.delivered[0]["key"] == "b"  # or a restart would bring the first of a after the second
    b.safe.set_result(None)
    await b.all_settled()
    assert [event["n"] for event in b.recorder.delivered] == [2, 1]


async def test_too_old_events_are_dropped_as_expired_during_an_outage(bench: Any) -> None:
    b = bench(Recorder(lambda e: OSError("down")), ttl="300ms", **QUICK)
    await b.give(*"aab", timestamp=now_ms())
    await b.all_settled()
    assert b.counters["dropped.expired"] == 3
    assert b.counters["success"] == b.counters["failed"] == 0


async def test_an_answer_after_the_ttl_is_a_late_reply(bench: Any) -> None:
    recorder = Recorder(lambda e: recorder.hang())
    b = bench(recorder, ttl="100ms")
    await b.give("a", timestamp=now_ms())
    await b.until(lambda: recorder.hanging == 1)
    await asyncio.sleep(0.15)
    recorder.release()
    await b.all_settled()
    assert b.counters["late_reply"] == 1


async def test_the_oldest_waiting_events_can_be_pushed_out(bench: Any) -> None:
    recorder = Recorder(lambda e: recorder.hang())
    b = bench(recorder, inflight=1)
    await b.give(*"abbb")
    await b.until(lambda: recorder.hanging == 1)
    b.runner.drop_oldest(200)
    assert b.counters["dropped.queue_full"] == 2
    recorder.script = lambda e: None
    recorder.release()
    await b.all_settled()
    assert [event["n"] for event in recorder.delivered] == [0, 3]


async def test_a_rate_waits_and_drops_nothing(bench: Any) -> None:
    b = bench(Recorder(), rate="20/s")
    started = time.monotonic()
    await b.give(*[f"k{n}" for n in range(26)])
    await b.all_settled()
    assert time.monotonic() - started >= 0.2
    assert b.counters["success"] == 26
