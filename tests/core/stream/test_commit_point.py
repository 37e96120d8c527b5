"""What is committed, and so what comes again after a restart, on both backends.

Stock Faust commits past messages that were never acknowledged, or acknowledges them when their agent raises.
"""

from __future__ import annotations

import asyncio

import pytest

from headrace.stream import TopicOptions

OPTIONS = TopicOptions(max_bytes=1 << 20)
TEN = set(range(10))


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def backend(request):
    return request.param


@pytest.fixture
def reopen(request, backend):
    return request.getfixturevalue("open_kafka" if backend == "kafka" else "open_stream")


def comes_again(backend: str, settled: set[int]) -> list[int]:
    """The log commits single events, Kafka the leading run."""
    left = sorted(TEN - settled)
    return left if backend == "embedded" else list(range(left[0], 10)) if left else []


async def life(reopen, make, handler, seen):
    """Ten messages, one event each, of one key; ends when ``seen()``."""
    stream = await reopen()
    topic = await stream.topic("events", OPTIONS)
    await stream.consume(topic, handler)
    for n in range(10):
        event = make(n)[0]
        event.key = "one"
        await topic.send([event])
    async with asyncio.timeout(20):
        while not seen():
            await asyncio.sleep(0.01)
    await stream.close(0)


async def after_restart(reopen, collector, until, make) -> list[int]:
    """What comes again, found by sending one more event behind it."""
    stream = await reopen()
    topic = await stream.topic("events", OPTIONS)
    got = collector()
    await stream.consume(topic, got)
    last = make(99)[0]
    last.key = "one"
    await topic.send([last])
    await until(lambda: got.numbers[-1:] == [99], 20)
    await until(lambda: topic.held == 0)
    return got.numbers[:-1]


@pytest.mark.parametrize(
    "settled",
    [TEN, TEN - {3}, TEN - {0}, set(), {0, 1, 2}, TEN - {9}, {8, 9}, {0, 2, 4, 6, 8}],
    ids=["all", "not-3", "not-0", "none", "first-three", "not-the-last", "last-two", "even"],
)
async def test_what_was_never_settled_comes_again(backend, reopen, make, collector, until, settled):
    got = collector(lambda n: n in settled)
    await life(reopen, make, got, lambda: len(got.numbers) == 10)
    assert await after_restart(reopen, collector, until, make) == comes_again(backend, settled)


async def test_settling_in_any_order_commits_everything(backend, reopen, make, collector, until):
    got = collector(lambda n: False)

    def settle_all() -> bool:
        if len(got.records) < 10:
            return False
        for index in (9, 0, 5, 3, 8, 1, 7, 2, 6, 4):
            got.records[index].settle(0)
        return True

    await life(reopen, make, got, settle_all)
    assert await after_restart(reopen, collector, until, make) == []


async def test_a_handler_that_always_raises_commits_nothing_of_its_record(backend, reopen, make, collector, until):
    calls: list[int] = []

    async def handler(record):
        n = record.events[0]["n"]
        calls.append(n)
        if n == 3:
            raise RuntimeError("poison")
        record.settle_all()

    await life(reopen, make, handler, lambda: calls.count(3) == 2)
    assert await after_restart(reopen, collector, until, make) == comes_again(backend, {0, 1, 2})


async def test_a_handler_that_hangs_commits_nothing_of_its_record(backend, reopen, make, collector, until):
    entered: list[int] = []

    async def handler(record):
        entered.append(record.events[0]["n"])
        if entered[-1] == 4:
            await asyncio.Event().wait()
        record.settle_all()

    await life(reopen, make, handler, lambda: entered[-1:] == [4])
    assert await after_restart(reopen, collector, until, make) == comes_again(backend, {0, 1, 2, 3})


async def test_a_batch_settled_in_part_comes_again_without_its_settled_events_on_the_log(
    backend, reopen, make, collector, until
):
    stream = await reopen()
    topic = await stream.topic("events", OPTIONS)
    got = collector(lambda n: n in {0, 2, 3})
    await stream.consume(topic, got)
    batch = make(*range(6))
    for event in batch:
        event.key = "one"
    await topic.send(batch)
    await until(lambda: len(got.numbers) == 6, 20)
    assert topic.unsettled == 3
    await stream.close(0)
    expected = [1, 4, 5] if backend == "embedded" else [0, 1, 2, 3, 4, 5]
    assert await after_restart(reopen, collector, until, make) == expected


async def test_a_topic_added_meanwhile_works_at_once(backend, reopen, make, collector, until):
    stream = await reopen()
    first = await stream.topic("sink.a", OPTIONS)
    got = collector()
    await stream.consume(first, got)
    await first.send(make(1))
    await until(lambda: got.numbers == [1], 20)
    added = await stream.topic("sink.b", OPTIONS)
    late = collector()
    await stream.consume(added, late)
    await added.send(make(2))
    await first.send(make(3))
    await until(lambda: late.numbers == [2] and got.numbers == [1, 3], 2 if backend == "embedded" else 20)
