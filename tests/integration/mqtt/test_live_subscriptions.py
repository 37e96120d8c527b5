"""Subscriptions change while messages come: none is missed, and none comes twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
import pytest

pytestmark = pytest.mark.mosquitto


class Ticker:
    """Publishes numbers to ``a/b`` without end."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self._port = port
        self._stop = threading.Event()

    def run(self) -> None:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "ticker", protocol=paho.MQTTv5)
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        info = None
        while not self._stop.wait(0.0005):
            info = client.publish("a/b", str(self.sent), 1)
            self.sent += 1
        if info is not None:
            info.wait_for_publish(20)
        client.disconnect()
        client.loop_stop()

    async def during(self, work: Callable[[], Any]) -> None:
        running = asyncio.create_task(asyncio.to_thread(self.run))
        try:
            await work()
        finally:
            self._stop.set()
            await running


@pytest.mark.parametrize("wider", ["a/#", "a/+", "#"])
async def test_of_filters_that_replace_each_other_nothing_comes_twice(mosquitto, subscribe, wider):
    broker = await mosquitto()
    reader = await subscribe(broker, filters=("a/b",))
    reader.start()

    async def change() -> None:
        for filters in [(wider,), ("a/b",)] * 10:
            await reader.arrived(len(reader.events) + 10)
            assert await reader.source.refilter(filters)

    ticker = Ticker(broker.port)
    await ticker.during(change)
    await reader.until(lambda: str(ticker.sent - 1) in reader.payloads)
    assert reader.payloads == [str(n) for n in range(int(reader.payloads[0]), ticker.sent)]
    assert reader.source._link.copies is None


CHANGES = [("a/b",), ("a/#",), ("a/b", "c"), ("a/+", "+/b"), ("+/b",), ("#",), ("a/b",)]
"""What rules read, one after the other; all of it includes ``a/b``."""


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_topic_that_stays_is_read_on_whatever_else_changes(mosquitto, subscribe, tmp_path, version):
    broker = await mosquitto()
    options = {"version": version, "state_dir": tmp_path}
    readers = [await subscribe(broker, filters=CHANGES[0], **options)]
    readers[0].start()
    anew = 0

    async def change() -> None:
        nonlocal anew
        for filters in CHANGES[1:] * 3:
            n = len(readers[-1].events)
            await readers[-1].arrived(n + 20)
            if not await readers[-1].source.refilter(filters):  # then the engine makes another source
                anew += 1
                await readers[-1].stop()
                await readers[-1].source.close()
                readers.append(await subscribe(broker, filters=filters, **options))
                readers[-1].start()

    ticker = Ticker(broker.port)
    await ticker.during(change)

    def numbers() -> list[int]:
        return [int(payload) for reader in readers for payload in reader.payloads]

    await readers[-1].until(lambda: ticker.sent - 1 in numbers())
    assert 0 < anew < 12
    got = numbers()
    assert sorted(set(got)) == list(range(got[0], ticker.sent)), "a gap"
    if version == "5":  # a session that goes on in another source may repeat what was under way, at most
        assert len(got) - len(set(got)) <= anew, "copies"
