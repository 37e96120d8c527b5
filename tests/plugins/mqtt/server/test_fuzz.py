"""Whatever bytes come, in whatever pieces: no crash, bounded memory, and a reason for the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.testing.context import make_context
from headrace_plugins._mqtt.framing import encode_packet, encode_string
from headrace_plugins.mqtt_server.connection import Connection
from headrace_plugins.mqtt_server.proxied import BadHeader, read_origin
from headrace_plugins.mqtt_server.source import MqttServer
from headrace_plugins.mqtt_server.websocket import WebSocket

REASONS = {0x81, 0x82, 0x8B, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x97, 0x9A, 0x9E}
"""What a connection may be ended with."""
MAX_BUFFER = 1 << 16
MAX_READ = 60_000
"""Bytes the tests give a connection at once, at most."""


class Transport(asyncio.Transport):
    """Keeps what is written; closes as asyncio does, in the next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.protocol: Any = None
        self.closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


def attach(protocol: Any) -> Transport:
    transport = Transport()
    transport.protocol = protocol
    protocol.connection_made(transport)
    return transport


def connect(version: int, *, will: bool = False, keepalive: int = 60) -> bytes:
    v5 = version == 5
    head = encode_string("MQIsdp" if version == 3 else "MQTT") + bytes((version, 2 | will << 2)) + b"\0\x3c"
    parts = [head, b"\x05\x11\0\0\0\x3c" if v5 else b"", encode_string("dev")]
    if will:
        parts += [b"\0" if v5 else b"", encode_string("w/1"), encode_string("gone")]
    return encode_packet(0x10, *parts)


def corpus(version: int) -> list[bytes]:
    """A packet of each kind."""
    none = b"\0" if version == 5 else b""
    some = b"\x13\x26\0\x01k\0\x01v\x03\0\x04text\x23\0\x01" if version == 5 else b""
    return [
        connect(version),
        connect(version, will=True),
        encode_packet(0x30, encode_string("t/1"), none, b"payload"),
        encode_packet(0x32, encode_string("t/1"), b"\0\x01", some, b"payload" * 40),
        encode_packet(0x34, encode_string("t/1"), b"\0\x02", none, b"payload"),
        encode_packet(0x3D, encode_string("t/1"), b"\0\x02", none, b"payload"),
        b"\x62\x02\0\x02",
        b"\xc0\0",
        encode_packet(0x82, b"\0\x03", none, encode_string("t/#"), b"\x01"),
        encode_packet(0xA2, b"\0\x04", none, encode_string("t/#")),
        b"\x40\x02\0\x09",
        b"\xe0\x02\x04\0" if version == 5 else b"\xe0\0",
    ]


@pytest.fixture
async def server():
    config = MqttServer.Config(listen="127.0.0.1:0", max_packet="4KB", max_pending="16KB", max_buffer="64KB")
    one = MqttServer(config, make_context("direct", filters=("#", "$events/#", "$events/client_disconnected")))
    await one.open()
    yield one
    await one.close()


async def drain(server: MqttServer) -> None:
    """Take all there is, as the engine does."""
    while server.intake._ready:
        _, ack = await server.read()
        ack(None)


def check_bounds(server: MqttServer) -> None:
    assert server.unread <= MAX_BUFFER + MAX_READ
    assert server.intake.held <= 3 * MAX_BUFFER


def check_end(transport: Transport, version: int) -> None:
    """An MQTT 5 device that was let in and then thrown out was told why."""
    answers = bytes(transport.written)
    if version == 5 and answers[:1] == b"\x20" and answers[3:4] == b"\0" and transport.closing:
        goodbye = answers[-3:]
        assert goodbye[:2] != b"\xe0\x01" or goodbye[2] in REASONS


async def feed(server: MqttServer, make: Any, pieces: list[bytes], version: int) -> None:
    transport = attach(make())
    for i, piece in enumerate(pieces):
        if not transport.closing:
            transport.protocol.data_received(piece)
        check_bounds(server)
        if i % 7 == 0:
            await drain(server)
    server._sweep()
    check_end(transport, version)
    transport.close()
    await asyncio.sleep(0)
    await drain(server)


def cut(stream: bytes, rng: random.Random) -> list[bytes]:
    pieces = []
    while stream:
        n = rng.choice((1, 2, 3, 10, 100, 5000))
        pieces.append(stream[:n])
        stream = stream[n:]
    return pieces


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("framed", [False, True])
async def test_mutated_packets(server, version, framed):
    rng = random.Random(version * 2 + framed)
    packets = corpus(version)
    for _ in range(1500):
        stream = bytearray(b"".join([rng.choice(packets[:2]), *rng.choices(packets, k=rng.randrange(1, 8))]))
        for _ in range(rng.choice((0, 1, 1, 2, 5))):
            at = rng.randrange(len(stream))
            how = rng.randrange(4)
            if how == 0:
                stream[at] = rng.randrange(256)
            elif how == 1:
                stream[at] ^= 1 << rng.randrange(8)
            elif how == 2:
                del stream[at : at + rng.randrange(1, 5)]
            else:
                stream[at:at] = rng.randbytes(rng.randrange(1, 5))
            if not stream:
                break
        pieces = cut(bytes(stream), rng)
        if framed:
            frames = b"".join(bytes((0x82, 0x80 | min(len(p), 100))) + b"\0\0\0\0" + p[:100] for p in pieces)
            pieces = [REQUEST, *cut(frames, rng)]
            await feed(server, lambda: WebSocket(Connection(server), "/mqtt", ()), pieces, version)
        else:
            await feed(server, lambda: Connection(server), pieces, version)
    assert server.unread == server.kept == 0
    assert server.intake.held == 0
    assert not server._connections


@pytest.mark.parametrize("version", [4, 5])
async def test_packets_together_mean_what_they_mean_alone(version):
    """Those that come in one read may go the quick way; one by one, none does."""
    rng = random.Random(version)
    kinds = [
        *corpus(version)[2:-1],
        *[encode_packet(0x32, encode_string("t/1"), b"\0\x07", b"\0" * (version == 5))] * 4,
    ]
    for _ in range(300):
        packets = [connect(version), *rng.choices(kinds, k=rng.randrange(1, 12))]
        if rng.random() < 0.3:
            broken = bytearray(packets[-1])
            broken[rng.randrange(len(broken))] = rng.randrange(256)
            packets[-1] = bytes(broken)
        results = []
        for pieces in (packets, [b"".join(packets)]):
            options = {"listen": "127.0.0.1:0", "receive_maximum": 8, "acl": [{"deny": ["t/2"], "allow": ["#"]}]}
            server = MqttServer(MqttServer.Config(**options), make_context("direct", filters=("#",)))
            await server.open()
            transport = attach(Connection(server))
            for piece in pieces:
                if not transport.closing:
                    transport.protocol.data_received(piece)
            events = [
                (event["topic"], event["payload"], event["qos"], event["flags"], event["pub_props"])
                for chunk in server.intake._ready
                for event in chunk.events
            ]
            await drain(server)
            received = sorted(transport.protocol.incoming.received)
            results.append((events, bytes(transport.written), received, transport.protocol.reason))
            assert server.intake.held == 0
            await server.close()
            await asyncio.sleep(0)
        assert results[0] == results[1], packets


REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.booleans(), st.sampled_from([0, 3, 4, 5]))
def test_any_bytes(pieces, framed, version):
    async def run() -> None:
        server = MqttServer(MqttServer.Config(listen="127.0.0.1:0"), make_context("direct", filters=("#",)))
        await server.open()
        try:
            first = [connect(version)] if version else []
            if framed:
                await feed(server, lambda: WebSocket(Connection(server), "/mqtt", ()), [REQUEST, *pieces], version)
            else:
                await feed(server, lambda: Connection(server), first + pieces, version)
            assert server.unread == 0
            assert server.intake.held == 0
            assert not server._connections
        finally:
            await server.close()

    asyncio.run(run())


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"]),
    st.binary(max_size=200),
)
def test_any_header_of_a_proxy(start, rest):
    async def run() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            theirs.sendall(start + rest)
            theirs.shutdown(socket.SHUT_WR)
            with contextlib.suppress(BadHeader):
                await read_origin(ours)

    asyncio.run(run())


# -- floods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [4, 5])
async def test_a_flood_nobody_takes_is_bounded(server, version, qos):
    server.events = frozenset()  # messages only
    none = b"\0" if version == 5 else b""
    devices = []
    for n in range(50):
        transport = attach(Connection(server))
        clientid = encode_string(f"dev{n}")
        transport.protocol.data_received(
            encode_packet(0x10, encode_string("MQTT") + bytes((version, 2)) + b"\0\0", none, clientid)
        )
        devices.append(transport)
    for turn in range(20):
        for transport in devices:
            packets = b"".join(
                encode_packet(
                    0x30 | qos << 1,
                    encode_string("t/1"),
                    (turn * 50 + n + 1).to_bytes(2, "big") if qos else b"",
                    none,
                    b"x" * 1000,
                )
                for n in range(50)
            )
            if not transport.closing:
                transport.protocol.data_received(packets)
            check_bounds(server)
        await asyncio.sleep(0)
    received = sum(len(chunk.events) for chunk in server.intake._ready)
    assert received
    if qos == 0:
        assert received + server.ctx.metrics["dropped.queue_full"] == 50 * 20 * 50
    await drain(server)
    assert server.intake.held == 0


async def test_devices_that_dribble_are_closed_and_the_others_served(serve, dial, join):
    endpoint = await serve(
        listeners=[{"listen": "127.0.0.1:0"}, {"listen": "127.0.0.1:0", "websocket": True}], connect_timeout="5s"
    )
    endpoint.start()
    steady = await join(endpoint, "steady", keepalive=0)
    slow = []
    for at, first in ((0, connect(4)), (1, REQUEST)):
        endpoint.at = at
        slow += [(await dial(endpoint), first) for _ in range(20)]
    for n in range(4):  # a byte now and then, four seconds in all
        for device, first in slow:
            device.send(first[n : n + 1])
        await asyncio.sleep(0.01)
        for conn in endpoint.source._connections:
            conn.seen -= 1
        endpoint.source._sweep()
    await endpoint.until(lambda: endpoint.counters["connections"] == 41)
    for conn in endpoint.source._connections:
        conn.seen -= 2
    endpoint.source._sweep()
    for device, _ in slow:
        assert await device.packet() == b""
    await endpoint.until(lambda: endpoint.counters["connections"] == 1)
    steady.publish("t/1", qos=1)
    assert await steady.packet() == b"\x40\x02\x00\x01"


async def test_a_tls_handshake_that_stalls_is_given_up(serve, dial, certificates):
    endpoint = await serve(tls={"cert": certificates.server, "key": certificates.server_key}, connect_timeout="200ms")
    device = await dial(endpoint)
    device.send(b"\x16\x03\x01")
    assert await device.packet() == b""
