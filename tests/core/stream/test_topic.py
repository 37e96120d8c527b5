"""Limits and policies of one topic."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.errors import StreamError, StreamFull
from headrace.events import Event
from headrace.stream import TopicOptions
from headrace.stream.backlog import TAIL_BYTES
from headrace.stream.files import MemoryFiles
from headrace.stream.series import SUFFIX
from headrace.stream.topic import MESSAGE_BYTES, MESSAGE_EVENTS, messages


async def turns(count: int = 4) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def commit(topic) -> None:
    """Sooner than by itself."""
    topic.schedule_commit()
    await turns()


def take(topic):
    found = []
    while record := topic.take():
        found.append(record)
    return found


def ns(records):
    return [event["n"] for record in records for event in record.events]


# -- cutting into messages


def test_a_batch_is_cut_into_messages_of_bounded_count_and_size(make):
    small = messages(make(*range(600)))
    assert [message.count for message in small] == [MESSAGE_EVENTS, MESSAGE_EVENTS, 600 - 2 * MESSAGE_EVENTS]
    large = messages(make(*range(10), payload=b"x" * 100_000))
    assert [message.count for message in large] == [2, 2, 2, 2, 2]
    assert all(len(message.payload) <= MESSAGE_BYTES + 8 for message in large)
    assert [event["n"] for message in large for event in message.events] == list(range(10))


def test_a_larger_event_travels_alone(make):
    batch = [*make(0, 1), *make(2, payload=b"x" * 400_000), *make(3)]
    assert [message.count for message in messages(batch)] == [2, 1, 1]


async def test_an_event_that_cannot_travel_fails_the_call_and_stores_nothing(open_topic, make):
    topic = await open_topic(MemoryFiles())
    with pytest.raises(TypeError):
        await topic.send([*make(1), Event({"n": object()})])
    await topic.send([])
    assert topic.unsettled == topic.series.next == 0


# -- counting


async def test_unsettled_bytes_are_the_encoded_bytes_of_unsettled_events(open_topic, make):
    topic = await open_topic(MemoryFiles())
    topic.start_reading(lambda: None)
    sent = make(*range(7))
    size = len(messages(sent)[0].payload)
    call = topic.send(sent)
    assert (topic.unsettled, topic.unsettled_bytes) == (7, size)  # at once, so that senders see each other
    await call
    (record,) = take(topic)
    assert record.size == size
    for settled, index in enumerate([3, 0, 6, 1, 2, 5], start=1):
        record.settle(index)
        assert topic.unsettled == 7 - settled
        assert topic.unsettled_bytes == size * (7 - settled) // 7
    record.settle(4)
    assert (topic.unsettled, topic.unsettled_bytes) == (0, 0)


async def test_files_go_when_every_event_in_them_is_settled(open_topic, make):
    files = MemoryFiles()
    topic = await open_topic(files, segment_bytes=300)
    topic.start_reading(lambda: None)
    for n in range(12):
        await topic.send(make(n))
    records = take(topic)
    for record in records[1:]:
        record.settle_all()
    await commit(topic)
    assert len([path for path in files._contents if path.suffix == SUFFIX]) == 4
    records[0].settle_all()
    await commit(topic)
    assert [path.stem for path in files._contents if path.suffix == SUFFIX] == [f"{9:020d}"]  # it takes appends


async def test_what_settles_one_by_one_is_committed_soon_and_together(open_topic, make, faulty):
    files = faulty()
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    await topic.send(make(*range(5)))
    (record,) = take(topic)
    written = files.written
    for index in range(5):
        record.settle(index)
        await turns()
    assert files.written == written
    await topic.until_settled()
    assert files.written - written == len(topic.offsets.encode(topic.settled))


async def test_oldest_is_the_time_of_the_first_unsettled_record(open_topic, make):
    topic = await open_topic(MemoryFiles())
    assert topic.oldest is None
    call = topic.send(make(1, 2))
    assert topic.oldest == 1001
    await call
    assert topic.oldest == 1001
    topic.start_reading(lambda: None)
    await topic.send(make(5))
    await topic.send(make(7))
    assert topic.oldest == 1001
    first, second, _ = take(topic)
    first.settle(1)
    second.settle(0)
    await turns()
    assert topic.oldest == 1001
    first.settle(0)
    await turns()
    assert topic.oldest == 1007


# -- memory


async def test_a_reader_that_falls_behind_reads_the_file(open_topic, make):
    topic = await open_topic(MemoryFiles(), options=TopicOptions(max_bytes=1 << 30))
    topic.start_reading(lambda: None)
    sent = []
    for n in range(100):
        batch = make(n, payload=b"x" * 250_000)
        sent += batch
        await topic.send(batch)
    assert topic.backlog._tail_bytes <= TAIL_BYTES
    records = take(topic)
    assert ns(records) == list(range(100))
    in_memory = [record.events[0] is event for record, event in zip(records, sent, strict=True)]
    assert in_memory == sorted(in_memory, reverse=True)  # first from memory, then from the file
    assert 30 <= sum(in_memory) <= 34
    caught_up = make(100)
    await topic.send(caught_up)
    assert topic.take().events[0] is caught_up[0]


async def test_nothing_is_kept_in_memory_without_a_consumer(open_topic, make):
    topic = await open_topic(MemoryFiles())
    for n in range(5):
        await topic.send(make(n))
    assert not topic.backlog._tail
    topic.start_reading(lambda: None)
    assert ns(take(topic)) == list(range(5))


# -- full


def sized(make, n: int, size: int = 1000):
    """One event that makes a message of ``size`` bytes."""
    around = len(messages(make(n, payload=b"x" * (size - 200)))[0].payload) - (size - 200)
    return make(n, payload=b"x" * (size - around))


async def test_block_lets_senders_wait_for_room(open_topic, make):
    topic = await open_topic(MemoryFiles(), options=TopicOptions(max_bytes=5000))
    topic.start_reading(lambda: None)
    for n in range(5):
        assert topic.has_room()
        await topic.send(sized(make, n))
    assert not topic.has_room()
    waiting = asyncio.ensure_future(topic.room())
    await turns()
    assert not waiting.done()
    topic.take().settle_all()
    await asyncio.wait_for(waiting, 1)


async def test_block_takes_a_little_more_and_then_is_full(open_topic, make):
    topic = await open_topic(MemoryFiles(), options=TopicOptions(max_bytes=5000))
    for n in range(19):
        await topic.send(sized(make, n, 900_000))
    with pytest.raises(StreamFull, match="t holds 17100000 unsettled bytes"):
        await topic.send(sized(make, 19, 900_000))
    assert topic.unsettled == 19


async def test_drop_newest_drops_what_comes_and_counts_it(open_topic, make):
    topic = await open_topic(MemoryFiles(), options=TopicOptions(max_bytes=5000, when_full="drop_newest"))
    topic.start_reading(lambda: None)
    dropped = []
    topic.on_dropped = lambda n, events: dropped.append(n)
    for n in range(8):
        await topic.send(sized(make, n))
    assert sum(dropped) == 3
    assert ns(take(topic)) == [0, 1, 2, 3, 4]


async def test_drop_oldest_first_asks_the_engine_then_drops_what_nobody_read(open_topic, make):
    topic = await open_topic(MemoryFiles(), options=TopicOptions(max_bytes=5000, when_full="drop_oldest"))
    topic.start_reading(lambda: None)
    dropped, asked = [], []
    topic.on_dropped = lambda n, events: dropped.append(n)
    await topic.send(sized(make, 0))
    held = [topic.take()]
    for n in range(1, 5):
        await topic.send(sized(make, n))

    def engine(size: int) -> None:
        asked.append(size)
        if held:
            held.pop().settle_all()

    topic.on_full = engine
    await topic.send(sized(make, 5))
    assert (len(asked), dropped, topic.unsettled) == (1, [], 5)
    assert asked[0] == 1000
    await topic.send(sized(make, 6))
    assert (len(asked), dropped, topic.unsettled) == (2, [1], 5)
    assert ns(take(topic)) == [2, 3, 4, 5, 6]
    assert topic.unsettled_bytes == 5000


async def test_drop_oldest_works_without_a_consumer_and_on_files(open_topic, make):
    topic = await open_topic(MemoryFiles(), options=TopicOptions(max_bytes=5000, when_full="drop_oldest"))
    dropped = []
    topic.on_dropped = lambda n, events: dropped.append(n)
    for n in range(12):
        await topic.send(sized(make, n))
    assert sum(dropped) == 7
    topic.start_reading(lambda: None)
    assert ns(take(topic)) == [7, 8, 9, 10, 11]


async def test_a_log_without_a_consumer_drops_its_oldest_segment(open_topic, make):
    files = MemoryFiles()
    topic = await open_topic(
        files, options=TopicOptions(max_bytes=5000, when_full="drop_oldest", consumed=False), segment_bytes=2200
    )
    dropped = []
    topic.on_dropped = lambda n, events: dropped.append(n)
    for n in range(9):
        assert topic.has_room()
        await topic.send(sized(make, n))
    await turns()
    assert dropped == [2, 2]
    assert (topic.unsettled, topic.oldest) == (5, 1004)
    assert topic.unsettled_bytes == 5000
    assert len([path for path in files._contents if path.suffix == SUFFIX]) == 3
    await topic.log.close()
    topic = await open_topic(files, options=topic.options)
    assert (topic.recovered, topic.oldest) == (5, 1004)


# -- the disk


class SmallDisk(MemoryFiles):
    left = 10_000

    def free(self, path):
        return self.left


async def test_below_the_disk_floor_nothing_is_taken_until_there_is_space(open_topic, make, caplog):
    files = SmallDisk()
    files.left = 999
    topic = await open_topic(files, min_free=1000)
    assert not topic.has_room()
    with pytest.raises(StreamFull, match="only 999 B are free"):
        await topic.send(make(1))
    assert "nothing more is taken in" in caplog.text
    waiting = asyncio.ensure_future(topic.room())
    files.left = 1000
    await asyncio.wait_for(waiting, 5)
    await topic.send(make(1))


async def test_the_floor_is_seen_while_writing(open_topic, make):
    files = SmallDisk()
    topic = await open_topic(files, min_free=1000, options=TopicOptions(max_bytes=1 << 30))
    files.left = 10
    for n in range(30):
        await topic.send(sized(make, n, 250_000))
        if not topic.has_room():
            break
    assert n < 20


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_with_a_drop_policy_the_floor_drops_what_comes(open_topic, make, policy):
    files = SmallDisk()
    topic = await open_topic(files, min_free=1000, options=TopicOptions(max_bytes=5000, when_full=policy))
    dropped = []
    topic.on_dropped = lambda n, events: dropped.append(n)
    await topic.send(make(1))
    files.left = 10
    topic.log._check_disk()
    await topic.send(make(2))
    assert (topic.unsettled, dropped) == (1, [1])


async def test_a_commit_that_cannot_be_written_is_written_later(open_topic, make, faulty, until):
    files = faulty(fault=5)
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    await topic.send(make(1))
    record = topic.take()
    files.failed, files.budget = False, files.written
    record.settle_all()
    await turns()
    assert topic._commit_due
    await until(lambda: not topic._commit_due)
    await topic.log.close()
    topic = await open_topic(files.after_death())
    assert topic.recovered == 0


async def test_close_says_when_the_last_commit_could_not_be_written(open_topic, make, faulty):
    files = faulty()
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    await topic.send(make(1))
    files.budget = 0
    topic.take().settle_all()
    with pytest.raises(StreamError, match="the last commit of t could not be written"):
        await topic.log.close()
    with pytest.raises(StreamError, match="closed"):
        await topic.send(make(2))


async def test_a_large_backlog_starts_fast(open_topic, make):
    """Recovery checks every record; 100,000 of them must not take longer than a start may."""
    files = MemoryFiles()
    topic = await open_topic(files, options=TopicOptions(max_bytes=1 << 30))
    for start in range(0, 100_000, 1000):
        calls = [topic.send(make(n)) for n in range(start, start + 1000)]
        await asyncio.gather(*calls)
    topic.start_reading(lambda: None)
    for n in range(4000):
        record = topic.take()
        if n % 2:
            record.settle_all()
    await topic.log.close()
    began = time.process_time()
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    assert topic.recovered == 98_000
    first = [topic.take() for _ in range(3000)]
    assert ns(first)[:3] == [0, 2, 4]
    assert time.process_time() - began < 5


async def test_settling_twice_is_logged_and_counts_once(open_stream, make, collector, until, caplog):
    stream = await open_stream()
    topic = await stream.topic("sink.a", TopicOptions(max_bytes=1 << 20))
    records = []

    async def take(record):
        records.append(record)

    await stream.consume(topic, take)
    await topic.send(make(0, 1, 2, 3))
    await topic.send(make(4, 5))
    await until(lambda: sum(len(record.events) for record in records) == 6)
    first, second = records
    for index in (2, 2, 0):
        first.settle(index)
    assert topic.unsettled == 4
    assert "settled already" in caplog.text
    first.settle_all()
    assert topic.unsettled == 2
    first.settle(1)
    first.settle_all()
    assert topic.unsettled == 2
    second.settle_all()
    second.settle_all()
    second.settle(0)
    assert (topic.unsettled, topic.unsettled_bytes) == (0, 0)
    await until(lambda: topic.settled.low == 6)


async def test_many_are_settled_at_once_in_any_order(open_topic, make, caplog):
    topic = await open_topic(MemoryFiles())
    topic.start_reading(lambda: None)
    topic.send(make(*range(10)))
    await turns()
    (record,) = take(topic)
    record.settle(7, 1, 3, 2, 0, 9, 1)
    assert caplog.text.count("settled already") == 1
    assert (topic.settled.low, topic.settled.ranges()) == (4, [(7, 8), (9, 10)])
    assert topic.unsettled == 4
    record.settle(8, 5, 4, 6)
    assert (topic.settled.low, topic.unsettled, topic.unsettled_bytes) == (10, 0, 0)
    record.settle(4, 5)
    assert caplog.text.count("settled already") == 3
    assert topic.unsettled == 0
