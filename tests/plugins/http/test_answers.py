"""What a server may say to one request of a running pipeline, and what becomes of that request's event.

Whatever it is, the other events arrive, each once, and every event is accounted for at every look.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from headrace.testing.pipelines import run_pipeline

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
DELIVERED = {
    "without a reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "an empty reason": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    "line feeds only": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "empty lines before": b"\r\n\r\n" + OK,
    "an empty line after": OK + b"\r\n",
    "204 with a body": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "204 in chunks": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "205 with a body": b"HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 that stays": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 in chunks": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "many notices before": b"HTTP/1.1 102 Processing\r\n\r\n" * 50 + OK,
    "a notice with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + OK,
    "an offer to upgrade": b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
    "chunk extensions, trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'2;a="b;c"\r\nok\r\n0;z\r\nX-T: 1\r\n\r\n',
    "chunks with spaces": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n",
    "chunks in capitals": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n00A\r\n0123456789\r\n000\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a length in the trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n",
    "space before a colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "a folded header": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "letters beyond ASCII": "HTTP/1.1 200 Schön\r\nX-A: ü\r\nContent-Length: 2\r\n\r\nok".encode(),
    "a header of 100 kB": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "5,000 headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"Content-Length: 2\r\n\r\nok",
    "a body of 4 MB": b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n" + b"z" * (4 << 20),
    "close, and stays open": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "close in a list": b"HTTP/1.1 200 OK\r\nConnection: x, Close , y\r\nContent-Length: 2\r\n\r\nok",
}
AGAIN = {
    "408 and close": (b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "4xx"),
    "425": (b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n", "4xx"),
    "500 in chunks": (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", "5xx"),
    "a wait for ever": (b"HTTP/1.1 503 X\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n", "5xx"),
    "a wait of no sense": (b"HTTP/1.1 503 X\r\nRetry-After: Fri, 99 Foo 2099\r\nContent-Length: 0\r\n\r\n", "5xx"),
    "a wait said twice": (b"HTTP/1.1 503 X\r\nRetry-After: 0\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n", "5xx"),
    "a change of protocol": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "network"),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", "network"),
    "a length below 0": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "network"),
    "an endless length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", "network"),
    "a chunk below 0": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n", "network"),
    "a chunk that goes on": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n", "network"),
    "HTTP/2": (b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok", "network"),
    "HTTP/0.9": (b"<html>ok</html>", "network"),
    "a mail server": (b"220 mail.example ESMTP\r\n", "network"),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", "network"),
    "a status below 100": (b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", "timeout"),
    "a notice and no more": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "timeout"),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "timeout"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", "timeout"),
    "no end": (b"HTTP/1.1 200 OK\r\n\r\nand so on", "timeout"),
}
GIVEN_UP = {
    "304 with a body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
    "600": b"HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n",
    "300": b"HTTP/1.1 300 Choose\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    "501": b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n",
    "505": b"HTTP/1.1 505 No\r\nContent-Length: 0\r\n\r\n",
    "413 and close": b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
}


class Outcome:
    """What became of eight events of four devices, the first of which had a strange answer."""

    def __init__(self, server: Any, status: dict[str, Any], errors: list[str]) -> None:
        self.counters = status["sinks"]["out"]["counters"]
        self.errors = errors
        rows = [json.loads(seen.body) for seen in server.seen]
        self.sent = Counter((row["clientid"], row["seq"]) for row in rows)
        first: dict[str, list[int]] = {}
        for row in rows:
            if row["seq"] not in first.setdefault(row["clientid"], []):
                first[row["clientid"]].append(row["seq"])
        assert first == {f"device-{i}": [0, 1] for i in range(4)}, "lost, or out of order"


async def run(server: Any, answer: bytes, pipelining: int) -> Outcome:
    server.script = [server.raw(answer)]
    config = f"""
sources: {{g: {{type: generate, devices: 4, rate: 5000, count: 8, payload: '{{"seq": ${{seq}}}}'}}}}
rules: {{all: {{sql: 'SELECT clientid, payload.seq AS seq FROM "#"', to: out}}}}
sinks:
  out: {{type: http, url: "{server.url}", pool_size: 1, pipelining: {pipelining}, timeout: 300ms,
        retry: {{initial: 5ms, max: 50ms, max_asked: 100ms}}}}
"""
    async with run_pipeline(config) as running:
        status = await running.until(
            lambda status: sum(status["sinks"]["out"]["counters"][end] for end in ("success", "failed")) == 8
        )
        errors = [entry["outcome"] for entry in running.pipeline.sinks["out"].journal.entries(failures=True)]
    return Outcome(server, status, errors)


def others(kinds: list[str], pipelining: int) -> list[str]:
    """Errors of requests that were on their way behind the strange answer, and were tried again."""
    assert pipelining > 1 or not kinds, kinds
    return [kind for kind in kinds if kind not in ("network", "timeout")]


@pytest.mark.parametrize("pipelining", [1, 4])
@pytest.mark.parametrize("answer", DELIVERED)
async def test_an_answer_that_delivers(server: Any, answer: str, pipelining: int) -> None:
    found = await run(server, DELIVERED[answer], pipelining)
    assert (found.counters["success"], found.counters["failed"]) == (8, 0)
    assert others(found.errors, pipelining) == []
    if pipelining == 1:
        assert set(found.sent.values()) == {1}, "delivered, and sent again"


@pytest.mark.parametrize("pipelining", [1, 4])
@pytest.mark.parametrize("answer", AGAIN)
async def test_an_answer_after_which_the_event_comes_again(server: Any, answer: str, pipelining: int) -> None:
    data, kind = AGAIN[answer]
    found = await run(server, data, pipelining)
    assert (found.counters["success"], found.counters["failed"]) == (8, 0)
    # what the next answers make of an unfinished one is no HTTP any more
    assert found.errors[0] == kind or (pipelining > 1 and kind == "timeout" and found.errors[0] == "network")
    assert others(found.errors[1:], pipelining) == []
    if pipelining == 1:
        assert sorted(found.sent.values()) == [1] * 7 + [2]


@pytest.mark.parametrize("pipelining", [1, 4])
@pytest.mark.parametrize("answer", GIVEN_UP)
async def test_an_answer_that_gives_the_event_up(server: Any, answer: str, pipelining: int) -> None:
    found = await run(server, GIVEN_UP[answer], pipelining)
    assert (found.counters["success"], found.counters["failed"]) == (7, 1)
    assert others(found.errors[1:], pipelining) == []
    if pipelining == 1:
        assert set(found.sent.values()) == {1}


@pytest.mark.parametrize("second", [OK, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 2", b"okay then"])
async def test_what_follows_an_answer_is_no_answer_to_the_next(server: Any, second: bytes) -> None:
    found = await run(server, OK + second, 1)
    assert (found.counters["success"], found.errors) == (8, [])
    assert set(found.sent.values()) == {1}
    assert server.connections == 2
