"""The generate source."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from headrace import EndOfInput, Event
from headrace.testing import make_context
from headrace.testing.contracts import SourceContract
from headrace_plugins.generate import Generate, GenerateConfig


def make(**options: Any) -> Generate:
    return Generate(GenerateConfig(**options), make_context("gen"))


async def drain(source: Generate) -> list[Event]:
    events: list[Event] = []
    await source.open()
    try:
        while True:
            batch, ack = await source.read()
            events += batch
            ack(None)
    except EndOfInput:
        return events


class TestContract(SourceContract):
    @pytest.fixture
    def source(self) -> Generate:
        return make(rate=0)


async def test_ends_after_count_with_every_device_in_turn() -> None:
    events = await drain(make(rate=0, count=600, devices=3))
    assert len(events) == 600
    assert [event["clientid"] for event in events[:4]] == ["device-0", "device-1", "device-2", "device-0"]
    assert events[599]["topic"] == "device/2/data"
    assert json.loads(events[599]["payload"])["seq"] == 199
    assert events[0].key == "device-0"
    assert events[0].id == events[0]["id"]


async def test_topic_and_payload_follow_their_templates() -> None:
    (event,) = await drain(make(rate=0, count=1, topic="a/${device}/b", payload='{"v": ${temp}, "n": ${seq}}', seed=1))
    assert event["topic"] == "a/0/b"
    payload = json.loads(event["payload"])
    assert payload["n"] == 0
    assert isinstance(payload["v"], float)


async def test_a_seed_makes_the_same_readings() -> None:
    first, second = [await drain(make(rate=0, count=20, seed=5, payload="${temp} ${hum}")) for _ in range(2)]
    assert [event["payload"] for event in first] == [event["payload"] for event in second]


async def test_the_rate_is_kept() -> None:
    begin = time.monotonic()
    assert len(await drain(make(rate=200, count=41))) == 41
    assert 0.19 <= time.monotonic() - begin < 2


async def test_a_refused_batch_comes_again_before_the_end() -> None:
    source = make(rate=0, count=2)
    await source.open()
    batch, ack = await source.read()
    end = asyncio.ensure_future(source.read())
    await asyncio.sleep(0)
    assert not end.done(), "the end came while a batch was under way"
    ack(RuntimeError("the stream is full"))
    again, ack = await end
    assert [event.id for event in again] == [event.id for event in batch]
    ack(None)
    with pytest.raises(EndOfInput):
        await source.read()


def test_a_wrong_template_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown filter"):
        GenerateConfig(topic="a/${device|nope}")
