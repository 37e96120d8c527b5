"""The addresses devices connect to: several, with new certificates, behind load balancers."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl

import pytest
from pydantic import ValidationError

from headrace import NotConnected
from headrace_plugins.mqtt_server.source import MqttServer

LOCAL = "127.0.0.1:0"


def test_which_addresses_there_are():
    def addresses(**options):
        return [one.listen for one in MqttServer.Config(**options).all_listeners]

    more = [{"listen": "127.0.0.1:1884"}]
    assert addresses() == ["127.0.0.1:1883"]
    assert addresses(listeners=more) == ["127.0.0.1:1884"]
    assert addresses(listen="127.0.0.1:1", listeners=more) == ["127.0.0.1:1", "127.0.0.1:1884"]
    with pytest.raises(ValidationError, match=r"0\.0\.0\.0:1884 can be reached from other machines"):
        addresses(listeners=[{"listen": "0.0.0.0:1884"}])


async def test_several_addresses_share_sessions_and_limits(serve, join, certificates):
    tls = {"cert": certificates.server, "key": certificates.server_key}
    endpoint = await serve(listen=LOCAL, listeners=[{"listen": LOCAL, "tls": tls}])
    endpoint.start()
    first = await join(endpoint, "dev1")
    endpoint.at = 1
    second = await join(endpoint, "dev1", tls=certificates.context())
    assert await first.packet() == b"", "taken over, from the other address"
    second.publish("t/1")
    await endpoint.arrived(1)


async def test_an_address_that_is_taken_frees_the_others(serve):
    endpoint = await serve()
    with pytest.raises(NotConnected, match="in use"):
        await serve(listeners=[{"listen": LOCAL}, {"listen": endpoint.source.address}])


# -- certificates ----------------------------------------------------------------------------------------------


def put(path, source):
    shutil.copy(source, path)
    os.utime(path, ns=(path.stat().st_mtime_ns + 1, path.stat().st_mtime_ns + 1_000_000))


async def test_new_certificates_are_for_new_connections(serve, dial, join, certificates, tmp_path):
    cert, key = tmp_path / "cert", tmp_path / "key"
    put(cert, certificates.stranger)
    put(key, certificates.stranger_key)
    endpoint = await serve(tls={"cert": cert, "key": key})
    endpoint.start()
    trusts_none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusts_none.check_hostname, trusts_none.verify_mode = False, ssl.CERT_NONE
    old = await join(endpoint, "old", tls=trusts_none)
    with pytest.raises(ssl.SSLError):
        await dial(endpoint, certificates.context())
    put(cert, certificates.server)
    endpoint.source._refresh()
    assert "tls: " in endpoint.source.ctx.status.last_error, "the key is not there yet"
    assert await (await join(endpoint, "between", tls=trusts_none)).quiet()
    put(key, certificates.server_key)
    endpoint.source._refresh()
    listener = endpoint.source._listeners[0]
    await endpoint.until(lambda: not listener._tasks)
    new = await join(endpoint, "new", tls=certificates.context())
    assert await new.quiet()
    assert await old.quiet(), "those there are stay"


# -- the PROXY protocol ----------------------------------------------------------------------------------------

V2 = b"\r\n\r\n\0\r\nQUIT\n"
V2_TCP4 = V2 + b"\x21\x11\x00\x0c" + bytes((10, 1, 2, 3, 10, 0, 0, 1)) + b"\x30\x39\x07\x5b"
V2_TCP6 = V2 + b"\x21\x21\x00\x27" + bytes(15) + b"\x01" + bytes(15) + b"\x02" + b"\x30\x39\x07\x5b" + b"\x04\x00\x00"


@pytest.mark.parametrize(
    ("header", "peername"),
    [
        (b"PROXY TCP4 10.1.2.3 10.0.0.1 12345 1883\r\n", "10.1.2.3:12345"),
        (b"PROXY TCP6 2001:db8::1 ::1 12345 1883\r\n", "[2001:db8::1]:12345"),
        (V2_TCP4, "10.1.2.3:12345"),
        (V2_TCP6, "[::1]:12345"),
        (b"PROXY UNKNOWN\r\n", None),
        (V2 + b"\x20\x00\x00\x00", None),
    ],
)
@pytest.mark.parametrize("split", [False, True])
async def test_a_proxy_says_whose_connection_it_is(serve, dial, header, peername, split):
    endpoint = await serve(listeners=[{"listen": LOCAL, "proxy_protocol": True}])
    endpoint.start()
    device = await dial(endpoint)
    for piece in [header[i : i + 5] for i in range(0, len(header), 5)] if split else [header]:
        device.send(piece)
        await asyncio.sleep(0)
    device.connect()
    assert await device.packet() == b"\x20\x02\x00\x00"
    device.publish("t/1")
    (event,) = await endpoint.arrived(1)
    own = "{}:{}".format(*device.writer.get_extra_info("sockname"))
    assert event["peername"] == (peername or own)
    assert event["peerhost"] == event["peername"].rpartition(":")[0].strip("[]")


async def test_tls_behind_a_proxy(serve, dial, certificates):
    tls = {"cert": certificates.server, "key": certificates.server_key}
    endpoint = await serve(listeners=[{"listen": LOCAL, "proxy_protocol": True, "tls": tls}])
    endpoint.start()
    device = await dial(endpoint)
    device.send(V2_TCP4)
    await device.writer.start_tls(certificates.context(), server_hostname="localhost")
    device.connect()
    assert await device.packet() == b"\x20\x02\x00\x00"
    device.publish("t/1")
    assert (await endpoint.arrived(1))[0]["peerhost"] == "10.1.2.3"


@pytest.mark.parametrize(
    "header",
    [
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01z",
        b"PROXY TCP4 10.1.2.3 10.0.0.1 12345\r\n",
        b"PROXY TCP4 ::1 ::1 12345 1883\r\n",
        b"PROXY TCP4 10.1.2.3 10.0.0.1 12345 99999\r\n",
        b"PROXY TCP9 10.1.2.3 10.0.0.1 1 2\r\n",
        b"PROXY " + b"x" * 200,
        V2 + b"\x31\x11\x00\x0c" + bytes(12),
        V2 + b"\x21\x11\xff\xff",
        V2 + b"\x21\x11\x00\x04" + bytes(4),
    ],
)
async def test_without_a_proper_header_nobody_comes_in(serve, dial, header):
    endpoint = await serve(listeners=[{"listen": LOCAL, "proxy_protocol": True}])
    device = await dial(endpoint)
    device.send(header)
    assert await device.packet() == b""
    assert endpoint.counters["connections.protocol_error"] == 1
    assert endpoint.counters["connections"] == 0


async def test_a_proxy_that_says_nothing_is_closed(serve, dial):
    endpoint = await serve(listeners=[{"listen": LOCAL, "proxy_protocol": True}], connect_timeout="100ms")
    device = await dial(endpoint)
    device.send(b"PROXY TCP4 ")
    assert await device.packet() == b""


# -- websockets ------------------------------------------------------------------------------------------------


@pytest.fixture
async def websocket(serve):
    endpoint = await serve(listeners=[{"listen": LOCAL, "websocket": True}], connect_timeout="5s")
    endpoint.start()
    return endpoint


def request(path="/mqtt", *more, protocol="mqtt", version=13, upgrade="websocket"):
    lines = [
        f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Upgrade: {upgrade}", "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Sec-WebSocket-Version: {version}",
        f"Sec-WebSocket-Protocol: {protocol}", *more,
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode, payload, mask=b"\x01\x02\x03\x04", fin=True):
    size = len(payload)
    length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes((fin << 7 | opcode, length[0] | 128)) + length[1:] + mask + masked


async def shake(device):
    device.send(request())
    answer = await device.reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # of RFC 6455, 1.3
    assert b"Sec-WebSocket-Protocol: mqtt" in answer


CONNECT, CONNACK = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01z", b"\x82\x04\x20\x02\x00\x00"


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_bytes_come_through_however_they_are_framed(websocket, dial, size):
    device = await dial(websocket)
    await shake(device)
    stream = CONNECT + b"".join(b"\x32\x09\x00\x03t/1\x00" + bytes((id,)) + b"%02d" % id for id in range(1, 51))
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    frames = b"".join(frame(2 if not i else 0, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces))
    for i in range(0, len(frames), 11):
        device.send(frames[i : i + 11])
        if i % 5 == 0:
            await asyncio.sleep(0)
    assert await device.reader.readexactly(6) == CONNACK
    acks = b""
    while len(acks) < 200:
        head = await device.reader.readexactly(2)
        length = head[1] if head[1] < 126 else int.from_bytes(await device.reader.readexactly(2), "big")
        acks += await device.reader.readexactly(length)
    assert acks == b"".join(b"\x40\x02\x00" + bytes((id,)) for id in range(1, 51))
    assert [event["payload"] for event in websocket.events] == [f"{id:02}" for id in range(1, 51)]


async def test_pings_of_the_websocket_are_answered(websocket, dial):
    device = await dial(websocket)
    await shake(device)
    device.send(frame(9, b"hello"))
    assert await device.reader.readexactly(7) == b"\x8a\x05hello"


async def test_a_ping_may_come_between_the_frames_of_a_message(websocket, dial):
    device = await dial(websocket)
    await shake(device)
    device.send(frame(2, CONNECT[:5], fin=False) + frame(9, b"") + frame(0, CONNECT[5:]))
    assert await device.reader.readexactly(8) == b"\x8a\x00" + CONNACK
    device.send(frame(2, b"\xc0\x00"))
    assert await device.reader.readexactly(4) == b"\x82\x02\xd0\x00"


async def test_both_sides_can_say_goodbye(websocket, dial):
    device = await dial(websocket)
    await shake(device)
    device.send(frame(8, b"\x03\xe8"))
    assert await device.reader.read() == b"\x88\x02\x03\xe8"
    device = await dial(websocket)
    await shake(device)
    device.send(frame(2, CONNECT + b"\xe0\x00"))
    assert await device.reader.read() == CONNACK + b"\x88\x02\x03\xe8"
    assert "connections.protocol_error" not in websocket.counters


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(1, b"text"), 1003),
        (frame(3, b"x"), 1002),
        (b"\x82\x01x", 1002),  # not masked
        (b"\xc2\x81\x00\x00\x00\x00x", 1002),  # an extension nobody agreed on
        (frame(9, b"x" * 126), 1002),
        (frame(9, b"x", fin=False), 1002),
        (frame(0, b"x"), 1002),  # the rest of nothing
        (frame(2, b"", fin=False) + frame(2, b"x"), 1002),  # a message within another
        (b"\x82\xff\x80" + bytes(7) + b"\x01\x02\x03\x04", 1002),  # longer than a length may be
    ],
)
async def test_bad_frames_end_the_connection_with_the_reason(websocket, dial, bad, code):
    device = await dial(websocket)
    await shake(device)
    device.send(bad)
    assert await device.reader.read() == b"\x88\x02" + code.to_bytes(2, "big")
    assert websocket.counters["connections.protocol_error"] == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("/other"), b"404"),
        (request(protocol="soap"), b"400"),
        (request(version=8), b"426"),
        (request(upgrade="h2c"), b"426"),
        (b"POST /mqtt HTTP/1.1\r\n\r\n", b"400"),
        (CONNECT, b"400"),
        (b"GET /" + b"x" * 9000, b"431"),
        (request("/mqtt", "Origin: https://evil.example"), b"403"),
    ],
)
async def test_a_bad_request_is_told_so(websocket, dial, sent, status):
    device = await dial(websocket)
    device.send(sent)
    assert (await device.reader.read()).startswith(b"HTTP/1.1 " + status)
    await websocket.until(lambda: websocket.counters["connections"] == 0)


async def test_pages_of_named_sites_may_connect(serve, dial):
    endpoint = await serve(listeners=[{"listen": LOCAL, "websocket": True, "origins": ["https://app.example"]}])
    for origin, answer in (("https://app.example", b"101"), ("http://127.0.0.1", b"101"), ("http://other", b"403")):
        device = await dial(endpoint)
        device.send(request("/mqtt?x=1", f"Origin: {origin}"))
        assert (await device.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 " + answer)


async def test_half_a_request_is_given_up(websocket, dial):
    device = await dial(websocket)
    device.send(b"GET /mqtt HTTP/1.1\r\nHost: ")
    await websocket.until(lambda: websocket.counters["connections"] == 1)
    for conn in websocket.source._connections:
        conn.seen -= 6
    websocket.source._sweep()
    assert await device.packet() == b""


async def test_back_pressure_through_a_websocket_loses_nothing(serve, dial):
    endpoint = await serve(listeners=[{"listen": LOCAL, "websocket": True}], max_pending="16KB")
    device = await dial(endpoint)
    await shake(device)
    packets = b"".join(b"\x32\x08\x00\x03t/1" + id.to_bytes(2, "big") + b"x" for id in range(1, 301))
    device.send(frame(2, CONNECT + packets))
    await endpoint.until(lambda: endpoint.source.intake.paused)
    endpoint.start()
    await endpoint.arrived(300)
    assert len(endpoint.events) == 300
