"""The same on Kafka."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from pathlib import Path

import pytest

from headrace.config.model import StreamOptions
from headrace.errors import StreamError
from headrace.stream import Stream, TopicOptions

WORKER = Path(__file__).with_name("kafka_worker.py")
pytestmark = pytest.mark.kafka
OPTIONS = TopicOptions(max_bytes=1 << 20)


async def test_events_arrive_in_order_of_their_key(open_kafka, make, collector, until):
    stream = await open_kafka()
    topic = await stream.topic("events", OPTIONS)
    got = collector()
    consumer = await stream.consume(topic, got)
    for at in range(0, 600, 50):
        await topic.send(make(*range(at, at + 50)))
    await until(lambda: len(got.numbers) == 600, 20)
    for key in range(7):
        assert [n for n in got.numbers if n % 7 == key] == [n for n in range(600) if n % 7 == key]
    await until(lambda: topic.unsettled == 0)
    assert topic.unsettled_bytes == topic.held == 0
    await until(lambda: consumer.lag_events == 0)
    assert topic.oldest is None


async def test_a_consumer_that_crashed_is_started_again(open_kafka, make, collector, until, caplog):
    stream = await open_kafka()
    topic = await stream.topic("events", OPTIONS)
    got = collector(lambda n: n != 2)
    consumer = await stream.consume(topic, got)
    await topic.send(make(1, 2))
    await until(lambda: len(got.numbers) == 2)
    crashed = consumer._app
    await crashed.crash(RuntimeError("Kafka was away"))
    await topic.send(make(3))
    await until(lambda: 3 in got.numbers and consumer._app is not crashed, 20)
    assert "started again: Kafka was away" in caplog.text
    assert got.numbers.count(2) == 2  # it was not settled, so it came again
    assert topic.unsettled == topic.held == 1


async def test_a_message_that_is_none_is_counted_and_passed_over(open_kafka, make, collector, until, caplog):
    stream = await open_kafka()
    topic = await stream.topic("events", OPTIONS)
    got = collector()
    await stream.consume(topic, got)
    await topic.kafka.producer.send_and_wait(topic.full_name, b"not msgpack at all", partition=0)
    await topic.send(make(1))
    await until(lambda: got.numbers == [1] and topic.corrupt == 1, 20)
    assert "message 0 cannot be decoded" in caplog.text


async def test_large_events_travel(open_kafka, make, collector, until):
    stream = await open_kafka()
    topic = await stream.topic("events", OPTIONS)
    got = collector()
    await stream.consume(topic, got)
    await topic.send(make(1, payload=b"x" * (2 << 20)))
    await until(lambda: got.numbers == [1], 20)


async def test_limits_count_what_this_process_sends_and_holds(open_kafka, make, collector, until):
    stream = await open_kafka()
    topic = await stream.topic("sink.a", TopicOptions(max_bytes=4096, when_full="drop_newest"))
    dropped: list[int] = []
    topic.on_dropped = lambda n, events: dropped.append(n)
    got = collector(lambda n: False)
    await stream.consume(topic, got)
    await topic.send(make(1, payload=b"x" * 5000))
    await until(lambda: topic.held == 1)
    assert not topic.has_room()
    assert topic.oldest is not None
    await topic.send(make(2))
    assert dropped == [1]
    got.records[0].settle(0)
    assert topic.has_room()
    await topic.send(make(3))
    await until(lambda: got.numbers == [1, 3])


async def test_orphans_are_not_known_and_purge_says_so(open_kafka):
    stream = await open_kafka()
    assert stream.orphans() == {}
    with pytest.raises(StreamError, match="Kafka's own tools"):
        await stream.purge("sink.a")


async def test_a_broker_that_is_not_there_is_named(free_port):
    url = f"kafka://127.0.0.1:{free_port}"
    stream = Stream(StreamOptions(url=url), name="p", directory=None, log=logging.getLogger("test"))
    with pytest.raises(StreamError, match=f"{url} cannot be reached"):
        await stream.open()
    await stream.close(0)


async def test_kill_9_of_one_of_two_workers_loses_nothing(open_kafka, kafka, make, until, tmp_path):
    stream = await open_kafka()
    topic = await stream.topic("events", OPTIONS)
    name = topic.kafka.name
    outs = [tmp_path / "a", tmp_path / "b"]
    workers = [await asyncio.create_subprocess_exec(sys.executable, WORKER, kafka, name, out) for out in outs]

    def seen(out: Path) -> list[int]:
        return [int(line) for line in out.read_text().split("\n")[:-1]] if out.exists() else []

    try:
        at = 0
        while not all(len(seen(out)) > 200 for out in outs):  # both have joined and work
            await topic.send(make(*range(at, at + 20)))
            at += 20
            await asyncio.sleep(0.01)
            assert at < 20_000, "the second worker got nothing"
        workers[0].kill()
        for start in range(at, at + 3000, 20):
            await topic.send(make(*range(start, start + 20)))
        total = at + 3000
        await until(lambda: {n for out in outs for n in seen(out)} == set(range(total)), 40)
        repeated = Counter(n for out in outs for n in seen(out))
        assert sum(repeated.values()) - total < total / 2
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
            await worker.wait()
