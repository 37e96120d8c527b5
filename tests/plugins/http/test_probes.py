"""What a stranger would try, first half: the walk-through, and what a request is made of.

Each test has the number of its probe, and the numbers in it are the probe's. 4 to 6, 39 to 43 and 45 are about the
management API. These are also, or in more detail, in test_request.py.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from headrace.config import check
from probing import DELIVERED, HELLO, ONE_ACTION, probing

# -- the seed's walk-through ------------------------------------------------------------------------------------------


async def test_1_a_publish_is_one_post_of_the_whole_event(server: Any) -> None:
    async with probing(server.url) as probe:
        await probe.publish("t/1", HELLO)
        assert await probe.settled(1) == DELIVERED
        assert probe.rule() == ONE_ACTION
        assert probe.retried() == 0
    (seen,) = server.seen
    body = json.loads(seen.body)
    assert (seen.method, seen.target, seen.header("content-type")) == ("POST", "/", "application/json")
    assert (body["topic"], body["payload"], body["event"]) == ("t/1", HELLO, "message.publish")


async def test_2_a_body_of_a_field_is_its_bytes(server: Any) -> None:
    async with probing(server.url, body="${payload.msg}") as probe:
        await probe.publish("t/1", HELLO)
        await probe.settled(1)
    assert server.seen[0].body == b"hello HTTP Server"


async def test_3_another_topic_moves_nothing(server: Any) -> None:
    async with probing(server.url) as probe:
        await probe.publish("x/1", HELLO)
        await probe.publish("t/1", HELLO)  # so that the first has been seen too
        assert await probe.settled(1) == DELIVERED
        assert probe.rule() == ONE_ACTION
    assert [json.loads(seen.body)["topic"] for seen in server.seen] == ["t/1"]


# -- building a request -----------------------------------------------------------------------------------------------

EVERY_KIND = '{"i":1,"f":1.5,"b":true,"n":null,"o":{"k":"v"},"l":["a",1],"s":"x\\"y"}'
AS_TEXT = (
    "a=${payload.i};b=${payload.f};c=${payload.b};d=${payload.n};e=${payload.o};f=${payload.l};g=${nope};h=${payload.s}"
)


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        pytest.param("/foo", "/bar", "/foo/bar", id="7a"),
        pytest.param("/foo/", "bar", "/foo/bar", id="7b"),
        pytest.param("/foo", "", "/foo", id="7c"),
        pytest.param("", "", "/", id="7d"),
        pytest.param("/foo", "?v=${qos}", "/foo?v=1", id="8"),
        pytest.param("", "/d/${clientid}/${payload.room}", "/d/dev1/7", id="9"),
    ],
)
async def test_targets(server: Any, base: str, path: str, target: str) -> None:
    async with probing(server.url + base, path=path) as probe:
        await probe.publish("t/1", '{"room": 7}')
        assert await probe.settled(1) == DELIVERED
    assert [seen.target for seen in server.seen] == [target]


async def test_10_a_value_stays_one_segment_of_the_path(server: Any) -> None:
    async with probing(server.url, path="/p/${payload.name}") as probe:
        await probe.publish("t/1", json.dumps({"name": "a b/ä?#"}))
        await probe.settled(1)
    (seen,) = server.seen
    assert seen.target.count("/") == 2
    assert unquote(seen.target) == "/p/a b/ä?#"


async def test_11_headers_have_templates_in_name_and_value(server: Any) -> None:
    async with probing(server.url, headers={"x-t": "${topic}", "x-${payload.k}": "v"}) as probe:
        await probe.publish("t/1", '{"k":"dyn"}')
        await probe.settled(1)
    assert (server.seen[0].header("x-t"), server.seen[0].header("x-dyn")) == ("t/1", "v")


@pytest.mark.parametrize("name", ["x-a", "X-A"])
async def test_12_the_actions_header_wins_whatever_its_case(server: Any, name: str) -> None:
    async with probing(server.url, connector={"headers": {"x-a": "1", "x-b": "1"}}, headers={name: "2"}) as probe:
        await probe.publish("t/1", "x")
        await probe.settled(1)
    assert (server.seen[0].header("x-a"), server.seen[0].header("x-b")) == ("2", "1")


async def test_13_a_header_cannot_be_broken_out_of(server: Any) -> None:
    async with probing(server.url, headers={"x-h": "${payload.h}"}) as probe:
        await probe.publish("t/1", json.dumps({"h": "a\r\nX-Evil: 1"}))
        assert await probe.settled(1) == {**DELIVERED, "headers_left_out": 1}
    assert (server.seen[0].header("x-h"), server.seen[0].header("x-evil")) == (None, None)


@pytest.mark.parametrize(("method", "body"), [("get", b""), ("delete", b""), ("put", b"t/1")])
async def test_14_get_and_delete_have_no_body(server: Any, method: str, body: bytes) -> None:
    async with probing(server.url, method=method, body="${topic}") as probe:
        await probe.publish("t/1", "x")
        await probe.settled(1)
    assert (server.seen[0].method, server.seen[0].body) == (method.upper(), body)


def test_14_patch_is_not_emqxs(tmp_path: Any) -> None:
    (tmp_path / "p.yaml").write_text("sinks: {a1: {type: http, url: 'http://h', profile: emqx, method: patch}}")
    errors = [str(problem) for problem in check([tmp_path / "p.yaml"]).problems if problem.severity == "error"]
    assert len(errors) == 1
    assert "PATCH is not for profile: emqx" in errors[0]


async def test_15_a_whole_output_is_json(server: Any) -> None:
    async with probing(server.url, 'SELECT clientid, payload.t AS t FROM "t/#"', body="${.}") as probe:
        await probe.publish("t/1", '{"t": 21.5}')
        await probe.settled(1)
    assert json.loads(server.seen[0].body) == {"clientid": "dev1", "t": 21.5}


@pytest.mark.parametrize(
    ("body", "payload", "sent"),
    [
        pytest.param(AS_TEXT, EVERY_KIND, b'a=1;b=1.5;c=true;d=null;e={"k":"v"};f=["a",1];g=undefined;h=x"y', id="16"),
        pytest.param("${$}{a} ${a-b} ${ a }", "x", b"${a} ${a-b} ${ a }", id="17"),
        pytest.param("", "x", b"", id="18"),
        pytest.param("${payload}", b"\xff\x00\xfe", b"\xff\x00\xfe", id="19"),
    ],
)
async def test_bodies(server: Any, body: str, payload: str | bytes, sent: bytes) -> None:
    async with probing(server.url, body=body) as probe:
        await probe.publish("t/1", payload)
        assert await probe.settled(1) == DELIVERED
    assert server.seen[0].body == sent
    assert server.seen[0].header("content-length") == str(len(sent))


async def test_18_an_empty_body_is_not_no_body(server: Any) -> None:
    for options in ({"body": ""}, {}):
        async with probing(server.url, **options) as probe:
            await probe.publish("t/1", "x")
            assert await probe.settled(1) == DELIVERED
    empty, whole = server.seen
    assert (empty.body, empty.header("content-length")) == (b"", "0")
    assert json.loads(whole.body)["payload"] == "x"


async def test_19_bytes_in_json_say_that_they_are_base64(server: Any) -> None:
    async with probing(server.url) as probe:
        await probe.publish("t/1", b"\xff\x00\xfe")
        await probe.settled(1)
    body = json.loads(server.seen[0].body)
    assert body["payload_is_base64"] is True
    assert base64.b64decode(body["payload"]) == b"\xff\x00\xfe"


@pytest.mark.parametrize(("profile", "username"), [("emqx", "undefined"), ("headrace", None)])
async def test_20_no_user_name_is_undefined_or_null(server: Any, profile: str, username: str | None) -> None:
    async with probing(server.url, profile=profile) as probe:
        await probe.publish("t/1", "x")
        await probe.settled(1)
    assert json.loads(server.seen[0].body)["username"] == username


def test_every_probe_has_a_test() -> None:
    texts = [file.read_text() for file in Path(__file__).parent.glob("test_probes*.py")]
    found = {int(n) for text in texts for n in re.findall(r'def test_(\d+)_|id="(\d+)', text) for n in n if n}
    assert found == {1, 2, 3, *range(7, 39), 44}
