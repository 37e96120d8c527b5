"""Signatures, checked as a receiver would."""

from __future__ import annotations

import base64
import gzip
import hmac
import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from headrace_plugins.http.config import HttpSinkConfig

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_" + base64.b64encode(b"the key before this one").decode()


def standard_signature(key: str, id: str, timestamp: str, body: bytes) -> str:
    secret = base64.b64decode(key.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(secret, f"{id}.{timestamp}.".encode() + body, "sha256")).decode()


async def test_standard_webhooks_has_a_signature_for_each_key(server: Any, client: Any) -> None:
    server.script = [server.answer(500)]
    sink = await client.sink(server.url, sign={"keys": [KEY, OLD]}, id_header="")
    (event,) = client.events(payload="ä")
    before = int(time.time())
    await client.deliver(sink, [event])
    await client.deliver(sink, [event])
    for seen in server.seen:
        id, timestamp = seen.header("webhook-id"), seen.header("webhook-timestamp")
        assert id == event.delivery_id
        assert before <= int(timestamp) <= time.time()
        signatures = seen.header("webhook-signature").split(" ")
        assert signatures == [standard_signature(key, id, timestamp, seen.body) for key in (KEY, OLD)]
    assert len(server.seen) == 2


async def test_the_bytes_that_are_sent_are_signed(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, sign={"keys": [KEY]}, compression="gzip", body="${payload}")
    await client.deliver(sink, client.events(payload=b"\x00\xff" * 500))
    (seen,) = server.seen
    assert gzip.decompress(seen.body) == b"\x00\xff" * 500
    expected = standard_signature(KEY, seen.header("webhook-id"), seen.header("webhook-timestamp"), seen.body)
    assert seen.header("webhook-signature") == expected


async def test_a_batch_is_signed_as_a_whole(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, sign={"keys": [KEY]})
    await client.join(sink, client.events(3), "ndjson")
    (seen,) = server.seen
    assert len(seen.body.splitlines()) == 3
    expected = standard_signature(KEY, seen.header("idempotency-key"), seen.header("webhook-timestamp"), seen.body)
    assert seen.header("webhook-signature") == expected


async def test_github_style_is_what_github_documents(server: Any, client: Any) -> None:
    sign = {"style": "github", "keys": ["It's a Secret to Everybody"]}
    sink = await client.sink(server.url, sign=sign, body="Hello, World!")
    await client.deliver(sink, client.events())
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert server.seen[0].header("x-hub-signature-256") == expected


async def test_custom_style_is_as_its_options_say(server: Any, client: Any) -> None:
    sign = {
        "style": "custom",
        "keys": ["one", "two"],
        "header": "X-Sig",
        "algorithm": "sha512",
        "encoding": "base64",
        "content": "${method}|${target}|${timestamp}|${id}|${body}",
        "value": "t=${timestamp},v1=${signature}",
        "timestamp_header": "X-Time",
    }
    sink = await client.sink(server.url, sign=sign, path="/${topic|path}", headers={"X-Sig": "mine", "x-time": "mine"})
    await client.deliver(sink, client.events())
    (seen,) = server.seen
    now = seen.header("x-time")
    signed = f"POST|/t/1|{now}|{seen.header('idempotency-key')}|".encode() + seen.body
    values = [f"t={now},v1={base64.b64encode(hmac.digest(key, signed, 'sha512')).decode()}" for key in (b"one", b"two")]
    assert seen.header("x-sig") == ", ".join(values)


async def test_a_request_without_a_body_is_signed_too(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, method="GET", sign={"style": "custom", "keys": ["k"], "content": "${target}"})
    await client.deliver(sink, client.events())
    assert server.seen[0].header("x-signature") == hmac.digest(b"k", b"/", "sha256").hex()


async def test_no_key_and_no_signature_is_shown(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, sign={"keys": [KEY]})
    shown = sink.render(client.events()[0])
    assert shown["headers"]["webhook-signature"] == "******"
    assert "MfKQ9r8" not in repr(sink.config) + sink.config.model_dump_json() + json.dumps(shown)


@pytest.mark.parametrize(
    ("sign", "text"),
    [
        ({}, "Field required"),
        ({"keys": []}, "at least 1"),
        ({"keys": [""]}, "a key is empty"),
        ({"keys": ["whsec_???"]}, "goes on in base64"),
        ({"keys": ["a", "b"], "style": "github"}, "room for one signature"),
        ({"keys": ["a"], "header": "X"}, "header is for style: custom"),
        ({"keys": ["a"], "style": "custom", "content": "${bdy}"}, r"there is no \$\{bdy\} here"),
        ({"keys": ["a"], "style": "custom", "value": "${body}"}, r"there is no \$\{body\} here"),
        ({"keys": ["a"], "style": "custom", "value": "a\r\nb"}, "printable"),
    ],
)
def test_what_makes_no_sense_is_refused(sign: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        HttpSinkConfig.model_validate({"sign": sign})
