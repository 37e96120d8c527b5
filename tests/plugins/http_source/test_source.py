"""The source ``http``: what is taken, when it is answered, what is refused."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json

import aiohttp
import pytest
from pydantic import ValidationError

from headrace import passwords
from headrace.testing import make_context
from headrace.testing.contracts import SourceContract
from headrace.testing.pipelines import run_pipeline
from headrace_plugins.http_source import HttpSource

JSON = {"Content-Type": "application/json"}


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


class TestContract(SourceContract):
    @pytest.fixture
    def source(self):
        return HttpSource(HttpSource.Config(listen="127.0.0.1:0"), make_context("in"))

    @pytest.fixture
    async def produce(self, source, post):
        posting = []

        async def produce():
            posting.append(post.start(source, "t/1", b"x"))
            async with asyncio.timeout(10):
                while not source._unread:
                    await asyncio.sleep(0.001)

        yield produce
        for task in posting:
            task.cancel()
        await asyncio.gather(*posting, return_exceptions=True)


async def test_the_answer_waits_for_the_stream(serve, post):
    source = await serve()
    answer = post.start(source, "plant/7", b'{"a": 1.0}', headers=JSON)
    (event,), ack = await source.read()
    await asyncio.sleep(0)
    assert not answer.done()
    ack(None)
    status, body, _ = await answer
    assert (status, body) == (202, {"accepted": 1})
    assert event.columns == {
        "event": "message.publish",
        "id": event.id,
        "topic": "plant/7",
        "payload": '{"a": 1.0}',
        "qos": 1,
        "flags": {"retain": False, "dup": False},
        "pub_props": {"Content-Type": "application/json"},
        "peerhost": "127.0.0.1",
        "peername": event["peername"],
        "publish_received_at": event.timestamp,
        "timestamp": event.timestamp,
        "node": event["node"],
    }
    assert event.key == "plant/7"
    assert event.json() == {"a": 1.0}


async def test_what_the_stream_refuses_is_to_be_sent_again(serve, post):
    source = await serve(retry_after="3s")
    answer = post.start(source, "t/1")
    _, ack = await source.read()
    ack(RuntimeError("disk full"))
    status, body, headers = await answer
    assert (status, headers["Retry-After"]) == (503, "3")
    assert "disk full" in body["error"]


async def test_a_batch_is_one_answer_and_many_events(serve, post):
    source = await serve(clientid_header="X-Device", headers=("X-Kind", "X-None"))
    body = b"".join(b'{"n": %d}\n' % n for n in range(600))
    headers = {"Content-Type": "application/x-ndjson", "X-Device": "dev7", "x-kind": "meter"}
    answer = post.start(source, "t/1", body, headers=headers)
    events, ack = await source.read()
    ack(None)
    assert (await answer)[1] == {"accepted": 600}
    assert [event.json()["n"] for event in events] == list(range(600))
    assert len({event.id for event in events}) == 600
    assert events[0]["clientid"] == events[0].key == "dev7"
    assert events[0]["headers"] == {"x-kind": "meter"}


async def test_requests_that_wait_are_read_together(serve, post):
    source = await serve()
    answers = [post.start(source, f"t/{n}", b"x") for n in range(10)]
    while len(source._unread) < 10:
        await asyncio.sleep(0.001)
    events, ack = await source.read()
    ack(None)
    assert len(events) == 10
    assert {(await answer)[0] for answer in answers} == {202}


async def test_an_empty_batch_is_taken_at_once(serve, post):
    source = await serve()
    assert (await post(source, "t/1", b"[]", headers=JSON))[:2] == (202, {"accepted": 0})


async def test_gzip_is_read_and_bounded(serve, post):
    source = await serve(max_body="64KB")
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    answer = post.start(source, "t/1", gzip.compress(b"hello"), headers=headers)
    (event,), ack = await source.read()
    ack(None)
    assert (await answer)[0] == 202
    assert event["payload"] == "hello"
    status, _, _ = await post(source, "t/1", gzip.compress(b"\0" * (8 << 20)), headers=headers)
    assert status == 413


@pytest.mark.parametrize(
    ("topic", "data", "headers", "status", "why"),
    [
        ("t/1", b"{", JSON, 400, "not JSON"),
        ("t/1", b"1\n{", {"Content-Type": "application/x-ndjson"}, 400, "line 2"),
        ("t/%23", b"x", {}, 400, "wildcard"),
        ("$SYS/x", b"x", {}, 400, "begins with"),
        ("t/1", b"x" * 5000, {}, 413, "more than 4096 bytes"),
    ],
)
async def test_a_bad_request_is_told_why(serve, post, topic, data, headers, status, why):
    source = await serve(max_body="4KB")
    got, body, _ = await post(source, topic, data, headers=headers)
    assert got == status
    assert why in body["error"]
    assert not source._unread
    assert sum(n for name, n in source.ctx.metrics.counters.items() if name.startswith("requests.")) == 1


async def test_a_chunked_body_is_bounded_too(serve, post):
    source = await serve(max_body="4KB")

    async def chunks():
        for _ in range(8):
            yield b"x" * 1024

    assert (await post(source, "t/1", chunks()))[0] == 413


async def test_a_full_buffer_asks_to_wait_and_room_comes_back(serve, post):
    source = await serve(buffer="64KB", max_body="64KB")
    first = post.start(source, "t/1", b"x" * 60_000)
    _, ack = await source.read()
    status, body, headers = await post(source, "t/1", b"y" * 10_000)
    assert (status, headers["Retry-After"]) == (429, "1")
    assert "full" in body["error"]
    assert source.ctx.metrics["requests.no_room"] == 1
    ack(None)
    assert (await first)[0] == 202
    again = post.start(source, "t/1", b"y" * 10_000)
    _, ack = await source.read()
    ack(None)
    assert (await again)[0] == 202


async def test_who_nobody_reads_is_sent_away_and_leaves_nothing(serve, post):
    source = await serve(timeout="50ms")
    status, _, headers = await post(source, "t/1")
    assert (status, headers["Retry-After"]) == (503, "1")
    assert not source._unread
    assert not source._unsettled


async def test_requests_are_bounded_in_number(serve, post):
    source = await serve(max_requests=2)
    waiting = [post.start(source, "t/1") for _ in range(2)]
    while len(source._unread) < 2:
        await asyncio.sleep(0.001)
    status, _, headers = await post(source, "t/1")
    assert (status, headers["Retry-After"]) == (503, "1")
    _, ack = await source.read()
    ack(None)
    assert [(await answer)[0] for answer in waiting] == [202, 202]


async def test_a_token_lets_in_and_nothing_else_does(serve, post):
    source = await serve(token="s3cret")
    for header in ("", "Bearer wrong", "Bearer ", "Basic czNjcmV0", "s3cret", "Bearer s3cret2", "Bearer \xff"):
        status, _, headers = await post(source, "t/1", headers={"Authorization": header})
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), header
    assert source.ctx.metrics["requests.unauthorized"] == 7
    answer = post.start(source, "t/1", headers={"Authorization": "bearer s3cret"})
    _, ack = await source.read()
    ack(None)
    assert (await answer)[0] == 202
    assert "s3cret" not in repr(source.config)


async def test_users_come_in_by_name_and_password(serve, post, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{passwords.hash_password('pa:ss')}\n")
    source = await serve(users=users)
    for name, password in (("alice", "wrong"), ("bob", "pa:ss")):
        status, _, headers = await post(source, "t/1", headers=basic(name, password))
        assert (status, headers["WWW-Authenticate"][:5]) == (401, "Basic")
    assert (await post(source, "t/1", headers={"Authorization": "Basic ***"}))[0] == 401
    answer = post.start(source, "t/1", headers=basic("alice", "pa:ss"))
    (event,), ack = await source.read()
    ack(None)
    assert (await answer)[0] == 202
    assert event["username"] == "alice"


async def test_other_paths_and_methods_are_none(serve, post):
    source = await serve()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{source.address}/in/t/1") as answer:
            assert answer.status == 405
        async with session.post(f"http://{source.address}/t/1") as answer:
            assert answer.status == 404


async def test_closing_sends_away_who_waits(serve, post):
    source = await serve()
    read, unread = post.start(source, "t/1"), None
    _, ack = await source.read()
    unread = post.start(source, "t/2")
    while not source._unread:
        await asyncio.sleep(0.001)
    await source.close()
    assert [(await answer)[0] for answer in (read, unread)] == [503, 503]
    ack(None)


async def test_tls(serve, certificates):
    source = await serve(tls={"cert": certificates.server, "key": certificates.server_key})
    async with aiohttp.ClientSession() as session:
        url = f"https://localhost:{source.address.rpartition(':')[2]}/in/t/1"
        answer = asyncio.create_task(session.post(url, data=b"x", ssl=certificates.context()))
        (event,), ack = await source.read()
        ack(None)
        assert (await answer).status == 202
        assert event["payload"] == "x"


async def test_a_port_that_is_taken_is_said(serve):
    source = await serve()
    second = HttpSource(HttpSource.Config(listen=source.address), make_context("second"))
    with pytest.raises(Exception, match=r"cannot listen on 127\.0\.0\.1"):
        await second.open()
    await second.close()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"listen": ":8090"}, "give `token` or `users`"),
        ({"listen": "8090"}, "host:port"),
        ({"token": ""}, "protects nothing"),
        ({"token": "x", "anonymous": True}, "one or the other"),
        ({"max_body": "2MB", "buffer": "1MB"}, "room for one body"),
    ],
)
def test_wrong_options_are_refused(options, why):
    with pytest.raises(ValidationError, match=why):
        HttpSource.Config(**options)


async def test_a_pipeline_takes_posts_and_counts_them(tmp_path, post):
    out = tmp_path / "out.jsonl"
    text = f"""
sources: {{web: {{type: http, listen: "127.0.0.1:0"}}}}
rules: {{all: {{sql: SELECT payload.n AS n FROM "t/#", to: out}}}}
sinks: {{out: {{type: file, path: "{out}"}}}}
"""
    async with run_pipeline(text) as running:
        source = running.pipeline.sources["web"].source
        await running.until(lambda s: s["sources"]["web"]["state"] == "running")
        body = json.dumps([{"n": n} for n in range(50)]).encode()
        assert (await post(source, "t/1", body, headers=JSON))[:2] == (202, {"accepted": 50})
        assert (await post(source, "other", body, headers=JSON))[0] == 202, "no rule reads it: taken, and counted"
        status = await running.until(lambda s: s["sinks"]["out"]["counters"]["success"] == 50)
    counters = status["sources"]["web"]["counters"]
    assert (counters["appended"], counters["rejected.no_rule"], counters["requests.accepted"]) == (50, 50, 2)
    assert [json.loads(line)["n"] for line in out.read_text().splitlines()] == list(range(50))
