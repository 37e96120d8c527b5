"""How requests are spread over connections, and what becomes of them when a connection ends."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest


def kinds(verdicts: list[Any]) -> list[str | None]:
    return [error and error.kind for error in verdicts]


class TestKeepAlive:
    async def test_uses_a_connection_again(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url)
        for _ in range(10):
            await client.deliver(sink, client.events())
        assert server.connections == 1

    async def test_grows_to_the_pools_size_and_no_further(self, server: Any, client: Any) -> None:
        gate = asyncio.Event()
        server.default = server.answer(wait=gate.wait)
        sink = await client.sink(server.url, {"pool_size": 4})
        delivery = asyncio.create_task(client.deliver(sink, client.events(20)))
        await server.until(lambda: len(server.seen) == 4)
        gate.set()
        assert await delivery == [None] * 20
        assert server.most_open == 4

    async def test_does_not_pipeline_unless_told(self, server: Any, client: Any) -> None:
        busy: set[int] = set()

        def respond(seen: Any) -> Any:
            assert seen.connection not in busy
            busy.add(seen.connection)

            async def wait() -> None:
                await asyncio.sleep(0)
                busy.discard(seen.connection)

            return server.answer(wait=wait)

        server.respond = respond
        sink = await client.sink(server.url, {"pool_size": 4})
        assert await client.deliver(sink, client.events(100)) == [None] * 100
        assert server.most_open <= 4

    async def test_closed_by_the_server_after_each_answer_costs_nothing(self, server: Any, client: Any) -> None:
        server.default = server.answer(200, b"", "Connection: close", close=True)
        sink = await client.sink(server.url, {"pool_size": 2})
        assert await client.deliver(sink, client.events(9)) == [None] * 9
        assert len(server.seen) == 9

    async def test_closed_while_idle_is_noticed(self, server: Any, client: Any) -> None:
        server.default = server.answer(close=True)  # without saying so
        sink = await client.sink(server.url, {"pool_size": 1})
        for _ in range(5):
            assert await client.deliver(sink, client.events()) == [None]
        assert server.connections == 5

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_closed_just_as_the_next_request_comes_sends_it_again(
        self, server: Any, client: Any, how: str
    ) -> None:
        server.script = [server.answer(), getattr(server, how)(), server.answer()]
        sink = await client.sink(server.url, {"pool_size": 1})
        assert await client.deliver(sink, client.events()) == [None]
        assert await client.deliver(sink, client.events()) == [None]
        assert [seen.connection for seen in server.seen] == [1, 1, 2]
        assert server.seen[1].header("idempotency-key") == server.seen[2].header("idempotency-key")
        assert sink.ctx.connector.ctx.metrics["resent"] == 1

    async def test_sends_again_once_only(self, server: Any, client: Any) -> None:
        server.script = [server.answer()]
        server.default = server.close()
        sink = await client.sink(server.url, {"pool_size": 1})
        await client.deliver(sink, client.events())
        assert kinds(await client.deliver(sink, client.events())) == ["network"]
        assert len(server.seen) == 3

    async def test_unused_for_long_is_closed(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, {"max_inactive": "50ms"}, timeout="400ms")
        await client.deliver(sink, client.events())
        await server.until(lambda: server.open == 0)
        assert await client.deliver(sink, client.events()) == [None]

    async def test_is_shared_by_the_sinks_of_a_connector(self, server: Any, client: Any) -> None:
        connector = await client.connector(server.url)
        for path in ("/a", "/b"):
            await client.deliver(client.sink_of(connector, path=path), client.events())
        assert [(seen.connection, seen.target) for seen in server.seen] == [(1, "/a"), (1, "/b")]

    async def test_as_old_as_it_may_get_is_closed_though_it_is_busy(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, {"pool_size": 1, "max_age": "50ms"}, timeout="80ms")
        while server.connections < 4:
            assert await client.deliver(sink, client.events()) == [None]
        assert sink.ctx.connector.ctx.metrics["resent"] == 0
        assert server.most_open <= 2  # our close and our next connection cross

    async def test_too_old_waits_for_its_answers(self, server: Any, client: Any) -> None:
        gate = asyncio.Event()
        server.script = [server.answer(wait=gate.wait)]
        options = {"pool_size": 1, "pipelining": 4, "max_age": "20ms"}
        sink = await client.sink(server.url, options, timeout="5s")
        sink.ctx.connector.pool.expect(0.08)
        delivery = asyncio.create_task(client.deliver(sink, client.events(9)))
        await server.until(lambda: len(server.seen) == 1)
        (connection,) = sink.ctx.connector.pool._connections
        while not connection.retiring:
            await asyncio.sleep(0.005)
        gate.set()
        assert await delivery == [None] * 9
        assert [seen.connection for seen in server.seen[:5]] == [1, 1, 1, 1, 2]


class TestHash:
    async def test_keeps_a_key_on_one_connection(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, {"pool_type": "hash", "pool_size": 4}, path="/${clientid}")
        batch = client.events(120)
        for i, event in enumerate(batch):
            event.key = event.columns["clientid"] = f"c{i % 12}"
        assert await client.deliver(sink, batch) == [None] * 120
        used: dict[str, set[int]] = {}
        for seen in server.seen:
            used.setdefault(seen.target, set()).add(seen.connection)
        assert len(used) == 12
        assert all(len(connections) == 1 for connections in used.values())
        assert 1 < server.connections <= 4
        assert sink.ctx.connector.ctx.metrics.snapshot()["connections"] == server.connections

    async def test_a_hanging_connection_holds_its_own_keys_only(self, server: Any, client: Any) -> None:
        server.respond = lambda seen: server.hang() if seen.target == "/stuck" else None
        sink = await client.sink(
            server.url, {"pool_type": "hash", "pool_size": 2}, path="/${clientid}", timeout="400ms"
        )
        batch = client.events(20)
        for i, event in enumerate(batch):
            event.key = event.columns["clientid"] = "stuck" if i == 0 else f"c{i}"
        verdicts = await client.deliver(sink, batch)
        assert kinds(verdicts[:1]) == ["timeout"]
        assert verdicts[1:] == [None] * 19

    async def test_a_cancelled_delivery_settles_nothing_more(self, server: Any, client: Any) -> None:
        server.default = server.hang()
        sink = await client.sink(server.url, {"pool_type": "hash", "pool_size": 2})
        settled: list[int] = []
        writing = asyncio.create_task(sink.write(client.events(6), lambda i, _: settled.append(i)))
        await server.until(lambda: len(server.seen) >= 1)
        writing.cancel()
        await asyncio.wait([writing])
        await sink.ctx.connector.pool.close()
        assert settled == []


class TestPipelining:
    async def test_sends_ahead_up_to_its_depth(self, server: Any, client: Any) -> None:
        gate = asyncio.Event()
        server.script = [server.answer(wait=gate.wait)]
        sink = await client.sink(server.url, {"pool_size": 1, "pipelining": 5}, path="/${topic}")
        delivery = asyncio.create_task(client.deliver(sink, client.events(12)))
        await server.until(lambda: len(server.seen) == 1)
        (connection,) = sink.ctx.connector.pool._connections
        assert len(connection.sent) == 5
        gate.set()
        assert await delivery == [None] * 12
        assert [seen.target for seen in server.seen] == [f"/t%2F{i}" for i in range(1, 13)]

    @pytest.mark.parametrize("how", [{"more": True}, {"by_bytes": True}])
    async def test_settles_by_position(self, server: Any, client: Any, how: Any) -> None:
        statuses = [random.Random(3).choice([200, 404, 500]) for _ in range(30)]
        server.script = [server.answer(status, b"x" * status, **how) for status in statuses]
        server.script[-1].more = False
        sink = await client.sink(server.url, {"pool_size": 1, "pipelining": 30})
        verdicts = await client.deliver(sink, client.events(30))
        assert [error.status if error else 200 for error in verdicts] == statuses

    async def test_broken_in_the_middle_delivers_everything(self, server: Any, client: Any) -> None:
        server.script = [server.answer(), server.answer(), server.close()]
        sink = await client.sink(server.url, {"pool_size": 1, "pipelining": 10})
        assert await client.deliver(sink, client.events(10)) == [None] * 10
        assert [seen.connection for seen in server.seen] == [1, 1, 1] + [2] * 8

    async def test_of_a_hanging_request_blames_only_that(self, server: Any, client: Any) -> None:
        server.script = [server.answer(), server.hang()]
        sink = await client.sink(server.url, {"pool_size": 1, "pipelining": 10}, timeout="500ms")
        assert kinds(await client.deliver(sink, client.events(6))) == [None, "timeout", None, None, None, None]

    async def test_survives_a_server_that_closes_after_each_answer(self, server: Any, client: Any) -> None:
        server.default = server.answer(200, b"", "Connection: close", close=True)
        sink = await client.sink(server.url, {"pool_size": 1, "pipelining": 10})
        assert await client.deliver(sink, client.events(10)) == [None] * 10

    async def test_spreads_over_the_connections_there_are(self, server: Any, client: Any) -> None:
        gate = asyncio.Event()
        server.default = server.answer(wait=gate.wait)
        sink = await client.sink(server.url, {"pool_size": 2, "pipelining": 10})
        first = asyncio.create_task(client.deliver(sink, client.events(20)))
        await server.until(lambda: len(server.seen) == 2)
        gate.set()
        await first
        gate.clear()
        second = asyncio.create_task(client.deliver(sink, client.events(6)))
        await server.until(lambda: len(server.seen) == 22)
        assert sorted(len(connection.sent) for connection in sink.ctx.connector.pool._connections) == [3, 3]
        gate.set()
        await second
