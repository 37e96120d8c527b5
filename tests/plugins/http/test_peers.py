"""The sink against servers people really run: aiohttp, and Flask on Werkzeug."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp.web
import flask
import pytest
import werkzeug.serving


@pytest.fixture
async def aiohttp_server() -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    got: list[tuple[str, bytes]] = []

    async def take(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        got.append((request.path, await request.read()))
        if request.path == "/echo":
            return aiohttp.web.Response(body=got[-1][1])
        if request.path == "/chunked":
            response = aiohttp.web.StreamResponse()
            await response.prepare(request)
            for _ in range(3):
                await response.write(b"part")
            return response
        return aiohttp.web.Response(status=int(request.query.get("status", 200)), text="taken")

    app = aiohttp.web.Application(client_max_size=1 << 25)
    app.router.add_route("*", "/{rest:.*}", take)
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", got
    await runner.cleanup()


class TestAiohttp:
    @pytest.mark.parametrize("pipelining", [1, 10])
    async def test_takes_every_event_once(self, aiohttp_server: Any, client: Any, pipelining: int) -> None:
        url, got = aiohttp_server
        sink = await client.sink(url, {"pipelining": pipelining, "pool_size": 4}, path="/${topic|path}")
        batch = client.events(200)
        assert await client.deliver(sink, batch) == [None] * 200
        assert sorted(path for path, _ in got) == sorted(f"/{event['topic']}" for event in batch)
        assert all(json.loads(body)["topic"] == path[1:] for path, body in got)

    async def test_may_answer_in_chunks(self, aiohttp_server: Any, client: Any) -> None:
        url, got = aiohttp_server
        sink = await client.sink(url, {"pool_size": 1}, path="/chunked")
        assert await client.deliver(sink, client.events(5)) == [None] * 5
        assert len(got) == 5

    async def test_may_refuse(self, aiohttp_server: Any, client: Any) -> None:
        sink = await client.sink(aiohttp_server[0], query={"status": 418})
        (error,) = await client.deliver(sink, client.events())
        assert (error.status, error.answer) == (418, b"taken")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def test_knows_every_method(self, aiohttp_server: Any, client: Any, method: str) -> None:
        sink = await client.sink(aiohttp_server[0], {"pool_size": 1}, method=method)
        assert await client.deliver(sink, client.events(4)) == [None] * 4

    async def test_takes_large_bodies(self, aiohttp_server: Any, client: Any) -> None:
        url, got = aiohttp_server
        sink = await client.sink(url, body="${payload}")
        assert await client.deliver(sink, client.events(2, b"z" * (16 << 20))) == [None, None]
        assert [len(body) for _, body in got] == [16 << 20] * 2

    @pytest.mark.parametrize("size", [0, 1, 1 << 10, (1 << 16) + 1, (1 << 20) - 1, 1 << 20, 16 << 20])
    async def test_says_back_what_it_got_whatever_its_size(self, aiohttp_server: Any, client: Any, size: int) -> None:
        url, got = aiohttp_server
        sink = await client.sink(url, {"pool_size": 1, "max_answer": "32MB"}, path="/echo", body="${payload}")
        assert await client.deliver(sink, client.events(2, b"z" * size)) == [None, None]
        assert [len(body) for _, body in got] == [size] * 2

    async def test_may_say_more_than_is_read(self, aiohttp_server: Any, client: Any) -> None:
        url, got = aiohttp_server
        sink = await client.sink(url, {"pool_size": 1}, path="/echo", body="${payload}")
        assert await client.deliver(sink, client.events(3, b"z" * (16 << 20))) == [None] * 3
        assert len(got) == 3


@pytest.fixture
def flask_server() -> Iterator[tuple[str, list[bytes]]]:
    """The receiver of the walk-through: ``POST /`` keeps the body."""
    got: list[bytes] = []
    app = flask.Flask("receiver")

    @app.post("/")
    def take() -> flask.Response:
        got.append(flask.request.get_data())
        return flask.jsonify(ok=True)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


async def test_flask_takes_every_event_once(flask_server: Any, client: Any) -> None:
    url, got = flask_server
    sink = await client.sink(url, {"pool_size": 4}, body="${payload.msg} ${topic}")
    assert await client.deliver(sink, client.events(40, '{ "msg": "hello HTTP Server" }')) == [None] * 40
    assert sorted(got) == sorted(f"hello HTTP Server t/{i}".encode() for i in range(1, 41))
