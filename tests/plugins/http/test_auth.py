"""Who we are to a server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError

from headrace_plugins.http.config import HttpConnectorConfig


class TestConstant:
    @pytest.mark.parametrize(
        ("auth", "header", "value"),
        [
            ({"bearer": "t0ken-${x}$"}, "authorization", "Bearer t0ken-${x}$"),
            (
                {"basic": {"user": "Jürgen", "password": "a:b${c}"}},
                "authorization",
                "Basic " + base64.b64encode("Jürgen:a:b${c}".encode()).decode(),
            ),
            ({"api_key": {"key": "k1"}}, "x-api-key", "k1"),
            ({"api_key": {"key": "k1", "name": "Apikey"}}, "apikey", "k1"),
        ],
    )
    async def test_goes_into_a_header(self, server: Any, client: Any, auth: Any, header: str, value: str) -> None:
        sink = await client.sink(server.url, {"auth": auth, "health_check": {"interval": "1h"}})
        assert await client.deliver(sink, client.events(2)) == [None, None]
        await sink.ctx.connector.health()
        assert len(server.seen) >= 3
        assert {seen.header(header) for seen in server.seen} == {value}
        shown = {name.lower(): shown for name, shown in sink.render(client.events()[0])["headers"].items()}
        assert shown[header] == "******"

    async def test_goes_into_the_query(self, server: Any, client: Any) -> None:
        auth = {"api_key": {"key": "k&1=x", "name": "appid", "place": "query"}}
        server.default = server.answer(400)
        sink = await client.sink(f"{server.url}/?a=1", {"auth": auth}, query={"b": "${topic}"})
        (error,) = await client.deliver(sink, client.events())
        assert server.seen[0].target == "/?a=1&b=t%2F1&appid=k%261%3Dx"
        assert error.request["url"] == f"{server.url}/?a=1&b=t%2F1&appid=***"
        assert sink.render(client.events()[0])["url"] == error.request["url"]

    async def test_a_sinks_own_header_wins(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, {"auth": {"bearer": "a"}}, headers={"authorization": "own"})
        await client.deliver(sink, client.events())
        assert server.seen[0].header("authorization") == "own"

    async def test_an_answer_that_repeats_it_is_concealed(self, server: Any, client: Any) -> None:
        server.respond = lambda seen: server.answer(403, str(seen.fields).encode())
        sink = await client.sink(
            server.url,
            {"auth": {"basic": {"user": "u", "password": "hunter2!"}}, "headers": {"X-Token": "tok-123456"}},
            headers={"Cookie": "session=abcdef"},
        )
        (error,) = await client.deliver(sink, client.events())
        shown = error.answer.decode() + json.dumps(await sink.trial(client.events()[0]))
        for secret in ("hunter2", base64.b64encode(b"u:hunter2!").decode(), "tok-123456", "abcdef"):
            assert secret not in shown
        assert "Basic ***" in shown

    async def test_a_secret_across_the_end_of_what_is_shown_is_concealed_too(self, server: Any, client: Any) -> None:
        server.default = server.answer(403, b"x" * 500 + b"tok-" + b"9" * 600)
        sink = await client.sink(server.url, {"auth": {"bearer": "tok-" + "9" * 600}})
        (error,) = await client.deliver(sink, client.events())
        assert error.answer == b"x" * 500 + b"***"

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"auth": {}}, "give one of basic"),
            ({"auth": {"bearer": "x", "api_key": {"key": "k"}}}, "give one of basic"),
            ({"auth": {"bearer": "a\r\nX: y"}}, "line breaks"),
            ({"auth": {"bearer": ""}}, "is empty"),
            ({"auth": {"basic": {"user": "a:b", "password": ""}}}, "pattern"),
            ({"auth": {"api_key": {"key": "k", "name": "a b"}}}, "no header name"),
            ({"auth": {"bearer": "x"}, "headers": {"AUTHORIZATION": "y"}}, "give one of them"),
            ({"auth": {"bearer": "x"}, "url": "http://u:p@h"}, "give one of them"),
            (
                {"auth": {"oauth2": {"token_url": "ftp://x", "client_id": "i", "client_secret": "s"}}},
                "unsupported scheme",
            ),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, options: Any, text: str) -> None:
        with pytest.raises(ValidationError, match=text):
            HttpConnectorConfig.model_validate({"url": "http://h", **options})


class Endpoint:
    """A token endpoint: gives ``t1``, ``t2``, … and counts; and a server that takes only the newest."""

    def __init__(self, server: Any, tokens: Any) -> None:
        self.server, self.tokens = server, tokens
        self.given = 0
        self.life: Any = 3600
        self.valid: set[str] = set()
        tokens.respond = self.give
        server.respond = self.take

    def give(self, seen: Any) -> Any:
        self.given += 1
        self.valid = {f"Bearer t{self.given}"}
        answer = {"access_token": f"t{self.given}", "token_type": "Bearer", "expires_in": self.life}
        return self.tokens.answer(200, json.dumps(answer).encode(), "Content-Type: application/json")

    def take(self, seen: Any) -> Any:
        return self.server.answer(200 if seen.header("authorization") in self.valid else 401)

    def options(self, **more: Any) -> dict[str, Any]:
        oauth2 = {"token_url": f"{self.tokens.url}/token", "client_id": "me", "client_secret": "s3cr€t", **more}
        return {"auth": {"oauth2": oauth2}}

    @property
    def used(self) -> list[str]:
        return [seen.header("authorization") for seen in self.server.seen]


@pytest.fixture
async def endpoint(server: Any) -> AsyncIterator[Endpoint]:
    tokens = type(server)()
    await tokens.start()
    yield Endpoint(server, tokens)
    await tokens.stop()


class TestOAuth2:
    async def test_one_token_serves_all_requests(self, endpoint: Endpoint, client: Any) -> None:
        sink = await client.sink(endpoint.server.url, endpoint.options(scope="a b", parameters={"audience": "x"}))
        verdicts = await asyncio.gather(*[client.deliver(sink, client.events(10)) for _ in range(5)])
        assert verdicts == [[None] * 10] * 5
        assert set(endpoint.used) == {"Bearer t1"}
        (asked,) = endpoint.tokens.seen
        assert (asked.method, asked.target) == ("POST", "/token")
        assert asked.header("content-type") == "application/x-www-form-urlencoded"
        assert parse_qs(asked.body.decode()) == {
            "grant_type": ["client_credentials"],
            "scope": ["a b"],
            "audience": ["x"],
            "client_id": ["me"],
            "client_secret": ["s3cr€t"],
        }
        assert sink.render(client.events()[0])["headers"]["Authorization"] == "******"

    async def test_the_secret_may_go_into_a_header(self, endpoint: Endpoint, client: Any) -> None:
        sink = await client.sink(endpoint.server.url, endpoint.options(send="basic"))
        assert await client.deliver(sink, client.events()) == [None]
        (asked,) = endpoint.tokens.seen
        assert asked.header("authorization") == "Basic " + base64.b64encode(b"me:s3cr%E2%82%ACt").decode()
        assert b"secret" not in asked.body

    async def test_a_refused_token_is_replaced_once_and_nothing_is_lost(self, endpoint: Endpoint, client: Any) -> None:
        sink = await client.sink(endpoint.server.url, {**endpoint.options(), "pool_size": 4})
        assert await client.deliver(sink, client.events()) == [None]
        endpoint.valid = {"Bearer t2"}
        verdicts = await asyncio.gather(*[client.deliver(sink, client.events(10)) for _ in range(5)])
        assert verdicts == [[None] * 10] * 5
        assert endpoint.given == 2

    async def test_joined_events_are_sent_again_too(self, endpoint: Endpoint, client: Any) -> None:
        sink = await client.sink(endpoint.server.url, endpoint.options())
        await client.deliver(sink, client.events())
        endpoint.valid = {"Bearer t2"}
        await client.join(sink, client.events(5), "array")
        assert [len(json.loads(seen.body)) for seen in endpoint.server.seen[1:]] == [5, 5]

    async def test_a_server_that_refuses_every_token_costs_few(self, endpoint: Endpoint, client: Any) -> None:
        endpoint.server.respond = lambda seen: endpoint.server.answer(401)
        sink = await client.sink(endpoint.server.url, endpoint.options())
        for _ in range(20):
            (error,) = await client.deliver(sink, client.events())
            assert (error.kind, error.status) == ("status", 401)
        assert endpoint.given == 2

    async def test_is_renewed_at_four_fifths_of_its_life_while_it_is_used(
        self, endpoint: Endpoint, client: Any
    ) -> None:
        sink = await client.sink(endpoint.server.url, endpoint.options())
        await client.deliver(sink, client.events())
        tokens = sink.ctx.connector.tokens
        now = asyncio.get_running_loop().time()
        assert 0.79 * 3600 < tokens._token.renew_at - now <= 0.8 * 3600
        gate = asyncio.Event()
        answer = endpoint.tokens.answer(200, b'{"access_token": "t2", "expires_in": "60"}', wait=gate.wait)
        endpoint.tokens.respond = lambda seen: answer
        tokens._token = tokens._token._replace(renew_at=now)
        for _ in range(3):
            assert await client.deliver(sink, client.events()) == [None]
        await endpoint.tokens.until(lambda: len(endpoint.tokens.seen) == 2)
        endpoint.valid = {"Bearer t1", "Bearer t2"}
        gate.set()
        while tokens.line.endswith(b"t1\r\n"):
            await client.deliver(sink, client.events())
        await client.deliver(sink, client.events())
        assert endpoint.used[-1] == "Bearer t2"
        assert len(endpoint.tokens.seen) == 2

    async def test_a_renewal_that_fails_leaves_the_old_token_and_is_not_repeated_at_once(
        self, endpoint: Endpoint, client: Any, caplog: Any
    ) -> None:
        sink = await client.sink(endpoint.server.url, endpoint.options())
        await client.deliver(sink, client.events())
        endpoint.tokens.respond = lambda seen: endpoint.tokens.answer(500)
        tokens = sink.ctx.connector.tokens
        tokens._token = tokens._token._replace(renew_at=0.0)
        await client.deliver(sink, client.events())
        await endpoint.tokens.until(lambda: len(endpoint.tokens.seen) == 2 and endpoint.tokens.open == 0)
        for _ in range(5):
            assert await client.deliver(sink, client.events()) == [None]
        assert len(endpoint.tokens.seen) == 2
        assert "the old one is good for" in caplog.text

    async def test_an_expired_one_is_waited_for(self, endpoint: Endpoint, client: Any) -> None:
        endpoint.life = 1
        sink = await client.sink(endpoint.server.url, endpoint.options())
        await client.deliver(sink, client.events())
        tokens = sink.ctx.connector.tokens
        tokens._token = tokens._token._replace(expires_at=0.0)
        assert await client.deliver(sink, client.events(3)) == [None] * 3
        assert set(endpoint.used[1:]) == {"Bearer t2"}

    @pytest.mark.parametrize(
        ("status", "body", "text"),
        [
            (401, b'{"error": "invalid_client", "error_description": "s3cret"}', "it answered 401 invalid_client"),
            (200, b"<html>", "it answered 200, and no token"),
            (200, b'{"access_token": "a\\r\\nb"}', "it answered 200, and no token"),
            (200, b'["x"]', "it answered 200, and no token"),
            (503, b"", "it answered 503, and no token"),
        ],
    )
    async def test_no_token_is_an_outage_with_its_reason(
        self, endpoint: Endpoint, client: Any, status: int, body: bytes, text: str
    ) -> None:
        endpoint.tokens.respond = lambda seen: endpoint.tokens.answer(status, body)
        sink = await client.sink(endpoint.server.url, endpoint.options())
        with pytest.raises(Exception, match="no token") as caught:
            await sink.write(client.events(2), lambda *_: None)
        assert caught.value.kind == "network"
        assert str(caught.value) == f"no token from {endpoint.tokens.url}: {text}"
        assert endpoint.server.seen == []
        *_, last = await sink.ctx.connector.test()
        assert (last.name, last.ok) == ("http", False)
        assert text in last.detail

    async def test_an_endpoint_that_is_away_or_hangs_is_named(self, endpoint: Endpoint, client: Any) -> None:
        await endpoint.tokens.stop()
        sink = await client.sink(endpoint.server.url, endpoint.options())
        with pytest.raises(Exception, match=r"no token from .*: Connection refused by"):
            await sink.write(client.events(), lambda *_: None)
        await endpoint.tokens.start()
        endpoint.tokens.respond = lambda seen: endpoint.tokens.hang()
        sink = await client.sink(endpoint.server.url, endpoint.options(timeout="50ms"))
        with pytest.raises(Exception, match=r"no token from .*: no answer within 0.05 s"):
            await sink.write(client.events(), lambda *_: None)

    async def test_a_token_in_an_answer_is_concealed(self, endpoint: Endpoint, client: Any) -> None:
        answer = endpoint.tokens.answer(200, b'{"access_token": "eyJhbGciOi"}')
        endpoint.tokens.respond = lambda seen: answer
        endpoint.server.respond = lambda seen: endpoint.server.answer(403, str(seen.fields).encode())
        sink = await client.sink(endpoint.server.url, endpoint.options())
        (error,) = await client.deliver(sink, client.events())
        assert b"Bearer ***" in error.answer
        assert b"eyJ" not in error.answer
