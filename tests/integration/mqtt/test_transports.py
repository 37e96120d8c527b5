"""The ways to a real Mosquitto: websockets, a unix socket, TLS with names and passwords."""

from __future__ import annotations

import asyncio
import ssl
import subprocess

import pytest

import rig
from headrace import NotConnected

pytestmark = pytest.mark.mosquitto


class Way:
    def __init__(self, url: str, plain: object) -> None:
        self.url = url
        self.plain = plain


async def check(reader, publish, way) -> None:
    reader.start()
    await publish(way.plain, [("t/1", "x" * 100_000), *((f"t/{n}", str(n)) for n in range(200))])
    await reader.arrived(201)
    assert reader.payloads == ["x" * 100_000, *map(str, range(200))]
    assert reader.state[0] == "running"
    reader.source._link.fail("cut")
    await reader.until(lambda: reader.source._link.lost is None)
    await publish(way.plain, [("t/1", "after")])
    await reader.arrived(202)


@pytest.fixture
async def listener(mosquitto):
    """``await listener(lines)``: a broker with a second listener, on the port it returns."""

    async def make(*lines: str):
        port = rig.free_port()
        broker = await mosquitto("\n".join(("user root", f"listener {port} 127.0.0.1", *lines)))
        await rig.until(lambda: rig._listens(port), 10, "the second listener")
        return broker, port

    return make


@pytest.mark.parametrize("kind", ["bulk", "stock"])
async def test_websockets(listener, subscribe, publish, kind):
    broker, port = await listener("protocol websockets")
    way = Way(f"ws://127.0.0.1:{port}/mqtt", broker)
    reader = await subscribe(way, stock=kind == "stock", headers={"X-Token": "1"})
    await check(reader, publish, way)


async def test_websockets_over_tls(listener, subscribe, publish, certificates):
    broker, port = await listener(
        "protocol websockets", f"certfile {certificates.server}", f"keyfile {certificates.server_key}"
    )
    way = Way(f"wss://localhost:{port}", broker)
    await check(await subscribe(way, tls={"ca": certificates.ca}), publish, way)


async def test_a_port_that_speaks_no_websockets_is_named(mosquitto, subscribe):
    broker = await mosquitto()
    with pytest.raises(NotConnected, match="WebSocket handshake error"):
        await subscribe(Way(f"ws://127.0.0.1:{broker.port}/mqtt", broker))


async def test_a_unix_socket(mosquitto, subscribe, publish, tmp_path):
    path = tmp_path / "broker.sock"
    broker = await mosquitto(f"user root\nlistener 0 {path}")
    way = Way(f"unix://{path}", broker)
    await check(await subscribe(way), publish, way)


async def test_a_missing_unix_socket_is_named(subscribe, tmp_path):
    with pytest.raises(NotConnected, match="No such file or directory"):
        await subscribe(Way(f"unix://{tmp_path}/none.sock", None))


@pytest.fixture
async def front(certificates):
    """A TLS end before a broker, which tells what it was asked for: Mosquitto picks no protocol and no name."""
    asked: list[tuple[str | None, str | None]] = []
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def make(port: int):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server, certificates.server_key)
        context.set_alpn_protocols(["mqtt"])
        names: list[str | None] = []
        context.sni_callback = lambda sock, name, context: names.append(name)

        async def pump(reader, writer):
            while data := await reader.read(1 << 16):
                writer.write(data)
            writer.close()

        async def accept(reader, writer):
            asked.append((names[-1], writer.get_extra_info("ssl_object").selected_alpn_protocol()))
            to = await asyncio.open_connection("127.0.0.1", port)
            writers.extend((writer, to[1]))
            for one, other in ((reader, to[1]), (to[0], writer)):
                task = asyncio.create_task(pump(one, other))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        servers.append(await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context))
        return servers[-1].sockets[0].getsockname()[1], asked

    yield make
    for server in servers:
        server.close()
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_name_and_the_protocols_asked_for(mosquitto, subscribe, front, certificates):
    broker = await mosquitto()
    port, asked = await front(broker.port)
    way = Way(f"mqtts://127.0.0.1:{port}", broker)
    tls = {"ca": certificates.ca, "alpn": ["x-amzn-mqtt-ca", "mqtt"]}
    reader = await subscribe(way, tls=tls | {"server_name": "localhost"})
    assert reader.state[0] == "running"
    assert asked == [("localhost", "mqtt")]
    with pytest.raises(NotConnected, match=r"certificate is not valid for 'broker\.example'"):
        await subscribe(way, tls=tls | {"server_name": "broker.example"})


async def test_a_key_with_a_password(listener, subscribe, certificates, tmp_path):
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-aes128", "-passout", "pass:sesame", "-in", certificates.client_key, "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    broker, port = await listener(
        f"cafile {certificates.ca}",
        f"certfile {certificates.server}",
        f"keyfile {certificates.server_key}",
        "require_certificate true",
    )
    way = Way(f"mqtts://localhost:{port}", broker)
    tls = {"ca": certificates.ca, "cert": certificates.client, "key": locked}
    assert (await subscribe(way, tls=tls | {"key_password": "sesame"})).state[0] == "running"
    for wrong in ({}, {"key_password": "other"}):
        with pytest.raises(NotConnected, match="cannot connect to mqtts://"):
            await subscribe(way, name="other", tls=tls | wrong)
