"""CPU per request of the http sink beside aiohttp's client, in one process and one run.

    python bench/http_client.py [-n REQUESTS] [-r ROUNDS] [-o json]

The server is a process of its own, so only the client's CPU is measured. Each round measures every way once; shown are
the medians, and how many times less CPU than aiohttp's client each way takes.

    aiohttp      64 workers post over at most 32 connections
    floor        one and the same request over each of 32 connections, the next when any bytes arrive: what the system
                 calls and the loop cost, without a client
    sink, n      HttpSink.write alone: templates for path, header and body; n requests ahead on each of 32 connections
    engine, n    the same driven by the engine: lanes by key, settling, counting
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from headrace import Event
from headrace.config.model import SinkOptions, SinkSpec
from headrace.engine.delivery import SinkRunner
from headrace.engine.tally import SinkTally
from headrace.stream import Record
from headrace.testing import make_context, make_event
from headrace_plugins.http import HttpConnector, HttpSink

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONNECTIONS, BATCH, KEYS = 32, 256, 256
REQUEST = b"POST /d/device-7 HTTP/1.1\r\nhost: h\r\ncontent-length: 38\r\n\r\n" + b"x" * 38
PAYLOAD = json.dumps({"id": 7, "msg": "x" * 100, "temp": 21.5})


class Server(asyncio.Protocol):
    """Answers 200 to each request; knows where one ends by its Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        answers = 0
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            at = head.index(b"content-length: ") + 16
            whole = end + 4 + int(head[at : head.find(b"\r", at) if b"\r" in head[at:] else None])
            if len(self.data) < whole:
                break
            self.data = self.data[whole:]
            answers += 1
        self.transport.write(ANSWER * answers)  # type: ignore[attr-defined]


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def events(n: int) -> list[Event]:
    made = []
    for i in range(n):
        event = make_event(PAYLOAD, topic=f"t/{i % KEYS}", clientid=f"device-{i % KEYS}")
        made.append(event.output(event.columns, "rule"))
    return made


async def by_aiohttp(url: str, n: int) -> None:
    headers = {"Content-Type": "application/json", "X-Topic": "t/1"}
    left = iter(range(n))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

        async def work() -> None:
            for i in left:
                body = json.dumps({"device": f"device-{i % KEYS}", "temp": 21.5})
                async with session.post(f"{url}/d/device-{i % KEYS}", data=body, headers=headers) as answer:
                    await answer.read()

        await asyncio.gather(*[work() for _ in range(64)])


class Floor(asyncio.Protocol):
    """Sends the next request when there is an answer, whatever it is."""

    def __init__(self, left: list[int], done: asyncio.Future[None]) -> None:
        self.left, self.done = left, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        if data:
            self.left[1] -= 1
        if self.left[0]:
            self.left[0] -= 1
            self.transport.write(REQUEST)  # type: ignore[attr-defined]
        elif not self.left[1] and not self.done.done():
            self.done.set_result(None)


async def by_nobody(url: str, n: int) -> None:
    loop = asyncio.get_running_loop()
    left, done = [n, n], loop.create_future()
    host, port = url.removeprefix("http://").split(":")
    made = [await loop.create_connection(lambda: Floor(left, done), host, int(port)) for _ in range(CONNECTIONS)]
    await done
    for transport, _ in made:
        transport.abort()


class Bench:
    """A sink with templates."""

    def __init__(self, url: str, depth: int) -> None:
        config = HttpConnector.Config.model_validate({"url": url, "pool_size": CONNECTIONS, "pipelining": depth})
        self.inflight = max(100, CONNECTIONS * depth)
        self.connector = HttpConnector(config, make_context("connector"))
        options = {
            "path": "/d/${clientid}",
            "headers": {"X-Topic": "${topic}"},
            "body": {"device": "${clientid}", "temp": "${payload.temp}"},
        }
        self.sink = HttpSink(HttpSink.Config.model_validate(options), make_context("out", connector=self.connector))

    async def by_write(self, n: int) -> None:
        """Two writes under way, as the engine would have them."""
        batches = [events(BATCH) for _ in range(n // BATCH)]
        failures: list[Exception] = []

        def done(_: int, error: Exception | None, receipt: Any = None) -> None:
            if error is not None:
                failures.append(error)

        left = iter(batches)

        async def work() -> None:
            for batch in left:
                for event in batch:
                    event.sink = "out"
                await self.sink.write(batch, done)

        await asyncio.gather(work(), work())
        assert not failures, failures[0]

    async def by_engine(self, n: int) -> None:
        spec = SinkSpec("out", HttpSink, self.sink.config, SinkOptions(inflight=self.inflight))
        runner = SinkRunner(spec, self.sink, SinkTally(self.sink.ctx.metrics), {}, _no_outlet)
        runner.start()
        records = [Made(events(BATCH)) for _ in range(n // BATCH)]
        for record in records:
            await runner.handle(record)
        for record in records:
            await record.settled_all.wait()
        await runner.stop()


class Made(Record):
    """A record that is settled in memory."""

    __slots__ = ("left", "settled_all")

    def __init__(self, made: list[Event]) -> None:
        super().__init__(made, (), 300 * len(made))
        self.left = len(made)
        self.settled_all = asyncio.Event()

    def settle(self, index: int) -> None:
        self.left -= 1
        if not self.left:
            self.settled_all.set()

    def settle_all(self) -> None:
        self.settled_all.set()


def _no_outlet(*_: Any) -> None:
    raise AssertionError("nothing is to fail here")


async def cost(way: Callable[[int], Awaitable[None]], n: int) -> float:
    """Microseconds of CPU for a request; making the events is not the client's work."""
    await way(n // 10 // BATCH * BATCH or BATCH)
    began = time.process_time()
    events(n)
    making = time.process_time() - began
    began = time.process_time()
    await way(n)
    spent = time.process_time() - began
    return (spent - (0 if way.__name__ in ("plain", "bare") else making)) / n * 1e6


async def measure(n: int, rounds: int) -> dict[str, float]:
    server = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__)), "--serve", stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout
    url = f"http://127.0.0.1:{int(await server.stdout.readline())}"
    found: dict[str, list[float]] = {}

    async def plain(requests: int) -> None:
        await by_aiohttp(url, requests)

    async def bare(requests: int) -> None:
        await by_nobody(url, requests)

    try:
        for _ in range(rounds):
            found.setdefault("aiohttp", []).append(await cost(plain, n))
            found.setdefault("floor", []).append(await cost(bare, n))
            for depth in (1, 16):
                bench = Bench(url, depth)
                await bench.connector.open()
                found.setdefault(f"sink, {depth}", []).append(await cost(bench.by_write, n))
                found.setdefault(f"engine, {depth}", []).append(await cost(bench.by_engine, n))
                await bench.connector.close()
    finally:
        server.terminate()
        await server.wait()
    return {way: statistics.median(values) for way, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=25_600, help="requests a measurement (25600)")
    parser.add_argument("-r", type=int, default=3, help="rounds (3)")
    parser.add_argument("-o", choices=["text", "json"], default="text", help="form of the output")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        uvloop.run(serve())
        return
    found = uvloop.run(measure(max(args.n // BATCH, 1) * BATCH, args.r))
    if args.o == "json":
        print(json.dumps(found))
        return
    print(f"{'':12} {'µs CPU a request':>18} {'less than aiohttp':>18}")
    for way, micros in found.items():
        print(f"{way:12} {micros:18.1f} {found['aiohttp'] / micros:17.1f}x")


if __name__ == "__main__":
    main()
