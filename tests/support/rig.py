"""The real thing: headrace as a process, Mosquitto, an HTTP receiver that fails on demand, devices that speak MQTT."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httptools
import paho.mqtt.client as paho

from headrace.testing import check_conservation


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


async def until(condition: Callable[[], Any], timeout: float = 30.0, what: str = "") -> None:
    """Wait for a condition, looked at every 10 ms."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        await asyncio.sleep(0.01)


async def mosquitto_pub(port: int, topic: str, message: str, *more: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-p", str(port), "-i", "emqx_c", "-t", topic, "-m", message, "-q", "1", *more
    )
    assert await asyncio.wait_for(process.wait(), 10) == 0


class Receiver:
    """An HTTP server that answers as ``answer(body)`` says: a status, or None to leave the request hanging."""

    def __init__(self) -> None:
        self.port = free_port()
        self.answer: Callable[[bytes], int | None] = lambda body: 200
        self.bodies: list[bytes] = []
        """Bodies of the requests that were answered 2xx, in order."""
        self.at: list[float] = []
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.requests = 0
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, reuse_address=True)

    async def stop(self) -> None:
        """Close the port and every connection: the server is down."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.transport.abort()
            self._server = None
            await asyncio.sleep(0)

    def release(self) -> None:
        """Answer what hangs, now with 200."""
        for connection in list(self._connections):
            connection.release()

    def json(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    async def got(self, n: int, timeout: float = 30.0) -> None:
        await until(lambda: len(self.bodies) >= n, timeout, f"{n} requests (got {len(self.bodies)})")


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.parser = httptools.HttpRequestParser(self)
        self.hanging: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.receiver._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.receiver._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.body = b""
        self.head: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        self.target = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head[name.decode().lower()] = value.decode()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.receiver.requests += 1
        status = self.receiver.answer(self.body)
        if status is None:
            self.hanging.append(self.body)
        else:
            self._reply(status, self.body)

    def release(self) -> None:
        for body in self.hanging:
            self._reply(200, body)
        self.hanging.clear()

    def _reply(self, status: int, body: bytes) -> None:
        receiver = self.receiver
        if 200 <= status < 300:
            receiver.bodies.append(body)
            receiver.at.append(time.monotonic())
            receiver.headers.append(self.head)
            receiver.targets.append(self.target)
        self.transport.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\nok" % status)


class Headrace:
    """``headrace run`` as a process, with its status."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self.directory = directory
        self.config = directory / "pipeline.json"
        self.config.write_text(json.dumps(config))
        self.log = directory / "headrace.log"
        self.process: asyncio.subprocess.Process | None = None
        name = config.get("name", "")
        log = config.get("stream", {}).get("url", "").removeprefix("embedded://")
        assert name
        assert log.startswith("/"), "tests use an embedded log of their own"
        self.socket = Path(log) / "status.sock"

    async def start(self, *more: str, wait: bool = True) -> None:
        """``more``: options of ``headrace run``."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-W", "error", "-m", "headrace.cli", "run", str(self.config), *more,
                stdout=log, stderr=log, env={**os.environ, "XDG_RUNTIME_DIR": str(self.directory)},
            )  # fmt: skip
        if wait:
            await self.ready()

    async def ready(self, timeout: float = 30.0) -> None:
        """Wait until it tells its status and every source runs."""
        deadline = time.monotonic() + timeout
        while True:
            assert self.process is not None
            assert self.process.returncode is None, f"headrace ended: {self.text()}"
            with contextlib.suppress(OSError, ValueError):
                status = await self.status()
                if all(source["state"] == "running" for source in status["sources"].values()):
                    return
            assert time.monotonic() < deadline, f"not ready: {self.text()}"
            await asyncio.sleep(0.02)

    async def status(self) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        writer.write_eof()  # nothing more to ask
        document: dict[str, Any] = json.loads(await reader.read())
        writer.close()
        check_conservation(document)
        return document

    async def until(self, condition: Callable[[dict[str, Any]], Any], timeout: float = 30.0) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while not condition(status := await self.status()):
            assert time.monotonic() < deadline, f"not within {timeout} s: {json.dumps(status, indent=1)}\n{self.text()}"
            await asyncio.sleep(0.05)
        return status

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 40)

    def rss(self) -> int:
        """Resident bytes now."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def text(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


class Mosquitto:
    """A broker of the test's own."""

    def __init__(self, directory: Path, options: str) -> None:
        self.port = free_port()
        self.directory = directory
        self.options = options
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def start(self) -> None:
        config = self.directory / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n{self.options}\n"
        )
        with (self.directory / "mosquitto.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(config), stdout=log, stderr=log
            )
        await until(lambda: _listens(self.port), 10, "mosquitto")

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class _Link:
    """One device's unacknowledged publishes."""

    outstanding = 0
    held = False


class Devices:
    """Several devices (paho clients), each with topics of its own: QoS 1 publishes, sent again after a reconnect."""

    def __init__(self, port: int, count: int = 20, topics: int = 100) -> None:
        assert topics % count == 0, "a topic belongs to one device"
        self.topics = topics
        self.sent = 0
        self.acked = 0
        self._port = port
        self.clients = [self._client(f"device-{n}") for n in range(count)]

    def _client(self, client_id: str) -> paho.Client:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, clean_session=False)
        client.reconnect_delay_set(1, 1)
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(50)
        client.user_data_set(_Link())
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        return client

    def _on_publish(self, _client: paho.Client, link: _Link, *_: Any) -> None:
        self.acked += 1
        link.outstanding -= 1
        if not link.outstanding:
            link.held = False

    def _on_disconnect(self, _client: paho.Client, link: _Link, *_: Any) -> None:
        # paho sends what is new before what it repeats; a device that keeps its order waits
        link.held = link.outstanding > 0

    async def connect(self) -> None:
        for client in self.clients:
            client.connect_async("127.0.0.1", self._port, keepalive=10)
            client.loop_start()
        await until(self.connected, 10, "the devices are connected")

    def connected(self) -> bool:
        return all(client.is_connected() for client in self.clients)

    async def publish(self, n: int, rate: float, qos: int = 1) -> None:
        """``n`` events with consecutive ``seq``, at ``rate`` a second."""
        started, first = time.monotonic(), self.sent
        for i in range(first, first + n):
            topic = f"t/{i % self.topics}"
            payload = json.dumps({"seq": i, "device": topic, "temp": i % 50})
            client = self.clients[i % len(self.clients)]
            link = client.user_data_get()
            while link.held or not client.is_connected():
                await asyncio.sleep(0.005)
            link.outstanding += qos > 0
            client.publish(topic, payload, qos)
            self.sent += 1
            ahead = (self.sent - first) / rate - (time.monotonic() - started)
            if ahead > 0.005:
                await asyncio.sleep(ahead)
            elif i % 50 == 0:
                await asyncio.sleep(0)

    async def stop(self) -> None:
        for client in self.clients:
            await asyncio.to_thread(client.disconnect)
            await asyncio.to_thread(client.loop_stop)


def check_order(events: list[dict[str, Any]], *, duplicates: bool = False) -> Counter[int]:
    """Each device's first deliveries are in order and none is skipped. Returns how often each ``seq`` arrived."""
    seen: Counter[int] = Counter()
    newest: dict[str, int] = {}
    for event in events:
        seq, device = event["seq"], event["device"]
        if seen[seq] == 0:
            assert newest.get(device, -1) < seq, f"{device}: {seq} after {newest[device]}"
            newest[device] = seq
        seen[seq] += 1
    if not duplicates:
        assert max(seen.values(), default=1) == 1, "delivered twice"
    return seen
