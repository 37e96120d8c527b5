"""Addresses that are never connected to."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pydantic import ValidationError

from headrace import NotConnected
from headrace_plugins.http.config import HttpConnectorConfig
from headrace_plugins.http.guard import NETWORKS, Guard

EVERYTHING = tuple(NETWORKS)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::"),
        *("10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd12::1"),
        *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fe80::1%eth0", "fd00:ec2::254"),
        *("224.0.0.1", "255.255.255.255", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:a00:1", "2002:7f00:1::", "64:ff9b::10.0.0.1"),
    ],
)
def test_inner_addresses_are_denied_in_every_spelling(address: str) -> None:
    with pytest.raises(NotConnected, match=f"h is at {address}, which deny forbids"):
        Guard(EVERYTHING).allowed("h", [address])
    assert Guard(()).allowed("h", [address]) == [address]


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.2.1", "2001:db8::1", "64:ff9b::808:808", "::ffff:808:808"],
)
def test_outer_addresses_are_not(address: str) -> None:
    assert Guard(EVERYTHING).allowed("h", [address]) == [address]


def test_of_several_addresses_the_good_ones_are_used() -> None:
    guard = Guard(("private", "198.51.100.0/24"))
    assert guard.allowed("h", ["10.0.0.1", "192.0.2.1", "198.51.100.7", "127.0.0.1"]) == ["192.0.2.1", "127.0.0.1"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
async def test_a_denied_server_sees_no_connection(server: Any, client: Any, url: str) -> None:
    sink = await client.sink(url.format(port=server.port), {"deny": ["loopback"]})
    (error,) = await client.deliver(sink, client.events())
    assert error.kind == "network"
    assert "which deny forbids" in str(error)
    with pytest.raises(NotConnected, match="deny forbids"):
        await sink.ctx.connector.health()
    (step,) = await sink.ctx.connector.test()
    assert (step.name, step.ok) == ("dns", False)
    assert (await sink.trial(client.events()[0]))["ok"] is False
    assert server.connections == 0


async def test_a_name_that_changes_its_mind_is_not_asked_twice(
    server: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was looked at is the one that is connected to."""
    asked: list[Any] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "rebinding.example":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    sink = await client.sink(f"http://rebinding.example:{server.port}", {"deny": ["127.0.0.2/32"]})
    if type(sink.ctx.connector.pool.loop).__module__.startswith("uvloop"):
        pytest.skip("uvloop resolves names by itself")
    assert await client.deliver(sink, client.events()) == [None]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"deny": ["inner"]}, "'inner' is no network such as 10.0.0.0/8, and none of loopback, private"),
        ({"deny": ["10.0.0.1/8"]}, "no network"),
        ({"deny": ["private"], "proxy": "http://p:3128"}, "let the proxy deny"),
    ],
)
def test_what_makes_no_sense_is_refused(options: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        HttpConnectorConfig.model_validate({"url": "http://h", **options})
