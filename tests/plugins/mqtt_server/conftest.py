"""A running ``mqtt_server``, read by a test or by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from headrace import Ack, Batch, Event
from headrace.testing.context import make_context
from headrace_plugins.mqtt_server.source import MqttServer


class Endpoint:
    """The source, and what was read from it."""

    def __init__(self, source: MqttServer) -> None:
        self.source = source
        self.events: list[Event] = []
        self.unsettled: list[tuple[Batch, Ack]] = []
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return int(self.source.address.rpartition(":")[2])

    @property
    def counters(self) -> dict[str, int | float]:
        return self.source.ctx.metrics.snapshot()

    def start(self, *, settle: bool = True) -> None:
        """Read without end; settle at once, or keep the acks in ``unsettled``."""
        self._reader = asyncio.create_task(self._read(settle))

    async def _read(self, settle: bool) -> None:
        while True:
            batch, ack = await self.source.read()
            self.events += batch
            if settle:
                ack(None)
            else:
                self.unsettled.append((batch, ack))
            self._changed.set()

    async def until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.02):  # some conditions change without an event
                        await self._changed.wait()
                except TimeoutError:
                    pass

    async def arrived(self, n: int) -> list[Event]:
        await self.until(lambda: len(self.events) >= n)
        return self.events

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self.source.close()


Serve = Callable[..., Awaitable[Endpoint]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(option=…)``: an open endpoint on a free port; closed at the end."""
    endpoints: list[Endpoint] = []

    async def make(*, filters: tuple[str, ...] = ("#",), **options: Any) -> Endpoint:
        config = MqttServer.Config(**{"listen": "127.0.0.1:0", **options})
        endpoint = Endpoint(MqttServer(config, make_context("direct", filters=filters)))
        endpoints.append(endpoint)
        await endpoint.source.open()
        return endpoint

    yield make
    for endpoint in endpoints:
        await endpoint.close()
