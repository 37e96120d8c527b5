"""Several events in one request."""

from __future__ import annotations

import gzip
import json
from hashlib import blake2b
from typing import Any

import pytest

from headrace import DeliveryError


@pytest.mark.parametrize(
    ("form", "body", "kind"),
    [
        ("array", b'["t/1","t/2"]', "application/json"),
        ("ndjson", b'"t/1"\n"t/2"\n', "application/x-ndjson"),
        ("lines", b'"t/1"\n"t/2"\n', "text/plain"),
    ],
)
async def test_a_batch_is_written_in_its_form(server: Any, client: Any, form: Any, body: bytes, kind: str) -> None:
    sink = await client.sink(server.url, body="${topic|json}")
    await client.join(sink, client.events(2), form)
    (seen,) = server.seen
    assert seen.body == body
    assert seen.header("content-type") == kind


async def test_a_batch_carries_the_hash_of_its_events_ids(server: Any, client: Any) -> None:
    sink = await client.sink(server.url)
    batch = client.events(3)
    await client.join(sink, batch, "array")
    await client.join(sink, batch, "array")
    ids = "\0".join(event.delivery_id for event in batch).encode()
    assert {seen.header("idempotency-key") for seen in server.seen} == {blake2b(ids, digest_size=16).hexdigest()}
    assert json.loads(server.seen[0].body) == [event.columns for event in batch]


async def test_a_batch_is_parted_by_address_and_headers(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, path="/${a}", headers={"x-b": "${b}"}, body="${n}")
    batch = client.events(5)
    for n, (event, (a, b)) in enumerate(zip(batch, ["xp", "yp", "xp", "xq", "yp"], strict=True)):
        event.columns.update(a=a, b=b, n=n)
    await client.join(sink, batch, "array")
    parts = {(seen.target, seen.header("x-b")): seen.body for seen in server.seen}
    assert parts == {("/x", "p"): b"[0,2]", ("/y", "p"): b"[1,4]", ("/x", "q"): b"[3]"}


async def test_what_the_server_says_is_told(server: Any, client: Any) -> None:
    server.default = server.answer(202, b"taken")
    assert await client.join(await client.sink(server.url), client.events(3)) == [(202, b"taken")]


async def test_a_refusal_fails_the_whole_request(server: Any, client: Any) -> None:
    server.default = server.answer(503)
    sink = await client.sink(server.url)
    with pytest.raises(DeliveryError) as caught:
        await client.join(sink, client.events(3), "ndjson")
    assert (caught.value.kind, caught.value.status) == ("status", 503)


@pytest.mark.parametrize("options", [{"body": "${v}"}, {"path": "/${v}"}])
async def test_an_event_nothing_can_be_made_of_says_so(client: Any, options: Any) -> None:
    sink = await client.sink("http://127.0.0.1:1", **options, missing="error")
    with pytest.raises(DeliveryError) as caught:
        sink.piece(client.events()[0], "array")
    assert caught.value.kind == "invalid"


async def test_a_batch_is_compressed_whole(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, body="${topic}", compression="gzip")
    await client.join(sink, client.events(2), "lines")
    assert gzip.decompress(server.seen[0].body) == b"t/1\nt/2\n"


async def test_requests_without_a_body_are_sent_one_by_one(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, method="GET", path="/${topic}")
    batch = client.events(3)
    await client.join(sink, batch, "array")
    assert sorted(seen.target for seen in server.seen) == ["/t%2F1", "/t%2F2", "/t%2F3"]
    assert {seen.header("idempotency-key") for seen in server.seen} == {event.delivery_id for event in batch}
