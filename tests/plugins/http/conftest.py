"""A server that misbehaves as it is told, and a sink that talks to it.

Every test runs on asyncio's loop and uvloop, but for the probes and their like, which are of the whole pipeline.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace import DeliveryError, Event, Form, Receipt
from headrace.testing.context import make_context, make_event
from headrace_plugins.http import HttpConnector, HttpSink


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    both = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    whole = ("test_probes", "test_probes_delivery", "test_answers", "test_strange")
    return {"uvloop": both["uvloop"]} if item.path.stem in whole else both


@dataclass
class Seen:
    """One request as the server got it."""

    connection: int
    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    at: float

    def header(self, name: str) -> str | None:
        """The value, if the header is there; it must not be there twice."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None


@dataclass
class Answer:
    """What the server does with one request: bytes to send, when, and what becomes of the connection."""

    data: bytes = b""
    wait: Callable[[], Awaitable[Any]] | None = None
    more: bool = False
    """Send it together with the next answer."""
    by_bytes: bool = False
    close: bool = False
    reset: bool = False


@dataclass
class FaultServer:
    """Records requests and answers the n-th by ``script[n]``, then by ``default``; ``respond`` overrides both."""

    script: list[Answer] = field(default_factory=list)
    default: Answer = field(default_factory=lambda: FaultServer.answer())
    respond: Callable[[Seen], Answer | None] | None = None
    read_body: bool = True
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0
    most_waiting: int = 0
    """Requests that were read and not answered, at the most."""
    ahead: bool = False
    """Did a request come before the one before it was answered?"""
    tls: ssl.SSLContext | None = None
    on_connect: Callable[[asyncio.StreamWriter], Any] | None = None
    port: int = 0
    _waiting: int = 0

    @staticmethod
    def answer(status: int = 200, body: bytes = b"", *fields: str, **how: Any) -> Answer:
        """A well-formed answer."""
        head = [f"HTTP/1.1 {status} X", *fields]
        framed = any(name.lower().startswith(("content-length", "transfer-encoding")) for name in fields)
        if not framed and status != 204:
            head.append(f"Content-Length: {len(body)}")
        return Answer("\r\n".join([*head, "", ""]).encode() + body, **how)

    @staticmethod
    def raw(data: bytes, **how: Any) -> Answer:
        """Whatever bytes."""
        return Answer(data, **how)

    @staticmethod
    def hang() -> Answer:
        """No answer, ever."""
        return Answer(wait=asyncio.Event().wait)

    @staticmethod
    def close(data: bytes = b"") -> Answer:
        """The connection is closed after these bytes."""
        return Answer(data, close=True)

    @staticmethod
    def reset() -> Answer:
        """The connection is reset."""
        return Answer(reset=True)

    async def start(self, port: int = 0) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, ssl=self.tls, limit=1 << 25)
        self.port = self._server.sockets[0].getsockname()[1]
        self._changed = asyncio.Event()

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def listen_no_more(self) -> None:
        """Refuse new connections; those there are go on."""
        self._server.close()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        """Wait until the condition holds; it is looked at whenever a request or connection comes or goes."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._accept(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also if it was cancelled before it began

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self._changed.set()
        if self.on_connect:
            self.on_connect(writer)
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError
            ):
                await self._serve(self.connections, reader, writer)
        finally:
            self.open -= 1
            self._changed.set()
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = b""
        while True:
            seen = await self._read(number, reader)
            self.seen.append(seen)
            self._changed.set()
            reply = (self.respond and self.respond(seen)) or (self.script.pop(0) if self.script else self.default)
            if reply.wait:
                await self._hold(reply.wait)
                self.ahead = self.ahead or bool(reader._buffer)  # type: ignore[attr-defined]
            held += reply.data
            if reply.reset:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            if not reply.more:
                for piece in [bytes([byte]) for byte in held] if reply.by_bytes else [held]:
                    writer.write(piece)
                    await writer.drain()
                held = b""
            if reply.close:
                return

    async def _hold(self, wait: Callable[[], Awaitable[Any]]) -> None:
        self._waiting += 1
        self.most_waiting = max(self.most_waiting, self._waiting)
        try:
            await wait()
        finally:
            self._waiting -= 1

    async def _read(self, number: int, reader: asyncio.StreamReader) -> Seen:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        method, target, version = first.split(" ")
        assert version == "HTTP/1.1"
        fields = []
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon
            fields.append((name, value))
        seen = Seen(number, method, target, fields, b"", asyncio.get_running_loop().time())
        length = int(seen.header("content-length") or 0)
        if self.read_body:
            seen.body = await reader.readexactly(length)
        return seen


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()


class Client:
    """Connectors and sinks of one test, closed at its end."""

    def __init__(self) -> None:
        self._connectors: list[HttpConnector] = []

    async def connector(self, url: str, **options: Any) -> HttpConnector:
        config = HttpConnector.Config.model_validate({"url": url, **options})
        connector = HttpConnector(config, make_context("connector"))
        await connector.open()
        self._connectors.append(connector)
        return connector

    async def sink(self, url: str, connector: dict[str, Any] | None = None, **options: Any) -> HttpSink:
        return self.sink_of(await self.connector(url, **(connector or {})), **options)

    def sink_of(self, connector: HttpConnector, **options: Any) -> HttpSink:
        config = HttpSink.Config.model_validate(options)
        return HttpSink(config, make_context("sink", connector=connector))

    @staticmethod
    def events(n: int = 1, payload: str | bytes = '{"n": 1}', **columns: Any) -> list[Event]:
        """Events of a rule, on their way to a sink."""
        made = []
        for i in range(n):
            event = make_event(payload, topic=f"t/{i + 1}")
            event.columns.update(columns)
            event.rule, event.sink, event.attempt = "rule", "sink", 1
            made.append(event)
        return made

    @staticmethod
    async def deliver(sink: HttpSink, batch: Sequence[Event], timeout: float = 10) -> list[Any]:
        """One ``write``: the verdict on each event. Each must be settled once, and before the end."""
        verdicts: dict[int, Exception | None] = {}

        def done(i: int, error: Exception | None, receipt: Receipt | None = None) -> None:
            assert i not in verdicts
            assert error is None or isinstance(error, DeliveryError)
            verdicts[i] = error

        async with asyncio.timeout(timeout):
            await sink.write(batch, done)
        assert len(verdicts) == len(batch)
        return [verdicts[i] for i in range(len(batch))]

    @staticmethod
    async def join(sink: HttpSink, batch: Sequence[Event], form: Form = "array") -> list[Receipt | None]:
        """Events as the engine would join them: those with the same in common in one request."""
        parts: dict[Any, list[tuple[Event, bytes]]] = {}
        for event in batch:
            common, data = sink.piece(event, form)
            parts.setdefault(common, []).append((event, data))
        return [
            await sink.write_joined([event for event, _ in part], [data for _, data in part], common, form)
            for common, part in parts.items()
        ]

    async def close(self) -> None:
        for connector in self._connectors:
            await connector.close()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    yield client
    await client.close()


KEY = "ec -pkeyopt ec_paramgen_curve:P-256"


def openssl(directory: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)


def certificate(directory: Path, name: str, extension: str, by: str = "ca", days: int = 2) -> None:
    """``name``.pem and ``name``.key, signed by the test's authority or another."""
    (directory / "extensions").write_text(f"{extension}\n")
    openssl(directory, f"req -newkey {KEY} -nodes -keyout {name}.key -out request -subj /CN={name}")
    signing = f"x509 -req -in request -CA {by}.pem -CAkey {by}.key -CAcreateserial -extfile extensions"
    openssl(directory, f"{signing} -days {days} -out {name}.pem")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and the certificates of a server, of one with another name, and of a client."""
    directory = tmp_path_factory.mktemp("pki")
    authority = "-subj /CN=authority -addext keyUsage=critical,keyCertSign"
    openssl(directory, f"req -x509 -newkey {KEY} -nodes -keyout ca.key -out ca.pem -days 2 {authority}")
    certificate(directory, "server", "subjectAltName=IP:127.0.0.1")
    certificate(directory, "other", "subjectAltName=DNS:other.example")
    certificate(directory, "client", "subjectAltName=DNS:client")
    certificate(directory, "between", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign", days=9)
    certificate(directory, "chained", "subjectAltName=IP:127.0.0.1", by="between", days=30)
    with (directory / "chained.pem").open("a") as file:
        file.write((directory / "between.pem").read_text())
    return directory


@pytest.fixture
async def secure(server: Any, pki: Path, request: pytest.FixtureRequest) -> Any:
    """The fault server behind TLS; the parameter names its certificate."""
    await server.stop()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    name = getattr(request, "param", "server")
    server.tls.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    await server.start()
    return server
