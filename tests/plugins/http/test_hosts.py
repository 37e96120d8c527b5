"""Events that choose their host, of those that are allowed."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pydantic import ValidationError

from headrace_plugins.http.config import HttpConnectorConfig
from headrace_plugins.http.guard import host_allowed

ALLOWED = {"allow_hosts": ["localhost", "*.example.com"]}


def to(client: Any, *hosts: str) -> list[Any]:
    events = client.events(len(hosts))
    for event, host in zip(events, hosts, strict=True):
        event.columns["host"] = host
    return list(events)


async def test_an_allowed_host_gets_its_event_under_its_name(server: Any, client: Any) -> None:
    server.respond = lambda seen: server.answer(404 if seen.target == "/127.0.0.1" else 200)
    options = {"allow_hosts": ["localhost", "127.0.0.1"], "auth": {"bearer": "s3cret-token"}}
    sink = await client.sink(f"http://${{host}}:{server.port}", options, path="/${host}")
    good, bad, also_good = await client.deliver(sink, to(client, "localhost", "127.0.0.1", "LOCALHOST"))
    assert good is also_good is None
    assert (bad.status, bad.request["url"]) == (404, f"http://127.0.0.1:{server.port}/127.0.0.1")
    assert {(seen.header("host"), seen.connection) for seen in server.seen if seen.target == "/localhost"} == {
        (f"localhost:{server.port}", min(seen.connection for seen in server.seen if seen.target == "/localhost"))
    }
    connector = sink.ctx.connector
    connections = connector.ctx.metrics.snapshot()["connections"]
    await server.until(lambda: server.open >= connections)  # it may not have accepted the last one yet
    assert connections == server.open
    await connector.health()
    (step,) = await connector.test()
    assert step.detail == "not tried: events choose the host, of localhost, 127.0.0.1"
    event = to(client, "localhost")[0]
    assert sink.render(event)["url"] == f"http://localhost:{server.port}/localhost"
    assert (await sink.trial(event))["status"] == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "example.com", "localhost.evil.example", "localhost:80", "u@localhost", "a/localhost", ""),
        *("localhost\r\nhost: evil.example", "localhost#", "localhost?", "lócalhost", ".example.com", "-.example.com"),
        "[::1]",
    ],
)
async def test_any_other_host_is_never_sent_to(
    server: Any, client: Any, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args))
    sink = await client.sink(f"http://${{host}}:{server.port}", ALLOWED)
    (error,) = await client.deliver(sink, to(client, host))
    assert error.kind == "invalid"
    assert "is not among allow_hosts" in str(error)
    assert (server.connections, asked) == (0, [])
    assert (await sink.trial(to(client, host)[0]))["ok"] is False


async def test_joined_events_go_each_to_its_host(server: Any, client: Any) -> None:
    sink = await client.sink(f"http://${{host}}:{server.port}", {"allow_hosts": ["localhost", "127.0.0.1"]})
    await client.join(sink, to(client, "localhost", "127.0.0.1", "localhost"), "ndjson")
    assert sorted((seen.header("host").split(":")[0], len(seen.body.splitlines())) for seen in server.seen) == [
        ("127.0.0.1", 1),
        ("localhost", 2),
    ]


async def test_one_hosts_trouble_is_not_the_others(server: Any, client: Any) -> None:
    options = {"allow_hosts": ["localhost", "*.a.invalid"], "pool_type": "hash", "pool_size": 2}
    sink = await client.sink(f"http://${{host}}:{server.port}", options)
    good, bad = await client.deliver(sink, to(client, "localhost", "nowhere.a.invalid"))
    assert good is None
    assert bad.kind == "network"
    assert "cannot resolve the host of http://nowhere.a.invalid" in str(bad)


def test_patterns_mean_whole_names() -> None:
    patterns = ("a.example", "*.b.example")
    allowed = ["a.example", "x.b.example", "x.y.b.example"]
    refused = ["b.example", "xb.example", "xa.example", "a.example.evil", "*.b.example", "..b.example", "x..b.example"]
    assert [host for host in allowed + refused if host_allowed(host, patterns)] == allowed


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": "http://${h}"}, "literal unless allow_hosts"),
        ({"url": "http://h", **ALLOWED}, "whose host has placeholders"),
        ({"url": "http://h:${p}", **ALLOWED}, "a literal port"),
        ({"url": "http://${u}@h", **ALLOWED}, "placeholders"),
        ({"url": "http://${h|nope}", **ALLOWED}, "unknown filter"),
        ({"url": "http://${h}", **ALLOWED, "health_check": {}}, "needs a literal host"),
        ({"url": "http://${h}", "allow_hosts": ["*"]}, "is no host"),
        ({"url": "http://${h}", "allow_hosts": ["*.com"]}, "is no host"),
        ({"url": "http://${h}", "allow_hosts": ["http://h"]}, "is no host"),
    ],
)
def test_what_makes_no_sense_is_refused(options: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        HttpConnectorConfig.model_validate(options)
