"""Through an HTTP proxy: a tunnel for https, whole URLs for http."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Proxy:
    """A proxy that records what it is told. Plain requests go on with their target as it is; one for a connection."""

    heads: list[str] = field(default_factory=list)
    refusal: bytes = b""
    port: int = 0
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        out = None
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode())
                if self.refusal:
                    writer.write(self.refusal)
                    await writer.drain()
                    return
                method, target, _ = head.decode().split(" ", 2)
                host, _, port = target.removeprefix("http://").split("/")[0].partition(":")
                back, out = await asyncio.open_connection(host, int(port))
                if method == "CONNECT":
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    out.write(head)
                await asyncio.gather(copy(reader, out), copy(back, writer))
        finally:
            self.tasks.discard(task)
            for each in (writer, out):
                if each:
                    each.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    await proxy.start()
    yield proxy
    await proxy.stop()


async def test_http_sends_whole_urls_and_the_proxys_credentials(server: Any, client: Any, proxy: Proxy) -> None:
    sink = await client.sink(
        f"{server.url}/a", {"proxy": f"http://me:pa%40ss@127.0.0.1:{proxy.port}", "pool_size": 1}, path="/${topic|path}"
    )
    assert await client.deliver(sink, client.events(3)) == [None] * 3
    assert [seen.target for seen in server.seen] == [f"{server.url}/a/t/{i}" for i in (1, 2, 3)]
    assert server.seen[0].header("proxy-authorization") == "Basic bWU6cGFAc3M="
    assert server.seen[0].header("host") == f"127.0.0.1:{server.port}"
    assert len(proxy.heads) == 1
    shown = sink.render(client.events()[0])
    assert shown["url"] == f"{server.url}/a/t/1"
    assert shown["headers"]["proxy-authorization"] == "******"


async def test_https_goes_through_a_tunnel(secure: Any, client: Any, proxy: Proxy, pki: Any) -> None:
    options = {"proxy": f"http://me:secret@127.0.0.1:{proxy.port}", "tls": {"ca": pki / "ca.pem"}, "pool_size": 2}
    sink = await client.sink(secure.url, options, body="${payload}")
    assert await client.deliver(sink, client.events(20, b"x" * 100_000)) == [None] * 20
    assert {seen.target for seen in secure.seen} == {"/"}
    assert {seen.header("proxy-authorization") for seen in secure.seen} == {None}
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1\r\nhost: 127.0.0.1:{secure.port}\r\n")
    assert "proxy-authorization: Basic bWU6c2VjcmV0" in proxy.heads[0]
    steps = await sink.ctx.connector.test()
    assert [(step.name, step.ok) for step in steps] == [("dns", True), ("tcp", True), ("tls", True), ("http", True)]
    assert steps[1].detail == f"connected through the proxy 127.0.0.1:{proxy.port}"


async def test_https_through_a_proxy_is_verified_too(secure: Any, client: Any, proxy: Proxy) -> None:
    sink = await client.sink(secure.url, {"proxy": f"http://127.0.0.1:{proxy.port}"})
    (error,) = await client.deliver(sink, client.events())
    assert error.kind == "network"
    assert "the certificate of https://127.0.0.1" in str(error)


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407 Proxy Authentication"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "the proxy sent something nobody asked for"),
        (b"HTTP/1.1 200", "the proxy closed the connection before it answered"),
        (b"x" * 70_000, "the proxy's answer is too long"),
    ],
)
async def test_a_proxy_that_refuses_is_told_in_its_words(client: Any, proxy: Proxy, refusal: bytes, text: str) -> None:
    proxy.refusal = refusal
    sink = await client.sink("https://127.0.0.1:9", {"proxy": f"http://127.0.0.1:{proxy.port}"})
    (error,) = await client.deliver(sink, client.events())
    assert error.kind == "network"
    assert text in str(error)


async def test_a_proxy_that_is_not_there_is_named(client: Any, proxy: Proxy) -> None:
    await proxy.stop()
    for url in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
        sink = await client.sink(url, {"proxy": f"http://u:s3cret@127.0.0.1:{proxy.port}"})
        (error,) = await client.deliver(sink, client.events())
        assert str(error) == f"Connection refused by the proxy 127.0.0.1:{proxy.port}"
