"""The stream as the engine uses it."""

from __future__ import annotations

import pytest

from headrace.stream import TopicOptions

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
