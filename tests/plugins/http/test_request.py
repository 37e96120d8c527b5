"""What is sent for an event: address, headers, body."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from typing import Any
from urllib.parse import unquote

import pytest

from headrace import UNDEFINED, DeliveryError
from headrace_plugins.http.request import join_paths

zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


class TestAddress:
    @pytest.mark.parametrize(
        ("base", "path", "joined"),
        [
            ("", "", "/"),
            ("", "?v=1", "/?v=1"),
            ("", "bar", "/bar"),
            ("/foo", "", "/foo"),
            ("/foo", "/bar", "/foo/bar"),
            ("/foo/", "bar", "/foo/bar"),
            ("/foo/", "/bar", "/foo/bar"),
            ("/foo", "?v=1", "/foo?v=1"),
            ("/", "", "/"),
            ("/", "/", "/"),
            ("/abc//", "//cde/", "/abc///cde/"),
            ("/abc/", "/cde", "/abc/cde"),
        ],
    )
    def test_has_one_slash_at_the_seam(self, base: str, path: str, joined: str) -> None:
        assert join_paths(base, path) == joined

    @pytest.mark.parametrize(
        ("suffix", "options", "columns", "target"),
        [
            ("/foo", {"path": "/bar"}, {}, "/foo/bar"),
            ("/foo/", {"path": "bar"}, {}, "/foo/bar"),
            ("/foo", {}, {}, "/foo"),
            ("", {}, {}, "/"),
            ("/foo", {"path": "?v=${qos}"}, {"qos": 1}, "/foo?v=1"),
            ("", {"path": "/d/${clientid}/${payload.room}"}, {"payload": '{"room": 7}'}, "/d/c1/7"),
            ("/devices/${clientid}/state", {"path": "x"}, {}, "/devices/c1/state/x"),
            ("", {"path": "/${topic}"}, {"topic": "a/b"}, "/a%2Fb"),
            ("", {"path": "/${topic|path}"}, {"topic": "a/b c"}, "/a/b%20c"),
            ("", {"path": "/${topic|raw}"}, {"topic": "a/b?c"}, "/a/b?c"),
            ("", {"path": "/a b/ü#x"}, {}, "/a%20b/%C3%BC%23x"),
            ("", {"path": "/100%25"}, {}, "/100%25"),
            ("/?key=K&x=1", {"path": "in"}, {}, "/in?key=K&x=1"),
            ("/?x=1", {"path": "in?y=2", "query": {"z": "3"}}, {}, "/in?x=1&y=2&z=3"),
            ("", {"query": {"a b": "c&d ${topic}", "n": 5}}, {"topic": "t/1"}, "/?a%20b=c%26d%20t%2F1&n=5"),
            ("", {"query": {"a": "${nope}", "b": "1"}}, {}, "/?a=null&b=1"),
            ("", {"query": {"a": "${nope}", "b": "1"}, "missing": "omit"}, {}, "/?b=1"),
            ("/x", {"query": {"a": "${nope}"}, "missing": "omit"}, {}, "/x"),
            ("", {"path": "/${nope}"}, {}, "/null"),
            ("", {"path": "/v1.0/..x/${clientid}"}, {}, "/v1.0/..x/c1"),
        ],
    )
    async def test_is_rendered(
        self, server: Any, client: Any, suffix: str, options: Any, columns: Any, target: str
    ) -> None:
        sink = await client.sink(server.url + suffix, **options)
        assert await client.deliver(sink, client.events(1, **columns)) == [None]
        assert server.seen[0].target == target

    async def test_takes_any_value_as_one_segment(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, path="/p/${payload.name}")
        await client.deliver(sink, client.events(1, json.dumps({"name": "a b/ä?#"})))
        assert len(server.seen) == 1
        prefix, value = server.seen[0].target.rsplit("/", 1)
        assert (prefix, unquote(value)) == ("/p", "a b/ä?#")

    @pytest.mark.parametrize("value", ["..", ".", "../admin", "a/../../b", "%2e%2E", "x/..?y"])
    async def test_cannot_be_left_by_dot_segments(self, server: Any, client: Any, value: str) -> None:
        sink = await client.sink(server.url, path="/d/${v|raw}")
        (error,) = await client.deliver(sink, client.events(1, v=value))
        assert error.kind == "invalid"
        assert not server.seen
        safe = await client.sink(server.url, path="/d/${v}")
        (error,) = await client.deliver(safe, client.events(1, v=value))
        assert (error is None) == (value in ("%2e%2E", "x/..?y"))  # these are one segment when encoded

    @pytest.mark.parametrize("value", ["a b", "a\r\nX: y", "ä", "#"])
    async def test_takes_no_raw_value_that_does_not_fit(self, server: Any, client: Any, value: str) -> None:
        sink = await client.sink(server.url, path="/d/${v|raw}")
        (error,) = await client.deliver(sink, client.events(1, v=value))
        assert error.kind == "invalid"
        assert "does not fit into a URL" in str(error)
        assert not server.seen

    async def test_is_looked_at_however_many_there_were(self, client: Any) -> None:
        sink = await client.sink("http://h", path="/d/${v}")
        (event,) = client.events()
        for n in range(9000):
            event.columns["v"] = f"{n % 4500}/x"
            assert sink.render(event)["url"] == f"http://h/d/{n % 4500}%2Fx"
        for value in ("..", "1/..", "1/x/.."):
            event.columns["v"] = value
            with pytest.raises(DeliveryError, match="would leave its place"):
                sink.render(event)


class TestHeaders:
    async def test_have_templates_in_name_and_value(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, headers={"x-t": "${topic}", "x-${payload.k}": "v"})
        await client.deliver(sink, client.events(1, '{"k":"dyn"}'))
        assert server.seen[0].header("x-t") == "t/1"
        assert server.seen[0].header("x-dyn") == "v"

    @pytest.mark.parametrize("own", [{"x-a": "2"}, {"X-A": "2"}, {"X-A": "${two}"}, {"X-${a}": "2"}])
    async def test_of_the_sink_replace_those_of_the_connector(self, server: Any, client: Any, own: Any) -> None:
        sink = await client.sink(server.url, {"headers": {"x-a": 1, "x-b": 1}}, headers=own)
        await client.deliver(sink, client.events(1, a="a", two=2))
        assert server.seen[0].header("x-a") == "2"
        assert server.seen[0].header("x-b") == "1"

    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\0", "\x7f"])
    async def test_that_would_break_out_are_left_out(
        self, server: Any, client: Any, caplog: pytest.LogCaptureFixture, value: str
    ) -> None:
        sink = await client.sink(server.url, headers={"x-h": "${payload.h}", "x-n${payload.h}": "1"})
        assert await client.deliver(sink, client.events(2, json.dumps({"h": value}))) == [None, None]
        assert server.seen[0].header("x-h") is None
        assert server.seen[0].header("x-evil") is None
        assert sink.ctx.metrics["headers_left_out"] == 4
        assert caplog.text.count("left out") == 1  # at most one line a minute

    @pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "a b"])
    async def test_of_a_rendered_name_cannot_frame_the_message(self, server: Any, client: Any, name: str) -> None:
        sink = await client.sink(server.url, headers={"${name}": "5"})
        assert await client.deliver(sink, client.events(1, name=name)) == [None]
        assert server.seen[0].header("transfer-encoding") is None
        assert json.loads(server.seen[0].body)["name"] == name

    async def test_are_left_out_when_their_value_is_missing_and_that_is_wanted(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, headers={"x-a": "${nope}", "x-b": "<${nope}>"}, missing="omit")
        await client.deliver(sink, client.events())
        assert server.seen[0].header("x-a") is None
        assert server.seen[0].header("x-b") == "<>"

    async def test_by_default_say_json_and_who_we_are(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url)
        await client.deliver(sink, client.events())
        seen = server.seen[0]
        assert seen.header("content-type") == "application/json"
        assert seen.header("host") == f"127.0.0.1:{server.port}"
        assert seen.header("user-agent").startswith("headrace/")

    async def test_given_by_the_user_win_over_the_defaults(self, server: Any, client: Any) -> None:
        own = {"Content-Type": "text/csv", "HOST": "other", "User-Agent": "me"}
        sink = await client.sink(server.url, {"headers": own})
        await client.deliver(sink, client.events())
        seen = server.seen[0]
        assert [seen.header(name) for name in own] == list(own.values())


class TestDeliveryId:
    async def test_is_the_same_for_all_attempts_of_one_event_only(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url)
        first, second = client.events(2)
        for event in (first, first, second):
            await client.deliver(sink, [event])
            event.attempt += 1
        ids = [seen.header("idempotency-key") for seen in server.seen]
        assert ids == [first.delivery_id, first.delivery_id, second.delivery_id]
        assert ids[0] != ids[2]

    async def test_has_a_header_of_any_name_or_none(self, server: Any, client: Any) -> None:
        event = client.events()[0]
        for options in ({"id_header": "X-Id"}, {"id_header": ""}, {"headers": {"idempotency-key": "mine"}}):
            await client.deliver(await client.sink(server.url, **options), [event])
        named, none, own = server.seen
        assert named.header("x-id") == event.delivery_id
        assert none.header("idempotency-key") is None
        assert own.header("idempotency-key") == "mine"


class TestBody:
    async def test_of_a_message_is_its_columns_as_json(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url)
        event = client.events(1, '{ "msg": "hello HTTP Server" }')[0]
        await client.deliver(sink, [event])
        assert json.loads(server.seen[0].body) == event.columns
        assert '"payload":"{ \\"msg\\": \\"hello HTTP Server\\" }"' in server.seen[0].body.decode()

    async def test_may_be_a_part_of_the_payload(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, body="${payload.msg}")
        await client.deliver(sink, client.events(1, '{ "msg": "hello HTTP Server" }'))
        assert server.seen[0].body == b"hello HTTP Server"

    @pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "OPTIONS"])
    async def test_is_not_sent_with_some_methods(self, server: Any, client: Any, method: str) -> None:
        sink = await client.sink(server.url, {"headers": {"Content-Type": "x/y"}}, method=method, body="${topic}")
        assert await client.deliver(sink, client.events()) == [None]
        seen = server.seen[0]
        assert (seen.method, seen.body) == (method, b"")
        assert seen.header("content-length") is None
        assert seen.header("content-type") is None

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    async def test_is_sent_with_others(self, server: Any, client: Any, method: str) -> None:
        sink = await client.sink(server.url, method=method, body="${topic}")
        await client.deliver(sink, client.events())
        assert (server.seen[0].method, server.seen[0].body) == (method, b"t/1")

    async def test_of_every_type_as_text(self, server: Any, client: Any) -> None:
        payload = '{"i":1,"f":1.5,"b":true,"n":null,"o":{"k":"v"},"l":["a",1],"s":"x\\"y"}'
        body = "a=${payload.i};b=${payload.f};c=${payload.b};d=${payload.n};e=${payload.o};f=${payload.l};"
        sink = await client.sink(server.url, body=body + "g=${nope};h=${payload.s}", missing="undefined")
        await client.deliver(sink, client.events(1, payload))
        assert server.seen[0].body == b'a=1;b=1.5;c=true;d=null;e={"k":"v"};f=["a",1];g=undefined;h=x"y'

    async def test_empty_differs_from_none(self, server: Any, client: Any) -> None:
        await client.deliver(await client.sink(server.url, body=""), client.events())
        await client.deliver(await client.sink(server.url), client.events())
        empty, whole = server.seen
        assert (empty.body, empty.header("content-length")) == (b"", "0")
        assert json.loads(whole.body)

    async def test_of_binary_payloads(self, server: Any, client: Any) -> None:
        await client.deliver(await client.sink(server.url), client.events(1, b"\xff\x00\xfe"))
        await client.deliver(await client.sink(server.url, body="${payload}"), client.events(1, b"\xff\x00\xfe"))
        marked, raw = server.seen
        assert json.loads(marked.body)["payload"] == "/wD+"
        assert json.loads(marked.body)["payload_is_base64"] is True
        assert raw.body == b"\xff\x00\xfe"

    async def test_from_a_tree_keeps_types(self, server: Any, client: Any) -> None:
        tree = {"device": "${clientid}", "n": "${payload.n}", "all": ["${payload.l}"]}
        sink = await client.sink(server.url, body=tree)
        await client.deliver(sink, client.events(1, '{"n":1.5,"l":[true]}'))
        assert json.loads(server.seen[0].body) == {"device": "c1", "n": 1.5, "all": [[True]]}

    @pytest.mark.parametrize(("missing", "name"), [("null", None), ("undefined", "undefined"), ("omit", "absent")])
    async def test_says_what_is_not_there_as_asked(self, server: Any, client: Any, missing: str, name: Any) -> None:
        sink = await client.sink(server.url, missing=missing)
        await client.deliver(sink, client.events(1, username=UNDEFINED))
        assert json.loads(server.seen[0].body).get("username", "absent") == name

    async def test_compressed_says_so(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, compression="gzip", body="${topic}")
        await client.deliver(sink, client.events())
        assert server.seen[0].header("content-encoding") == "gzip"
        assert gzip.decompress(server.seen[0].body) == b"t/1"

    async def test_zstd_says_so(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, compression="zstd", body="${payload}")
        assert await client.deliver(sink, client.events(2, b"x" * 10_000)) == [None, None]
        assert server.seen[0].header("content-encoding") == "zstd"
        assert len(server.seen[0].body) < 100
        assert zstd.decompress(server.seen[0].body) == b"x" * 10_000

    async def test_delete_has_one_if_told(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, method="DELETE", send_body=True, body="${topic}")
        await client.deliver(sink, client.events())
        assert (server.seen[0].method, server.seen[0].body) == ("DELETE", b"t/1")
        assert server.seen[0].header("content-type") == "application/json"

    async def test_post_has_none_if_told(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, {"pool_size": 1}, send_body=False, path="/${topic|path}")
        assert await client.deliver(sink, client.events(2)) == [None, None]
        assert [(seen.body, seen.header("content-length")) for seen in server.seen] == [(b"", "0")] * 2
        assert server.seen[0].header("content-type") is None

    async def test_longer_than_it_may_be_is_never_sent(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, max_body="1KB", compression="gzip", body="${payload}")
        events = client.events(1, b"x" * 1024) + client.events(1, b"x" * 1025)
        good, bad = await client.deliver(sink, events)
        assert good is None
        assert (bad.kind, str(bad)) == ("invalid", "the body has 1025 bytes, max_body is 1024")
        assert len(server.seen) == 1


async def test_an_event_that_cannot_be_sent_fails_alone(server: Any, client: Any) -> None:
    sink = await client.sink(server.url, body={"v": "${v}"}, missing="error")
    batch = client.events(3)
    for event in (batch[0], batch[2]):
        event.columns["v"] = 1
    good, bad, also_good = await client.deliver(sink, batch)
    assert good is also_good is None
    assert isinstance(bad, DeliveryError)
    assert (bad.kind, str(bad)) == ("invalid", "the event has no value for ${v}")
    assert len(server.seen) == 2
