"""The doubles other tests lean on."""

import asyncio

import pytest

from headrace import DeliveryError, EndOfInput, Event, NotConnected
from headrace.testing import Feed, ListSource, MapTransform, Recorder, RecordingSink, make_context


def event(payload: str, key: str = "") -> Event:
    return Event({"topic": "t/1", "payload": payload}, key=key or payload)


def sink(recorder: Recorder) -> RecordingSink:
    return RecordingSink(RecordingSink.Config(recorder=recorder), make_context())


async def test_a_list_source_gives_its_batches_in_order_and_records_the_acks():
    feed = Feed([{"topic": "a", "payload": "1"}])
    source = ListSource(ListSource.Config(feed=feed), make_context("plant"))
    reading = asyncio.create_task(source.read())
    first, ack_first = await reading
    feed.put([event("2"), event("3")])
    second, ack_second = await source.read()
    ack_second(None)
    refused = ValueError("no")
    ack_first(refused)
    assert [(e["payload"], e.key, e.source) for e in first] == [("1", "a", "plant")]
    assert feed.acks == [(second, None), (first, refused)]
    assert feed.accepted == list(second)
    assert feed.unread == 0


async def test_a_cancelled_read_loses_nothing():
    feed = Feed()
    source = ListSource(ListSource.Config(feed=feed), make_context())
    reading = asyncio.create_task(source.read())
    await asyncio.sleep(0)
    feed.put([event("1")])
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    batch, _ = await source.read()
    assert [e["payload"] for e in batch] == ["1"]


async def test_a_feed_raises_what_it_was_told_to_after_what_came_before():
    feed = Feed([event("1")])
    feed.fail(EndOfInput())
    feed.open_errors.append(NotConnected("away"))
    source = ListSource(ListSource.Config(feed=feed), make_context())
    with pytest.raises(NotConnected):
        await source.open()
    await source.open()
    await source.read()
    with pytest.raises(EndOfInput):
        await source.read()
    await source.close()
    assert (feed.opened, feed.closed) == (2, 1)


async def test_a_recorder_settles_each_event_as_its_script_says():
    failed = DeliveryError("no", status=500)
    recorder = Recorder(lambda e: failed if e["payload"] == "bad" else None)
    settled: list[tuple[int, Exception | None]] = []
    await sink(recorder).write([event("good"), event("bad")], lambda i, error: settled.append((i, error)))
    assert settled == [(0, None), (1, failed)]
    assert [e["payload"] for e in recorder.delivered] == ["good"]
    assert recorder.in_write == []


async def test_a_hanging_attempt_holds_only_itself_until_released():
    recorder = Recorder(lambda e: recorder.hang() if e["payload"] == "slow" else None)
    settled: list[int] = []
    writing = asyncio.create_task(sink(recorder).write([event("slow"), event("quick")], lambda i, _: settled.append(i)))
    await recorder.arrived(1)
    await recorder.until(lambda: recorder.hanging == 1)
    assert settled == [1]
    assert [e["payload"] for e in recorder.in_write] == ["slow"]
    recorder.release()
    await writing
    assert settled == [1, 0]


async def test_a_cancelled_write_settles_nothing_more():
    recorder = Recorder(lambda _: recorder.hang())
    settled: list[int] = []
    writing = asyncio.create_task(sink(recorder).write([event("x")], lambda i, _: settled.append(i)))
    await recorder.until(lambda: recorder.hanging == 1)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    recorder.release()
    await asyncio.sleep(0)
    assert (settled, recorder.delivered, recorder.in_write) == ([], [], [])


async def test_without_early_settling_write_raises_the_first_error_when_all_are_known():
    failed = DeliveryError("no")
    recorder = Recorder(lambda e: failed if e["payload"] == "bad" else None, early=False)
    settled: list[int] = []
    with pytest.raises(DeliveryError):
        await sink(recorder).write([event("bad"), event("good")], lambda i, _: settled.append(i))
    assert settled == []
    assert [e["payload"] for e in recorder.delivered] == ["good"]


async def test_a_recorder_notices_two_events_of_one_key_at_one_time():
    recorder = Recorder(lambda _: recorder.hang())
    recorder.write_errors.append(NotConnected("away"))
    with pytest.raises(NotConnected):
        await sink(recorder).write([event("1", "k")], lambda *_: None)
    writes = [asyncio.create_task(sink(recorder).write([event(p, "k")], lambda *_: None)) for p in "12"]
    await recorder.until(lambda: recorder.hanging == 2)
    recorder.release()
    await asyncio.gather(*writes)
    assert recorder.clashes == ["k"]
    assert recorder.most_in_write == 2


async def test_waiting_for_what_never_comes_ends():
    with pytest.raises(TimeoutError):
        await Recorder().arrived(1, timeout=0.01)


def test_a_map_transform_gives_rows_and_causes():
    def double(e: Event) -> list[dict[str, int]] | None:
        n = int(e["payload"])
        return [{"n": n}, {"n": 2 * n}] if n else None

    transform = MapTransform(MapTransform.Config(function=double, topics=("t/#",)), make_context())
    output = transform.process([event("2"), event("0"), event("x")])
    assert output.rows == [(0, {"n": 2}), (0, {"n": 4})]
    assert output.no_result == [1]
    assert isinstance(output.exceptions[2], ValueError)
    assert transform.inputs().topics == ("t/#",)
