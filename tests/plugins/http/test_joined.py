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
    await sink.write_joined(client.events(2), form)
    (seen,) = server.seen
    assert seen.body == body
    assert seen.header("content-type") == kind


async def test_a_batch_carries_the_hash_of_its_events_ids(server: Any, client: Any) -> None:
    sink = await client.sink(server.url)
    batch = client.events(3)
    await sink.write_joined(batch, "array")
    await sink.write_joined(batch, "array")
    ids = "\0".join(event.delivery_id for event in batch).encode()
    assert {seen.header("idempotency-key") for seen in server.seen} == {blake2b(ids, digest_size=16).hexdigest()}
    assert json.loads(server.seen[0].body) == [event.columns for event in batch]


async def test_a_batch_is_parted_by_address_and_headers(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, path="/${a}", headers={"x-b": "${b}"}, body="${n}")
    batch = client.events(5)
    for n, (event, (a, b)) in enumerate(zip(batch, ["xp", "yp", "xp", "xq", "yp"], strict=True)):
        event.columns.update(a=a, b=b, n=n)
    await sink.write_joined(batch, "array")
    parts = {(seen.target, seen.header("x-b")): seen.body for seen in server.seen}
    assert parts == {("/x", "p"): b"[0,2]", ("/y", "p"): b"[1,4]", ("/x", "q"): b"[3]"}


async def test_a_failed_part_fails_the_batch(server: Any, client: Any) -> None:
    server.respond = lambda seen: server.answer(503 if seen.target == "/t%2F2" else 200)
    sink = await client.sink(server.url, path="/${topic}")
    with pytest.raises(DeliveryError) as caught:
        await sink.write_joined(client.events(3), "ndjson")
    assert (caught.value.kind, caught.value.status) == ("status", 503)


async def test_an_event_that_cannot_be_sent_fails_the_batch_before_anything_is_sent(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, body="${v}", missing="error")
    with pytest.raises(DeliveryError) as caught:
        await sink.write_joined(client.events(2), "array")
    assert caught.value.kind == "invalid"
    assert not server.seen


async def test_a_batch_is_compressed_whole(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, body="${topic}", compression="gzip")
    await sink.write_joined(client.events(2), "lines")
    assert gzip.decompress(server.seen[0].body) == b"t/1\nt/2\n"


async def test_requests_without_a_body_are_sent_one_by_one(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, method="GET", path="/${topic}")
    batch = client.events(3)
    await sink.write_joined(batch, "array")
    assert sorted(seen.target for seen in server.seen) == ["/t%2F1", "/t%2F2", "/t%2F3"]
    assert {seen.header("idempotency-key") for seen in server.seen} == {event.delivery_id for event in batch}
