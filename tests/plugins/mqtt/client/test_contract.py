"""The contract every source keeps."""

from __future__ import annotations

import asyncio

import pytest

from headrace.testing import make_context
from headrace.testing.contracts import SourceContract
from headrace_plugins._mqtt.framing import encode_packet, encode_string
from headrace_plugins.mqtt.source import Mqtt


class Broker:
    """Accepts every connection and subscription, and sends what a test wants."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(2)
                body = await reader.readexactly(head[1])
                if head[0] == 0x10:
                    writer.write(b"\x20\x03\x00\x00\x00")
                elif head[0] == 0x82:
                    writer.write(encode_packet(0x90, body[:2], b"\x00\x01"))
                    self.writer = writer
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def send(self) -> None:
        assert self.writer is not None
        self.sent += 1
        self.writer.write(encode_packet(0x32, encode_string("t/1"), self.sent.to_bytes(2, "big"), b"\x00", b"hello"))


class TestMqtt(SourceContract):
    @pytest.fixture
    async def broker(self):
        broker = Broker()
        server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
        broker.port = server.sockets[0].getsockname()[1]
        yield broker
        server.close()
        if broker.writer is not None:
            broker.writer.close()

    @pytest.fixture
    def source(self, broker):
        config = Mqtt.Config(url=f"mqtt://127.0.0.1:{broker.port}")
        return Mqtt(config, make_context("plant", filters=("t/#",)))

    @pytest.fixture
    def produce(self, broker):
        return broker.send
