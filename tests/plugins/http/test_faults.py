"""The sink against a server that answers badly, late, or not at all."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any
from unittest.mock import AsyncMock

import pytest

from headrace import NotConnected


def kinds(verdicts: list[Any]) -> list[str | None]:
    return [error and error.kind for error in verdicts]


class TestStatuses:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    async def test_of_success_deliver(self, server: Any, client: Any, status: int) -> None:
        server.default = server.answer(status)
        assert await client.deliver(await client.sink(server.url), client.events(2)) == [None, None]

    @pytest.mark.parametrize("status", [300, 302, 304, 400, 401, 404, 408, 429, 500, 503, 599, 999])
    async def test_of_failure_are_told_and_tried_once(self, server: Any, client: Any, status: int) -> None:
        server.default = server.answer(status, b"" if status == 304 else b"why", "Location: http://127.0.0.1:1/")
        (error,) = await client.deliver(await client.sink(server.url), client.events())
        assert (error.kind, error.status) == ("status", status)
        assert str(error).startswith(f"the server answered {status}")
        assert error.answer == (b"" if status == 304 else b"why")
        assert len(server.seen) == 1

    async def test_of_success_may_be_chosen(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, success=[200, "3xx"], drop_on=["5xx", 404])
        server.script = [server.answer(status) for status in (200, 204, 302, 404, 503)]
        verdicts = [(await client.deliver(sink, client.events()))[0] for _ in range(5)]
        assert kinds(verdicts) == [None, "status", None, "invalid", "invalid"]

    async def test_of_one_event_leave_the_others_alone(self, server: Any, client: Any) -> None:
        server.respond = lambda seen: server.answer(500 if seen.target == "/t%2F2" else 200)
        sink = await client.sink(server.url, path="/${topic}")
        assert kinds(await client.deliver(sink, client.events(4))) == [None, "status", None, None]

    async def test_of_a_known_answer_fail_for_the_sink_that_does_not_want_it(self, server: Any, client: Any) -> None:
        connector = await client.connector(server.url, pool_size=1)
        picky, easy = client.sink_of(connector, success=[201]), client.sink_of(connector)
        for _ in range(3):
            assert kinds(await client.deliver(easy, client.events())) == [None]
            assert kinds(await client.deliver(picky, client.events())) == ["status"]
        assert server.connections == 1


class TestConnecting:
    async def test_to_nobody_fails_at_once_with_the_reason(self, client: Any) -> None:
        with socket.socket() as taken:  # bound, and not listening
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            sink = await client.sink(url, path="/x?token=s3cret&y=1")
            verdicts = await client.deliver(sink, client.events(50))
            assert kinds(verdicts) == ["network"] * 50
            assert str(verdicts[0]) == f"Connection refused by {url}"
            assert verdicts[0].request["url"] == f"{url}/x?token=***&y=1"
            status = sink.ctx.connector.ctx.status
            assert (status.state, status.reason) == ("degraded", f"Connection refused by {url}")
            with pytest.raises(NotConnected, match="Connection refused"):
                await sink.ctx.connector.health()
            assert sink.ctx.connector.ctx.metrics["connect_failed"] == 1

    async def test_is_healthy_again_when_somebody_is_there(self, server: Any, client: Any) -> None:
        port = server.port
        await server.stop()
        sink = await client.sink(f"http://127.0.0.1:{port}")
        assert kinds(await client.deliver(sink, client.events())) == ["network"]
        await server.start(port)
        await sink.ctx.connector.health()
        assert await client.deliver(sink, client.events()) == [None]
        assert sink.ctx.connector.ctx.status.state == "running"

    async def test_to_an_unknown_host_says_so(self, client: Any) -> None:
        sink = await client.sink("http://no-such-host.invalid")
        (error,) = await client.deliver(sink, client.events(), timeout=30)
        assert error.kind == "network"
        assert "cannot resolve the host of http://no-such-host.invalid" in str(error)

    async def test_to_an_impossible_host_says_so(self, client: Any) -> None:
        sink = await client.sink(f"http://{'x' * 80}.invalid")
        (error,) = await client.deliver(sink, client.events(), timeout=30)
        assert error.kind == "network"

    async def test_that_takes_too_long_says_so(self, client: Any) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            others = [socket.socket() for _ in range(4)]  # fill the backlog, so that nobody else gets in
            for other in others:
                other.setblocking(False)
                other.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}"
            sink = await client.sink(url, {"connect_timeout": "100ms"})
            (error,) = await client.deliver(sink, client.events())
            assert (error.kind, str(error)) == ("network", f"no connection to {url} within 0.1 s")
            for other in others:
                other.close()

    async def test_to_an_address_that_says_nothing_leaves_time_for_the_next(
        self, server: Any, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.2", server.port))
            full.listen(0)
            others = [socket.socket() for _ in range(4)]
            for other in others:
                other.setblocking(False)
                other.connect_ex(full.getsockname())
            sink = await client.sink(server.url, {"connect_timeout": "400ms", "max_inactive": "10ms"})
            addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]  # silent, refusing, well
            monkeypatch.setattr(sink.ctx.connector.dialler, "resolve", AsyncMock(return_value=addresses))
            assert await client.deliver(sink, client.events()) == [None]
            await server.until(lambda: server.open == 0)
            began = asyncio.get_running_loop().time()
            assert await client.deliver(sink, client.events()) == [None]
            assert asyncio.get_running_loop().time() - began < 0.1, "what worked before was not tried first"
            for other in others:
                other.close()

    async def test_refused_to_some_leaves_the_work_to_the_others(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, {"pool_size": 8})
        await client.deliver(sink, client.events())
        server.listen_no_more()  # the connection that is there lives on
        assert await client.deliver(sink, client.events(8)) == [None] * 8
        assert server.connections == 1
        assert sink.ctx.connector.ctx.status.state == "running"

    async def test_to_a_server_that_hangs_up_at_once_fails(self, server: Any, client: Any) -> None:
        server.default = server.close()
        sink = await client.sink(server.url)
        verdicts = await client.deliver(sink, client.events(3))
        assert kinds(verdicts) == ["network"] * 3
        assert "closed the connection before its answer" in str(verdicts[0])


class TestBrokenAnswers:
    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            b"HTTP/1.1 200 OK\r\nContent-",
            b"HTT",
            b"",
        ],
    )
    async def test_cut_off_are_no_success(self, server: Any, client: Any, data: bytes) -> None:
        server.default = server.close(data)
        assert kinds(await client.deliver(await client.sink(server.url), client.events())) == ["network"]

    async def test_cut_off_on_a_used_connection_are_not_sent_again(self, server: Any, client: Any) -> None:
        server.script = [server.answer(), server.close(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")]
        sink = await client.sink(server.url, {"pool_size": 1})
        await client.deliver(sink, client.events())
        assert kinds(await client.deliver(sink, client.events())) == ["network"]
        assert len(server.seen) == 2

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    async def test_that_end_with_the_connection_count_when_they_do(
        self, server: Any, client: Any, version: str
    ) -> None:
        server.script = [
            server.close(f"HTTP/{version} 200 OK\r\n\r\nall of it".encode()),
            server.close(f"HTTP/{version} 500 No\r\n\r\nall of it".encode()),
        ]
        sink = await client.sink(server.url)
        assert await client.deliver(sink, client.events()) == [None]
        (error,) = await client.deliver(sink, client.events())
        assert (error.status, error.answer) == (500, b"all of it")

    async def test_of_http_1_0_work(self, server: Any, client: Any) -> None:
        server.default = server.close(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        sink = await client.sink(server.url)
        assert await client.deliver(sink, client.events(5)) == [None] * 5

    async def test_before_the_request_is_whole_settle_it(self, server: Any, client: Any) -> None:
        server.read_body = False
        server.default = server.answer(413, b"too much", "Connection: close", wait=lambda: asyncio.sleep(0))
        sink = await client.sink(server.url, body="${payload}")
        (error,) = await client.deliver(sink, client.events(1, "x" * (16 << 20)))
        assert error.status == 413 or error.kind == "network"  # the reset may outrun the answer
        server.read_body = True
        server.default = server.answer()
        assert await client.deliver(sink, client.events()) == [None]

    async def test_garbage_does_not_stop_the_next(self, server: Any, client: Any) -> None:
        server.script = [server.raw(b"\0\xff garbage\r\n\r\n")]
        sink = await client.sink(server.url)
        assert kinds(await client.deliver(sink, client.events())) == ["network"]
        assert await client.deliver(sink, client.events()) == [None]


class TestTimeouts:
    @pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
    async def test_fail_the_request_and_not_the_next(self, server: Any, client: Any, data: bytes) -> None:
        server.script = [server.raw(data, more=not data), server.hang()]
        sink = await client.sink(server.url, {"pool_size": 1}, timeout="500ms")
        (error,) = await client.deliver(sink, client.events())
        assert (error.kind, str(error)) == ("timeout", "no answer within 0.5 s")
        server.script = []
        assert await client.deliver(sink, client.events()) == [None]

    async def test_do_not_count_the_wait_for_a_connection(self, server: Any, client: Any) -> None:
        server.default = server.answer(wait=lambda: asyncio.sleep(0.12))
        sink = await client.sink(server.url, {"pool_size": 1}, timeout="1s")
        assert await client.deliver(sink, client.events(10)) == [None] * 10

    async def test_are_of_each_sink(self, server: Any, client: Any) -> None:
        connector = await client.connector(server.url)
        server.default = server.hang()
        patient = asyncio.create_task(client.deliver(client.sink_of(connector, timeout="1h"), client.events()))
        assert kinds(await client.deliver(client.sink_of(connector, timeout="100ms"), client.events())) == ["timeout"]
        assert not patient.done()
        await connector.close()
        assert kinds(await patient) == ["network"]


class TestEnding:
    async def test_a_cancelled_write_settles_nothing_more(self, server: Any, client: Any) -> None:
        gate = asyncio.Event()
        server.default = server.answer(wait=gate.wait)
        sink = await client.sink(server.url, {"pool_size": 2})
        settled: list[int] = []
        writing = asyncio.create_task(sink.write(client.events(6), lambda i, *_: settled.append(i)))
        await server.until(lambda: len(server.seen) == 2)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        gate.set()
        assert await client.deliver(sink, client.events(3)) == [None] * 3
        assert settled == []
        assert len(server.seen) == 5

    async def test_another_call_on_the_same_connection_goes_on(self, server: Any, client: Any) -> None:
        gate = asyncio.Event()
        server.script = [server.answer(), server.answer(wait=gate.wait)]
        sink = await client.sink(server.url, {"pool_size": 1, "pipelining": 10})
        await client.deliver(sink, client.events())
        writing = asyncio.create_task(sink.write(client.events(), lambda *_: None))
        await server.until(lambda: len(server.seen) == 2)
        other = asyncio.create_task(client.deliver(sink, client.events(2)))
        await asyncio.sleep(0)
        writing.cancel()
        assert await other == [None, None]

    async def test_close_fails_what_is_under_way_and_leaves_nothing(self, server: Any, client: Any) -> None:
        gate = asyncio.Event()
        server.default = server.answer(wait=gate.wait)
        sink = await client.sink(server.url, {"pool_size": 2})
        delivery = asyncio.create_task(client.deliver(sink, client.events(5)))
        await server.until(lambda: len(server.seen) == 2)
        await sink.ctx.connector.close()
        verdicts = await delivery
        assert kinds(verdicts) == ["network"] * 5
        assert str(verdicts[0]) == "the connector was closed"
        gate.set()
        await server.until(lambda: server.open == 0)

    async def test_close_while_connecting(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url)
        delivery = asyncio.create_task(client.deliver(sink, client.events(3)))
        await asyncio.sleep(0)
        await sink.ctx.connector.close()
        assert kinds(await delivery) == ["network"] * 3


@pytest.mark.parametrize("size", [0, 1, 1 << 10, 1 << 16, (1 << 16) + 1, 1 << 20, 16 << 20])
async def test_bodies_of_any_size_arrive_whole(server: Any, client: Any, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    server.default = server.answer(200, payload[: 1 << 20])
    sink = await client.sink(server.url, body="${payload}")
    assert await client.deliver(sink, client.events(2, payload)) == [None, None]
    assert [seen.body == payload for seen in server.seen] == [True, True]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pipelining", [1, 8])
async def test_under_any_mix_of_faults_every_event_is_settled_and_no_success_is_invented(
    server: Any, client: Any, seed: int, pipelining: int
) -> None:
    chance = random.Random(seed)
    accepted: set[str] = set()

    def respond(seen: Any) -> Any:
        kind = chance.choice(["ok"] * 8 + ["refuse", "close", "reset", "half", "garbage", "bye", "slow"])
        if kind in ("ok", "bye", "slow"):
            accepted.add(seen.target)
        return {
            "ok": server.answer(200, b"x" * chance.randrange(50)),
            "slow": server.answer(wait=lambda: asyncio.sleep(0.01)),
            "refuse": server.answer(503),
            "close": server.close(),
            "reset": server.reset(),
            "half": server.close(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"),
            "garbage": server.close(b"garbage\r\n"),
            "bye": server.answer(200, b"", "Connection: close", close=True),
        }[kind]

    server.respond = respond
    sink = await client.sink(server.url, {"pool_size": 4, "pipelining": pipelining}, path="/${topic}")
    calls = [client.deliver(sink, client.events(150)[start : start + 50]) for start in (0, 50, 100)]
    verdicts = [verdict for call in await asyncio.gather(*calls) for verdict in call]
    delivered = {f"/t%2F{i + 1}" for i, error in enumerate(verdicts) if error is None}
    assert delivered <= accepted
    assert len(delivered) > 50
    assert {error.kind for error in verdicts if error} <= {"network", "status"}
