"""The `mqtt` source held in a test's hand, and devices that publish to its broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from certificates import Certificates, make_certificates
from headrace import Ack, Batch, Event, NotConnected
from headrace.testing.context import make_context
from headrace_plugins.mqtt import client
from headrace_plugins.mqtt import source as source_module
from headrace_plugins.mqtt.source import Mqtt


class Reader:
    """The source, opened again whenever it says NotConnected, and what was read."""

    def __init__(self, source: Mqtt) -> None:
        self.source = source
        self.events: list[Event] = []
        self.unsettled: list[tuple[Batch, Ack]] = []
        self.errors: list[str] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def payloads(self) -> list[Any]:
        return [event["payload"] for event in self.events]

    @property
    def state(self) -> tuple[str, str]:
        status = self.source.ctx.status
        return status.state, status.reason

    def start(self, *, settle: bool = True) -> None:
        """Read without end; settle at once, or keep the acks in ``unsettled``."""
        self._task = asyncio.create_task(self._read(settle))

    async def _read(self, settle: bool) -> None:
        while True:
            try:
                batch, ack = await self.source.read()
            except NotConnected as error:
                self.errors.append(str(error))
                await self._reopen()
                continue
            self.events += batch
            if settle:
                ack(None)
            else:
                self.unsettled.append((batch, ack))

    async def _reopen(self) -> None:
        while True:
            try:
                await self.source.open()
            except NotConnected as error:
                self.errors.append(str(error))
                await asyncio.sleep(0.05)
            else:
                return

    async def until(self, condition: Callable[[], Any], timeout: float = 20) -> None:
        """Wait for a condition, looked at every 5 ms."""
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.005)

    async def arrived(self, n: int) -> list[Event]:
        await self.until(lambda: len(self.events) >= n)
        return self.events

    async def answered(self) -> None:
        """Wait until the broker has every answer."""
        link = self.source._link
        assert link is not None
        await self.until(lambda: not link.incoming.unacked and not link._out)
        await asyncio.sleep(0.05)  # it has them when it has read them

    async def stop(self) -> None:
        """Stop reading; the source stays as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def kill(self) -> None:
        """As if the process ended: no goodbye."""
        await self.stop()
        link = self.source._link
        if link is not None and link.lost is None:
            link.fail("killed")

    async def close(self) -> None:
        await self.stop()
        await self.source.close()


Subscribe = Callable[..., Awaitable[Reader]]


@pytest.fixture
async def subscribe(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Subscribe]:
    """``await subscribe(broker, option=…)``: an open source; ``stock``: read with stock paho."""
    monkeypatch.setattr(source_module, "BETWEEN_CONNECTS", 0.05)
    readers: list[Reader] = []

    async def make(
        broker: Any,
        *,
        stock: bool = False,
        filters: tuple[str, ...] = ("t/#",),
        name: str = "plant",
        state_dir: Path | None = None,
        **options: Any,
    ) -> Reader:
        monkeypatch.setattr(client, "unfit", lambda: "a test" if stock else None)
        config = Mqtt.Config(**{"url": broker.url, **options})
        reader = Reader(Mqtt(config, make_context(name, filters=filters, state_dir=state_dir)))
        readers.append(reader)
        await reader.source.open()
        return reader

    yield make
    for reader in readers:
        await reader.close()


def publish_all(
    port: int, messages: Iterable[tuple[str, bytes | str]], qos: int, properties: Any, version: int, retain: bool
) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="publisher", protocol=version)
    client.max_inflight_messages_set(200)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        sent = [client.publish(topic, payload, qos, retain, properties) for topic, payload in messages]
        for info in sent:
            info.wait_for_publish(20)
    finally:
        client.disconnect()
        client.loop_stop()


Publish = Callable[..., Awaitable[None]]


@pytest.fixture
def publish() -> Publish:
    """``await publish(broker, messages, qos)``: returns when the broker has them. A number is that many messages."""

    async def run(
        broker: Any,
        messages: int | list[tuple[str, bytes | str]],
        qos: int = 1,
        *,
        first: int = 0,
        properties: Any = None,
        version: int = paho.MQTTv5,
        retain: bool = False,
    ) -> None:
        if isinstance(messages, int):
            messages = [(f"t/{n % 7}", str(n)) for n in range(first, first + messages)]
        await asyncio.to_thread(publish_all, broker.port, messages, qos, properties, version, retain)

    return run


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """The port of a listener that never answers."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))
