"""The loop headrace runs on: every kind of address works on it, and new certificates do."""

from __future__ import annotations

import asyncio
import shutil
import ssl

import pytest

from headrace.testing.context import make_context
from headrace_plugins.mqtt_server.source import MqttServer

uvloop = pytest.importorskip("uvloop", reason="NOT TESTED: uvloop is not installed")

LOCAL = "127.0.0.1:0"
REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)
PROXY = b"PROXY TCP4 10.1.2.3 10.0.0.1 12345 1883\r\n"
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01z"
PUBLISH, DISCONNECT = b"\x32\x08\x00\x03t/1\x00\x01x", b"\xe0\x00"
ANSWERS = b"\x20\x02\x00\x00" + b"\x40\x02\x00\x01"


async def device(port: int, tls: ssl.SSLContext | None, *, header: bytes = b"", websocket: bool = False) -> None:
    """Connect, publish, go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=None if header else tls)
    if header:
        writer.write(header)
        if tls:
            await writer.start_tls(tls, server_hostname="localhost")
    if websocket:
        writer.write(REQUEST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        for packet, answer in ((CONNECT, ANSWERS[:4]), (PUBLISH, ANSWERS[4:])):
            writer.write(bytes((0x82, 0x80 | len(packet))) + bytes(4) + packet)
            assert await reader.readexactly(6) == b"\x82\x04" + answer
    else:
        writer.write(CONNECT + PUBLISH)
        assert await reader.readexactly(8) == ANSWERS
        writer.write(DISCONNECT)
        assert await reader.read() == b""
    writer.close()


def test_every_kind_of_address(certificates, tmp_path):
    cert, key = tmp_path / "cert", tmp_path / "key"
    shutil.copy(certificates.server, cert)
    shutil.copy(certificates.server_key, key)
    tls = {"cert": cert, "key": key}
    kinds = [
        {},
        {"tls": tls},
        {"websocket": True},
        {"websocket": True, "tls": tls},
        {"proxy_protocol": True},
        {"proxy_protocol": True, "tls": tls},
    ]

    async def main() -> None:
        config = MqttServer.Config(listeners=[{"listen": LOCAL, **kind} for kind in kinds])
        source = MqttServer(config, make_context("direct", filters=("#",)))
        await source.open()
        hosts: list[str] = []

        async def read() -> None:
            while True:
                batch, ack = await source.read()
                hosts.extend(event["peerhost"] for event in batch)
                ack(None)

        reading = asyncio.create_task(read())
        ports = [int(address.rpartition(":")[2]) for address in source.addresses]

        async def visit(context: ssl.SSLContext) -> None:
            for kind, port in zip(kinds, ports, strict=True):
                header = PROXY if "proxy_protocol" in kind else b""
                await device(port, context if "tls" in kind else None, header=header, websocket="websocket" in kind)

        await visit(certificates.context())
        shutil.copy(certificates.stranger, cert)
        shutil.copy(certificates.stranger_key, key)
        source._refresh()
        while any(listener._servers and listener._tasks for listener in source._listeners):
            await asyncio.sleep(0.01)  # the servers with the new certificate are on their way
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        await visit(anybody)
        with pytest.raises(ssl.SSLError):
            await device(ports[1], certificates.context())
        assert hosts == (["127.0.0.1"] * 4 + ["10.1.2.3"] * 2) * 2
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await source.close()
        for port in ports:
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 30))
