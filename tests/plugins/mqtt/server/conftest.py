"""A running ``mqtt_server``, read by a test or by itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from headrace import Ack, Batch, Event
from headrace.testing.context import make_context
from headrace.testing.models import check_offer
from headrace_plugins._mqtt.framing import encode_packet, encode_string
from headrace_plugins._mqtt.properties import encode_properties
from headrace_plugins.mqtt_server.source import MqttServer


class Endpoint:
    """The source, and what was read from it."""

    def __init__(self, source: MqttServer) -> None:
        self.source = source
        self.events: list[Event] = []
        self.unsettled: list[tuple[Batch, Ack]] = []
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

        self.at = 0
        """Which of its addresses devices connect to."""

    @property
    def port(self) -> int:
        return int(self.source.addresses[self.at].rpartition(":")[2])

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
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):  # some conditions change without an event
                        await self._changed.wait()

    async def arrived(self, n: int) -> list[Event]:
        await self.until(lambda: len(self.events) >= n)
        check_offer(self.source, self.events)
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
        usual = {} if "listeners" in options else {"listen": "127.0.0.1:0"}
        config = MqttServer.Config(**{**usual, **options})
        endpoint = Endpoint(MqttServer(config, make_context("direct", filters=filters)))
        endpoints.append(endpoint)
        await endpoint.source.open()
        return endpoint

    yield make
    for endpoint in endpoints:
        await endpoint.close()


PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


class Raw:
    """A device that sends whatever bytes a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.version = 4

    def send(self, *packets: bytes) -> None:
        self.writer.write(b"".join(packets))

    async def packet(self, timeout: float = 10) -> bytes:
        """The next packet; empty when the connection was closed."""
        async with asyncio.timeout(timeout):
            try:
                head = await self.reader.readexactly(2)
                assert head[1] < 128, "answers are short"
                return head + await self.reader.readexactly(head[1])
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""

    async def packets(self, n: int) -> list[bytes]:
        return [await self.packet() for _ in range(n)]

    async def quiet(self) -> bool:
        """A ping is answered, and nothing came before its answer."""
        self.send(PINGREQ)
        return await self.packet() == PINGRESP

    def close(self) -> None:
        self.writer.close()

    def connect(
        self,
        clientid: str = "dev1",
        version: int = 4,
        *,
        clean: bool = True,
        keepalive: int = 60,
        properties: dict[str, Any] | None = None,
        will: tuple[str, bytes, int, bool, dict[str, Any]] | None = None,
        user: tuple[str, bytes] | None = None,
    ) -> None:
        self.version = version
        flags = 2 * clean
        parts = [encode_string(clientid)]
        if will is not None:
            topic, payload, qos, retain, will_properties = will
            flags |= 4 | qos << 3 | retain << 5
            parts += [encode_properties(will_properties)] if version == 5 else []
            parts += [encode_string(topic), encode_string(payload)]
        if user is not None:
            flags |= 0xC0
            parts += [encode_string(user[0]), encode_string(user[1])]
        head = (
            encode_string("MQIsdp" if version == 3 else "MQTT") + bytes((version, flags)) + keepalive.to_bytes(2, "big")
        )
        self.send(encode_packet(0x10, head, encode_properties(properties or {}) if version == 5 else b"", *parts))

    def publish(
        self,
        topic: str,
        payload: bytes = b"x",
        qos: int = 0,
        id: int = 1,
        *,
        dup: bool = False,
        retain: bool = False,
        properties: dict[str, Any] | None = None,
    ) -> None:
        self.send(
            encode_packet(
                0x30 | dup << 3 | qos << 1 | retain,
                encode_string(topic),
                id.to_bytes(2, "big") if qos else b"",
                encode_properties(properties or {}) if self.version == 5 else b"",
                payload,
            )
        )


Dial = Callable[..., Awaitable[Raw]]
Join = Callable[..., Awaitable[Raw]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """``await dial(endpoint)``: a connection that has sent nothing; ``tls``: the context of a device that speaks it."""
    devices: list[Raw] = []

    async def make(endpoint: Endpoint, tls: ssl.SSLContext | None = None) -> Raw:
        devices.append(Raw(*await asyncio.open_connection("127.0.0.1", endpoint.port, ssl=tls)))
        return devices[-1]

    yield make
    for device in devices:
        device.close()


@pytest.fixture
def join(dial: Dial) -> Join:
    """``await join(endpoint, clientid, version, …)``: a device that has had its CONNACK."""

    async def make(
        endpoint: Endpoint, *args: Any, present: bool = False, tls: ssl.SSLContext | None = None, **options: Any
    ) -> Raw:
        device = await dial(endpoint, tls)
        device.connect(*args, **options)
        answer = await device.packet()
        assert answer[:1] == b"\x20"
        assert answer[2:4] == bytes((present, 0))
        return device

    return make


@pytest.fixture
def endpoint_class() -> type[Endpoint]:
    """For a source a test makes itself."""
    return Endpoint
