"""The stream as the engine uses it."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time

import pytest

from headrace.errors import StreamError
from headrace.stream import Record, TopicOptions, read_topic

OPTIONS = TopicOptions(max_bytes=1 << 20)


@pytest.mark.parametrize("memory", [True, False])
async def test_events_arrive_in_order_as_the_very_objects(open_stream, make, collector, until, memory):
    stream = await (open_stream(None) if memory else open_stream())
    topic = await stream.topic("events", OPTIONS)
    got = collector()
    consumer = await stream.consume(topic, got)
    sent = make(*range(50))
    for at in range(0, 50, 10):
        await topic.send(sent[at : at + 10])
    await until(lambda: len(got.numbers) == 50)
    assert got.numbers == list(range(50))
    assert all(a is b for a, b in zip(got.events, sent, strict=True))
    await until(lambda: topic.unsettled == 0)
    assert topic.unsettled_bytes == consumer.lag_events == 0


async def test_what_was_not_settled_comes_again_after_a_restart(open_stream, make, collector, until):
    stream = await open_stream()
    topic = await stream.topic("events", OPTIONS)
    got = collector(lambda n: n % 3 == 0)
    await stream.consume(topic, got)
    await topic.send(make(*range(10)))
    await topic.send(make(*range(10, 20)))
    await until(lambda: len(got.numbers) == 20)
    await stream.close(0)

    stream = await open_stream()
    topic = await stream.topic("events", OPTIONS)
    left = [n for n in range(20) if n % 3]
    assert topic.recovered == topic.unsettled == len(left)
    again = collector()
    await stream.consume(topic, again)
    await topic.send(make(20))
    await until(lambda: len(again.numbers) == len(left) + 1)
    assert again.numbers == [*left, 20]
    await until(lambda: topic.unsettled == 0)
    assert topic.unsettled_bytes == 0


async def test_a_handler_that_raises_gets_the_same_record_again(open_stream, make, until, caplog):
    stream = await open_stream(None)
    topic = await stream.topic("events", OPTIONS)
    seen: list[int] = []

    async def handler(record: Record) -> None:
        seen.append(record.events[0]["n"])
        if seen.count(1) < 3 and seen[-1] == 1:
            raise RuntimeError("not now")
        record.settle_all()

    await stream.consume(topic, handler)
    for n in range(3):
        await topic.send(make(n))
    await until(lambda: topic.unsettled == 0)
    assert seen == [0, 1, 1, 1, 2]
    assert caplog.text.count("RuntimeError: not now") == 2


async def test_awaiting_the_handler_is_the_back_pressure(open_stream, make, until):
    stream = await open_stream(None)
    topic = await stream.topic("events", OPTIONS)
    gate = asyncio.Semaphore(0)
    got: list[int] = []

    async def handler(record: Record) -> None:
        got.append(record.events[0]["n"])
        await gate.acquire()
        record.settle_all()

    consumer = await stream.consume(topic, handler)
    for n in range(5):
        await topic.send(make(n))
    await until(lambda: got)
    assert (got, consumer.lag_events, topic.held) == ([0], 4, 1)
    gate.release()
    await until(lambda: len(got) == 2)
    assert consumer.lag_events == 3
    gate.release(), gate.release(), gate.release(), gate.release()
    await until(lambda: topic.unsettled == 0)
    assert got == list(range(5))


async def test_a_handler_that_never_returns_stops_only_its_own_topic(open_stream, make, collector, until):
    stream = await open_stream()
    stuck = await stream.topic("sink.stuck", OPTIONS)
    other = await stream.topic("sink.other", OPTIONS)

    async def never(record: Record) -> None:
        await asyncio.Event().wait()

    got = collector()
    await stream.consume(stuck, never)
    await stream.consume(other, got)
    await stuck.send(make(0))
    began = time.monotonic()
    await asyncio.gather(*[other.send(make(*range(n, n + 50))) for n in range(0, 5000, 50)])
    await until(lambda: len(got.numbers) == 5000, 5)
    alone = time.monotonic() - began

    added = await stream.topic("sink.added", OPTIONS)
    late = collector()
    began = time.monotonic()
    await stream.consume(added, late)
    await added.send(make(1))
    await until(lambda: late.numbers == [1], 2)
    assert time.monotonic() - began < 2
    assert alone < 5
    assert stuck.unsettled == 1


async def test_close_is_bounded_and_leaves_what_is_unsettled(open_stream, make, collector, until):
    stream = await open_stream()
    topic = await stream.topic("events", OPTIONS)
    entered = asyncio.Event()

    async def stubborn(record: Record) -> None:
        entered.set()
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if not stubborn_no_more.is_set():
                    continue
                raise

    stubborn_no_more = asyncio.Event()
    await stream.consume(topic, stubborn)
    await topic.send(make(1, 2))
    await asyncio.wait_for(entered.wait(), 5)
    began = time.monotonic()
    await stream.close(0.2)
    assert time.monotonic() - began < 3
    stubborn_no_more.set()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()

    stream = await open_stream()
    topic = await stream.topic("events", OPTIONS)
    got = collector()
    await stream.consume(topic, got)
    await until(lambda: got.numbers == [1, 2])


async def test_close_waits_for_what_was_handed_over(open_stream, make):
    stream = await open_stream()
    topic = await stream.topic("events", OPTIONS)
    handed: list[Record] = []

    async def handler(record: Record) -> None:
        handed.append(record)
        asyncio.get_running_loop().call_later(0.05, record.settle_all)

    await stream.consume(topic, handler)
    await topic.send(make(1))
    await topic.send(make(2))
    await stream.close(5)
    assert len(handed) >= 1
    stream = await open_stream()
    topic = await stream.topic("events", OPTIONS)
    assert topic.recovered == 2 - len(handed)


async def test_start_and_close_leave_nothing_behind(open_stream, make, collector, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    before = len(os.listdir("/proc/self/fd"))
    stream = await open_stream()
    for name in ("events", "sink.a", "sink.b"):
        topic = await stream.topic(name, OPTIONS)
        await stream.consume(topic, collector())
        await topic.send(make(1))
    await stream.close(1)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(os.listdir("/proc/self/fd")) == before
    assert caplog.records == []
    files = [path.name for path in (tmp_path / "log").rglob("*") if path.is_file()]
    assert sorted(files) == ["lock", "offsets", "offsets", "offsets"]


async def test_a_stopped_consumer_can_be_replaced(open_stream, make, collector, until):
    stream = await open_stream(None)
    topic = await stream.topic("sink.a", OPTIONS)
    first = collector(lambda n: n % 2 == 0)
    consumer = await stream.consume(topic, first)
    with pytest.raises(StreamError, match="has a consumer already"):
        await stream.consume(topic, first)
    await topic.send(make(0, 1, 2, 3))
    await until(lambda: len(first.numbers) == 4)
    await consumer.stop(0)
    await consumer.stop(0)  # a second time is no harm
    await topic.send(make(4))
    first.records[0].settle(1)  # late, but nobody was given it again yet
    assert topic.unsettled == 2
    second = collector()
    await stream.consume(topic, second)
    await until(lambda: second.numbers == [3, 4])
    await until(lambda: topic.unsettled == 0)
    first.records[0].settle(3)  # too late: the new consumer has settled it
    assert topic.unsettled == 0
    assert len(first.numbers) == 4


async def test_orphans_are_shown_and_purged_and_taken_up(open_stream, make, collector, until):
    stream = await open_stream()
    for name in ("sink.gone", "sink.back", "sink.empty/ü"):
        topic = await stream.topic(name, OPTIONS)
        if "empty" not in name:
            await topic.send(make(1, 2, 3))
            size = topic.unsettled_bytes
    await stream.close(0)

    stream = await open_stream()
    assert stream.orphans() == {"sink.gone": (3, size), "sink.back": (3, size)}
    back = await stream.topic("sink.back", OPTIONS)
    got = collector()
    consumer = await stream.consume(back, got)
    await until(lambda: got.numbers == [1, 2, 3])
    assert stream.orphans() == {"sink.gone": (3, size)}
    with pytest.raises(StreamError, match="in use"):
        await stream.purge("sink.back")
    with pytest.raises(StreamError, match="no such topic"):
        await stream.purge("sink.never")
    await stream.purge("sink.gone")
    assert stream.orphans() == {}

    await back.send(make(4))
    await consumer.stop(0)
    await back.send(make(5))
    assert "sink.back" in stream.orphans()  # its sink was taken out of the configuration
    dropped: list[int] = []
    back.on_dropped = lambda n, events: dropped.append(n)
    await stream.purge("sink.back")
    assert sum(dropped) in (1, 2)
    with pytest.raises(StreamError, match="deleted"):
        await back.send(make(6))
    await stream.close(0)
    stream = await open_stream()
    assert stream.orphans() == {}


async def test_a_second_process_is_told_who_has_the_log(open_stream, tmp_path):
    await open_stream()
    code = (
        "import asyncio, logging, pathlib, sys\n"
        "from headrace.config.model import StreamOptions\n"
        "from headrace.stream import Stream\n"
        "s = Stream(StreamOptions(), name='x', directory=pathlib.Path(sys.argv[1]), log=logging.getLogger())\n"
        "asyncio.run(s.open())\n"
    )
    second = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert f"StreamError: {tmp_path}/log: in use by process {os.getpid()}" in second.stderr


async def test_a_loop_that_ends_without_close_ends(tmp_path):
    code = (
        "import asyncio, logging\n"
        "from headrace import Event\n"
        "from headrace.config.model import StreamOptions\n"
        "from headrace.stream import Stream, TopicOptions\n"
        "async def main():\n"
        "    stream = Stream(StreamOptions(), name='x', directory=None, log=logging.getLogger())\n"
        "    await stream.open()\n"
        "    topic = await stream.topic('t', TopicOptions(max_bytes=9999))\n"
        "    async def handler(record): await asyncio.sleep(99)\n"
        "    await stream.consume(topic, handler)\n"
        "    await topic.send([Event({})])\n"
        "    await asyncio.sleep(0.05)\n"
        "    raise SystemExit(7)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await asyncio.wait_for(process.wait(), 20) == 7


async def test_read_topic_reads_beside_a_running_process(open_stream, make, collector, until, tmp_path):
    directory = tmp_path / "log"
    assert list(read_topic(directory, "dead_letters")) == []
    stream = await open_stream()
    letters = await stream.topic("dead_letters", TopicOptions(max_bytes=1 << 20, consumed=False))
    for n in range(3):
        await letters.send(make(n, n + 10))
    found = list(read_topic(directory, "dead_letters"))
    assert [(kept.offset, kept.event["n"]) for kept in found] == [(0, 0), (1, 10), (2, 1), (3, 11), (4, 2), (5, 12)]
    assert letters.discard(found[3])
    assert letters.discard(found[0])
    assert not letters.discard(found[0])
    assert [kept.event["n"] for kept in letters.kept()] == [10, 1, 2, 12]
    await until(lambda: [kept.event["n"] for kept in read_topic(directory, "dead_letters")] == [10, 1, 2, 12])
    assert letters.unsettled == 4
    topic = await stream.topic("sink.a", OPTIONS)
    got = collector(lambda n: n < 2)
    await stream.consume(topic, got)
    for n in range(3):
        await topic.send(make(n))
    await until(lambda: topic.unsettled == 1)
    await until(lambda: [kept.offset for kept in read_topic(directory, "sink.a")] == [2])


async def test_faust_is_imported_only_to_consume():
    code = "import sys, headrace.stream; sys.exit('faust.app.base' in sys.modules or 'aiokafka' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
