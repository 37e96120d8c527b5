"""Strange events, sizes and peers, through a whole pipeline."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import importlib
import json
import random
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from feeding import feeding
from headrace import Event
from headrace.testing.context import make_event
from headrace.testing.pipelines import RunningPipeline, run_pipeline

zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
FAST = {"initial": "5ms", "max": "100ms"}


class Run:
    """A pipeline that copies everything to the sink ``out``."""

    def __init__(self, running: RunningPipeline, queue: asyncio.Queue[list[Event]]) -> None:
        self._running = running
        self._queue = queue

    async def put(self, *payloads: Any, **columns: Any) -> None:
        """Events with these payloads, of one device unless ``clientid`` says otherwise."""
        await self._queue.put([make_event(payload, **{"clientid": "d1", **columns}) for payload in payloads])

    async def settled(self, n: int, timeout: float = 20.0) -> dict[str, int]:
        status = await self._running.until(
            lambda status: sum(status["sinks"]["out"]["counters"][end] for end in ("success", "failed")) == n, timeout
        )
        counters: dict[str, int] = status["sinks"]["out"]["counters"]
        return counters

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        await self._running.until(condition)

    @property
    def reasons(self) -> list[str]:
        journal = self._running.pipeline.sinks["out"].journal
        return [entry["excerpt"] for entry in journal.entries(failures=True)]


@contextlib.asynccontextmanager
async def copying(url: str, sql: str = 'SELECT * FROM "#"', **sink: Any) -> AsyncIterator[Run]:
    queue: asyncio.Queue[list[Event]] = asyncio.Queue()
    config = {
        "sources": {"in": {"type": "feeding"}},
        "rules": {"all": {"sql": sql, "to": "out"}},
        "sinks": {"out": {"type": "http", "url": url, "retry": FAST, **sink}},
        "stream": {"url": "embedded://memory", "max_event_bytes": "32MB", "max_bytes": "128MB"},
    }
    async with run_pipeline(json.dumps(config), plugins=[feeding(queue)]) as running:
        yield Run(running, queue)


# -- values ---------------------------------------------------------------------------------------------------------

AWKWARD = [
    "", " ", "a b", "/", "a/b", "//", "%", "%2F", "100%", "%zz", "?", "#", "&", "=", "a&b=c", "+", ";", "\\", '"', "'",
    '"}', "\n", "\r\n", "a\r\nX-Evil: 1\r\n\r\n", "\t", "\0", "\x7f", "\x1f", "ä", "日本", "🙂", "\u2028", "e\u0301",
    "\ufeff", "${topic}", "${", "$", "{}", "<x>", "~!@$^*()_-,.:", ".", "..", "...", "a..b", "../x", "x/..", "a/./b",
    "%2e%2e", "..%2f", "null", "undefined", "x" * 5000, "ß" * 300,
]  # fmt: skip


def awkward() -> list[str]:
    """Those, and some by chance, of all kinds of characters."""
    chance = random.Random(5)
    kinds = ["/%?#&=+ .", "\r\n\t\0\x7f\x0b", "äß日🙂\u202e", "abc123", '"\\${}']
    lengths = [chance.randrange(1, 9) for _ in range(300)]
    return AWKWARD + ["".join(chance.choice(chance.choice(kinds)) for _ in range(length)) for length in lengths]


def escapes(value: str) -> bool:
    """Would it be, or contain, a segment that leads elsewhere?"""
    return any(part in (".", "..") for part in value.split("/"))


async def test_a_value_stays_what_it_is_wherever_it_is_put(server: Any) -> None:
    values = awkward()
    sink = {
        "path": "/p/${payload.v}/end?in=${payload.v}",
        "query": {"q": "${payload.v}"},
        "headers": {"X-V": "v:${payload.v}:v", "X-N": "${payload.n}"},
        "body": {"v": "${payload.v}", "text": "<${payload.v}>", "${payload.v}": 1},
    }
    async with copying(server.url, order="none", **sink) as run:
        await run.put(*[json.dumps({"v": value, "n": n}) for n, value in enumerate(values)])
        counters = await run.settled(len(values))
    arrived = {int(seen.header("x-n")): seen for seen in server.seen}
    refused = {n for n, value in enumerate(values) if escapes(value)}
    assert counters["failed"] == len(refused)
    assert len(server.seen) == len(arrived) == len(values) - len(refused)
    assert set(arrived) == set(range(len(values))) - refused
    for n, seen in arrived.items():
        check_place(seen, values[n])


def check_place(seen: Any, value: str) -> None:
    path, _, query = seen.target.partition("?")
    assert seen.target.isascii()
    assert seen.target.isprintable()
    start, _, rest = path.removeprefix("/").partition("/")
    middle, _, end = rest.rpartition("/")
    assert (start, unquote(middle), end) == ("p", value, "end"), value
    assert "/" not in middle
    assert parse_qs(query, keep_blank_values=True, strict_parsing=True) == {"in": [value], "q": [value]}
    held = seen.header("x-v")
    if any((ord(char) < 32 and char != "\t") or ord(char) == 127 for char in value):
        assert held is None
    else:
        assert held.encode("latin-1").decode() == f"v:{value}:v"
    assert seen.header("x-evil") is None
    assert json.loads(seen.body) == {"v": value, "text": f"<{value}>", value: 1}


async def test_filters_write_a_value_as_they_say(server: Any) -> None:
    body = '{"a": ${payload.v|json}, "b": "${payload.v|urlencode}", "c": "${payload.v|path}", "d": ${payload.n|json}}'
    values = [value for value in awkward() if "\0" not in value]
    async with copying(server.url, order="none", body=body) as run:
        await run.put(*[json.dumps({"v": value, "n": {"v": value}}) for value in values])
        assert (await run.settled(len(values)))["success"] == len(values)
    bodies = [json.loads(seen.body) for seen in server.seen]
    assert sorted(body["a"] for body in bodies) == sorted(values)
    for found in bodies:
        assert unquote(found["b"]) == unquote(found["c"]) == found["a"] == found["d"]["v"]
        assert "/" not in found["b"]
        assert found["c"].count("/") == found["a"].count("/")


async def test_a_text_that_is_json_stays_json(server: Any) -> None:
    body = '{"v": "${payload.v}", "whole": ${payload}, "n": ${payload.n}, "bare": ${payload.v}}'
    values = awkward()
    async with copying(server.url, order="none", body=body) as run:
        await run.put(*[json.dumps({"v": value, "n": n}) for n, value in enumerate(values)])
        assert (await run.settled(len(values)))["success"] == len(values)
    for found in [json.loads(seen.body) for seen in server.seen]:
        value = values[found["n"]]
        assert found == {"v": value, "whole": {"v": value, "n": found["n"]}, "n": found["n"], "bare": found["bare"]}
        assert found["bare"] == value or json.loads(value) == found["bare"]  # it is JSON as it is


@pytest.mark.parametrize("name", ["a b", "", "x\r\nEvil: 1", "x:", "ä", "content-length", "Transfer-Encoding", "(x)"])
async def test_a_header_is_not_named_by_what_is_no_name(server: Any, name: str) -> None:
    async with copying(server.url, headers={"${payload.k}": "v"}, body="hello") as run:
        await run.put(json.dumps({"k": name}))
        assert (await run.settled(1))["success"] == 1
        await run.until(lambda status: status["sinks"]["out"]["counters"]["headers_left_out"] == 1)
    (seen,) = server.seen
    assert seen.body == b"hello"
    assert not [field for field, value in seen.fields if value == "v"]


NOTHING = {"null": "null", "omit": "", "undefined": "undefined"}


@pytest.mark.parametrize("missing", ["null", "omit", "undefined", "error"])
@pytest.mark.parametrize("payload", ['{"there": null}', "no JSON", b"\xff\xfe", "[1]", "3"])
async def test_what_is_not_there_is_as_its_policy_says(server: Any, missing: str, payload: Any) -> None:
    sink = {
        "path": "/p/${payload.x}/e",
        "query": {"whole": "${payload.x}", "part": "a${payload.x}"},
        "headers": {"X-Whole": "${payload.x}", "X-Part": "a${payload.x}"},
        "body": {"whole": "${payload.x}", "part": "a${payload.x}", "list": ["${payload.x}", 1]},
    }
    async with copying(server.url, missing=missing, **sink) as run:
        await run.put(payload)
        counters = await run.settled(1)
        reasons = run.reasons
    if missing == "error":
        assert (counters["failed"], server.seen) == (1, [])
        assert reasons == ["the event has no value for ${payload.x}"]
        return
    word = NOTHING[missing]
    (seen,) = server.seen
    omit = missing == "omit"
    assert seen.target == f"/p/{word}/e?" + ("" if omit else f"whole={word}&") + f"part=a{word}"
    assert (seen.header("x-whole"), seen.header("x-part")) == (None if omit else word, f"a{word}")
    value = {"null": None, "undefined": "undefined"}.get(missing)
    whole = {} if omit else {"whole": value}
    assert json.loads(seen.body) == {**whole, "part": f"a{word}", "list": [1] if omit else [value, 1]}


# -- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("order", ["key", "none"])
async def test_bodies_from_nothing_to_16_mb_arrive_whole(server: Any, compression: str, order: str) -> None:
    sizes = [0, 1, 255, 1 << 10, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 20, 16 << 20]
    payloads = [random.Random(size).randbytes(min(size, 1 << 16)) * -(-size // (1 << 16)) for size in sizes]
    payloads = [payload[:size] for payload, size in zip(payloads, sizes, strict=True)]
    async with copying(server.url, body="${payload}", compression=compression, order=order) as run:
        for payload in payloads:
            await run.put(payload)
        assert (await run.settled(len(sizes), 60))["success"] == len(sizes)
    unpack = {"none": bytes, "gzip": gzip.decompress, "zstd": zstd.decompress}[compression]
    encoding = None if compression == "none" else compression
    assert {seen.header("content-encoding") for seen in server.seen} == {encoding}
    arrived = [unpack(seen.body) for seen in server.seen]
    assert (arrived if order == "key" else sorted(arrived, key=len)) == payloads


async def test_a_slow_reader_gets_everything(server: Any) -> None:
    """The server reads in small pieces, with pauses."""
    got = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(got) < length:
            got.extend(await reader.read(1 << 16))
            await asyncio.sleep(0.002)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    slow = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 12)
    url = f"http://127.0.0.1:{slow.sockets[0].getsockname()[1]}"
    async with copying(url, body="${payload}") as run:
        await run.put(b"s" * (4 << 20))
        counters = await run.settled(1)
    slow.close()
    assert (counters["success"], counters["errors"], len(got)) == (1, 0, 4 << 20)


@pytest.mark.parametrize("status", [200, 413])
async def test_an_answer_before_the_whole_request_counts_and_the_next_goes_on(server: Any, status: int) -> None:
    server.read_body = False
    server.script = [server.answer(status, b"enough")]
    async with copying(server.url, body="${payload}", pool_size=1) as run:
        await run.put(b"x" * (16 << 20))
        counters = await run.settled(1)
        assert counters["success" if status == 200 else "failed"] == 1
        server.read_body = True
        await run.put(b"y")
        await run.settled(2)
    assert [seen.body for seen in server.seen[1:]] == [b"y"]


# -- peers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelining", [1, 8])
async def test_a_server_that_closes_after_every_third_answer_costs_nothing(server: Any, pipelining: int) -> None:
    answered: dict[int, int] = {}

    def respond(seen: Any) -> Any:
        answered[seen.connection] = answered.get(seen.connection, 0) + 1
        return server.answer(close=answered[seen.connection] == 3)  # without a word about it

    server.respond = respond
    async with copying(server.url, pipelining=pipelining, pool_size=2, body="${payload}") as run:
        for n in range(60):
            await run.put(str(n), clientid=f"d{n % 6}")
        counters = await run.settled(60)
    assert (counters["success"], counters["errors"]) == (60, 0)
    first = list(dict.fromkeys(int(seen.body) for seen in server.seen))
    for device in range(6):
        assert [n for n in first if n % 6 == device] == list(range(device, 60, 6))


@pytest.mark.parametrize("greeting", [b"220 hello\r\n", b"SSH-2.0-x\r\n", b"\0", b"<html>"])
async def test_a_server_that_speaks_first_is_no_http_server(server: Any, greeting: bytes) -> None:
    server.on_connect = lambda writer: writer.write(greeting)
    async with copying(server.url) as run:
        await run.put("1", "2")
        await run.until(lambda status: status["sinks"]["out"]["counters"]["errors"] >= 2)
        server.on_connect = None
        assert (await run.settled(2))["success"] == 2


async def test_a_tls_port_that_never_answers_the_handshake_is_an_outage(server: Any, pki: Path) -> None:
    hold = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.close()

    mute = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    tls = {"ca": str(pki / "ca.pem")}
    async with copying(f"https://127.0.0.1:{port}", tls=tls, connect_timeout="100ms") as run:
        await run.put("1", "2")
        await run.until(lambda status: status["sinks"]["out"]["counters"]["errors"] >= 2)
        assert "no connection to https://127.0.0.1" in run.reasons[0]
        mute.close()
        hold.set()
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(pki / "server.pem", pki / "server.key")
        await server.stop()
        await server.start(port)
        assert (await run.settled(2))["success"] == 2


@pytest.mark.parametrize("secure", ["other"], indirect=True)
async def test_a_certificate_of_another_name_sends_nothing(secure: Any, pki: Path) -> None:
    async with copying(secure.url, tls={"ca": str(pki / "ca.pem")}) as run:
        await run.put("1")
        await run.until(lambda status: status["sinks"]["out"]["counters"]["errors"] >= 2)
        assert "is not accepted: IP address mismatch" in run.reasons[0]
        secure.tls.load_cert_chain(pki / "server.pem", pki / "server.key")
        assert (await run.settled(1))["success"] == 1
    assert len(secure.seen) == 1


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_tls_that_breaks_off_loses_nothing(secure: Any, pki: Path, how: str) -> None:
    half = secure.answer(200, b"half", "Content-Length: 9", close=True)
    secure.script = [secure.answer(), {"close": secure.close(), "reset": secure.reset(), "half": half}[how]]
    async with copying(secure.url, tls={"ca": str(pki / "ca.pem")}, pool_size=1, body="${payload}") as run:
        await run.put("1", "2", "3")
        assert (await run.settled(3))["success"] == 3
    assert [seen.body for seen in secure.seen] == [b"1", b"2", b"2", b"3"]


async def test_a_server_that_takes_half_of_a_large_request_and_goes_gets_it_again(server: Any) -> None:
    broken = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal broken
        broken += 1
        await reader.readexactly(1 << 20)
        writer.transport.abort()

    port = server.port
    await server.stop()
    half = await asyncio.start_server(serve, "127.0.0.1", port)
    async with copying(server.url, body="${payload}") as run:
        await run.put(b"z" * (8 << 20))
        await run.until(lambda status: status["sinks"]["out"]["counters"]["errors"] >= 2)
        half.close()
        await half.wait_closed()
        await server.start(port)
        assert (await run.settled(1))["success"] == 1
    assert len(server.seen[0].body) == 8 << 20
    assert broken >= 2
