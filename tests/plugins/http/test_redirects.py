"""Where a server sends us on to, and whether we go."""

from __future__ import annotations

from typing import Any

import pytest


async def test_nobody_follows_unless_told(server: Any, client: Any) -> None:
    server.default = server.answer(302, b"", "Location: /there?token=s3cret")
    (error,) = await client.deliver(await client.sink(server.url), client.events())
    assert (error.kind, error.status) == ("status", 302)
    assert str(error) == "the server answered 302 Found to /there?token=***"
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("pipelining", [1, 4])
async def test_the_same_request_goes_on_to_the_same_server(
    server: Any, client: Any, status: int, pipelining: int
) -> None:
    def respond(seen: Any) -> Any:
        if seen.target.startswith("/old"):
            return server.answer(status, b"moved", f"Location: ../new{seen.target[4:]}#part")
        return server.answer()

    server.respond = respond
    sink = await client.sink(
        f"{server.url}/old/", {"pool_size": 1, "pipelining": pipelining}, path="${topic}", redirects="follow"
    )
    batch = client.events(5)
    assert await client.deliver(sink, batch) == [None] * 5
    arrived = [seen for seen in server.seen if seen.target.startswith("/new")]
    assert sorted(seen.target for seen in arrived) == [f"/new/t%2F{i}" for i in range(1, 6)]
    assert sorted(seen.header("idempotency-key") for seen in arrived) == sorted(e.delivery_id for e in batch)
    assert all(seen.method == "POST" and seen.body for seen in arrived)


async def test_a_round_trip_of_redirects_comes_to_an_end(server: Any, client: Any) -> None:
    server.default = server.answer(307, b"", "Location: /round")
    (error,) = await client.deliver(await client.sink(server.url, redirects="follow"), client.events())
    assert (error.status, len(server.seen)) == (307, 6)
    assert error.request["url"] == f"{server.url}/round"


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:9/x", "https://127.0.0.1/x", "//evil.example/x", "http://127.0.0.1:1@evil.example/", ""],
)
async def test_no_other_server_gets_anything(server: Any, client: Any, location: str) -> None:
    server.default = server.answer(308, b"", f"Location: {location}")
    (error,) = await client.deliver(await client.sink(server.url, redirects="follow"), client.events())
    assert (error.kind, error.status, len(server.seen)) == ("status", 308, 1)


@pytest.mark.parametrize("location", ["/a b", "/ä"])
async def test_a_location_that_is_no_target_is_not_followed(server: Any, client: Any, location: str) -> None:
    server.default = server.answer(308, b"", f"Location: {location}".encode().decode("latin-1"))
    (error,) = await client.deliver(await client.sink(server.url, redirects="follow"), client.events())
    assert (error.status, len(server.seen)) == (308, 1)


async def test_303_means_that_it_was_taken_and_is_not_repeated(server: Any, client: Any) -> None:
    server.default = server.answer(303, b"", "Location: /result")
    sink = await client.sink(server.url, redirects="follow", success=["2xx", 303])
    assert await client.deliver(sink, client.events()) == [None]
    assert len(server.seen) == 1
