"""Random lives of a topic against a model: what is unsettled is exactly what comes again, in order."""

from __future__ import annotations

import asyncio
import random

import pytest

from headrace.stream import TopicOptions, backlog
from headrace.stream.files import MemoryFiles


class Life:
    def __init__(self, seed: int, make) -> None:
        self.random = random.Random(seed)
        self.make = make
        self.next = 0
        self.unsettled: dict[int, None] = {}  # event numbers in order of sending
        self.held: list[tuple[object, int, int]] = []  # record, index, event number
        self.taken: set[int] = set()  # since reading began

    async def send(self, topic) -> None:
        batch = self.make(*range(self.next, self.next + self.random.randint(1, 6)), payload=b"x" * 40)
        self.next += len(batch)
        self.unsettled.update(dict.fromkeys(event["n"] for event in batch))
        call = topic.send(batch)
        if self.random.random() < 0.7:
            await call

    def take(self, topic) -> None:
        record = topic.take()
        if record is None:
            return
        fresh = [(record, i, e["n"]) for i, e in enumerate(record.events) if i not in record.settled]
        assert fresh
        expected = [n for n in self.unsettled if n not in self.taken][: len(fresh)]
        assert [n for _, _, n in fresh] == expected
        self.taken.update(expected)
        if self.random.random() < 0.2 and not record.settled:
            record.settle_all()
            for n in expected:
                del self.unsettled[n]
        else:
            self.held += fresh

    def settle(self) -> None:
        if self.held:
            record, index, number = self.held.pop(self.random.randrange(len(self.held)))
            record.settle(index)
            del self.unsettled[number]

    def begin(self, topic) -> None:
        """A new consumer: everything unsettled comes again, what the old one still settles does not count."""
        for record, index, _ in self.held[:1]:
            topic.start_reading(lambda: None)
            record.settle(index)
        topic.start_reading(lambda: None)
        self.held.clear()
        self.taken.clear()


@pytest.mark.parametrize("seed", range(40))
async def test_random_lives(open_topic, make, monkeypatch, seed):
    monkeypatch.setattr(backlog, "TAIL_BYTES", 600)
    life = Life(seed, make)
    files = MemoryFiles()
    options = TopicOptions(max_bytes=1 << 20)
    topic = await open_topic(files, options=options, segment_bytes=1500)
    life.begin(topic)
    for _ in range(400):
        step = life.random.random()
        if step < 0.3:
            await life.send(topic)
        elif step < 0.6:
            life.take(topic)
        elif step < 0.95:
            life.settle()
        elif step < 0.97:
            await asyncio.sleep(0)
        elif step < 0.985:
            await topic.send([])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            life.begin(topic)
        else:
            await topic.log.close()
            topic = await open_topic(files, options=options, segment_bytes=1500)
            assert topic.recovered == len(life.unsettled)
            life.begin(topic)
        assert topic.unsettled == len(life.unsettled)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    while topic.backlog.events:
        life.take(topic)
    while life.held:
        life.settle()
    assert not life.unsettled
    assert topic.unsettled == topic.unsettled_bytes == topic.backlog.events == topic.corrupt == 0
