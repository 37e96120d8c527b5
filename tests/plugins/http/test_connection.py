"""How bytes from a server are understood, however they are cut into pieces."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import Context, DeliveryError
from headrace_plugins.http.config import HttpConnectorConfig
from headrace_plugins.http.connection import Connection
from headrace_plugins.http.dial import Dialler
from headrace_plugins.http.exchange import Call, Exchange
from headrace_plugins.http.health import Health
from headrace_plugins.http.pool import Pool
from headrace_plugins.http.url import parse_url

MAX_ANSWER = 1 << 20


class Transport:
    """Takes what is written; the bytes of the answers are fed by the test, cut as it likes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass
class Bench:
    """One connection of a real pool, with requests on it."""

    connection: Connection
    transport: Transport
    verdicts: dict[int, DeliveryError | None] = field(default_factory=dict)

    def request(self, n: int, method: bytes = b"POST") -> None:
        def done(index: int, error: Exception | None, receipt: Any = None) -> None:
            assert index not in self.verdicts
            assert error is None or isinstance(error, DeliveryError)
            self.verdicts[index] = error

        call = Call(done, frozenset(range(200, 300)), frozenset({410}), 10)
        call.left = n
        data = method + b" / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
        self.connection.send_all([Exchange(call, i, data) for i in range(n)])

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)

    @property
    def statuses(self) -> list[int]:
        """Of the answered requests, in order; a success counts as 200."""
        found = []
        for i in sorted(self.verdicts):
            error = self.verdicts[i]
            assert i == len(found), "an answer was given to the wrong request"
            found.append(200 if error is None else error.status or 0)
        return found


def bench(requests: int = 0, method: bytes = b"POST", loop: Any = None) -> Bench:
    config = HttpConnectorConfig(url="http://127.0.0.1:9", pipelining=1000, pool_size=1)
    ctx = Context("peer")
    pool = Pool(Dialler(parse_url(config.url), config, None), config, ctx, Health(ctx))
    pool.loop = loop or asyncio.get_running_loop()
    connection, transport = Connection(pool), Transport()
    connection.connection_made(transport)
    made = Bench(connection, transport)
    if requests:
        made.request(requests, method)
    return made


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n"
NOTICE = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy"
ANSWERS = {LENGTH: 200, CHUNKED: 200, NO_CONTENT: 200, NOT_MODIFIED: 304, NOTICE + LENGTH: 200, REFUSED: 503}


class Clock:
    """All a pool wants of a loop when nothing has to be waited for."""

    def time(self) -> float:
        return 0.0

    def call_later(self, *_: Any) -> None:
        return None


@given(st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=12), st.data())
@settings(deadline=None)
def test_answers_settle_by_position_wherever_they_are_cut(answers: list[bytes], data: Any) -> None:
    stream = b"".join(answers)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    one = bench(len(answers), loop=Clock())
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if start != end:
            one.feed(stream[start:end])
    assert one.statuses == [ANSWERS[answer] for answer in answers]
    assert not one.transport.aborted


@given(st.lists(st.sampled_from([LENGTH, CHUNKED, REFUSED]), min_size=1, max_size=30), st.integers(1, 4))
@settings(deadline=None)
def test_whole_answers_in_a_segment_settle_the_same(answers: list[bytes], per_segment: int) -> None:
    one = bench(len(answers), loop=Clock())
    for i in range(0, len(answers), per_segment):
        one.feed(b"".join(answers[i : i + per_segment]))
    assert one.statuses == [ANSWERS[answer] for answer in answers]


@pytest.mark.parametrize("answer", sorted(ANSWERS))
async def test_an_answer_may_come_byte_by_byte(answer: bytes) -> None:
    one = bench(2)
    for _ in range(2):
        one.feed(*[bytes([byte]) for byte in answer])
    assert one.statuses == [ANSWERS[answer]] * 2


async def test_a_refusal_carries_what_the_server_said() -> None:
    one = bench(1)
    one.feed(REFUSED)
    error = one.verdicts[0]
    assert isinstance(error, DeliveryError)
    assert (error.kind, error.status, error.retry_after, error.answer) == ("status", 503, 7.0, b"busy")
    assert str(error) == "the server answered 503 Service Unavailable"
    assert error.request["method"] == "POST"
    assert error.request["url"] == "http://127.0.0.1:9/"
    assert error.request["body_hash"].startswith("sha256:e3b0c44")  # of nothing


async def test_a_status_to_drop_on_cannot_be_retried() -> None:
    one = bench(1)
    one.feed(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
    error = one.verdicts[0]
    assert isinstance(error, DeliveryError)
    assert (error.kind, error.status) == ("invalid", 410)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (b"7", 7, 7),
        (b" 12 ", 12, 12),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        (b"Fri, 31 Dec 2100 23:59:59 GMT", 1e9, 1e10),
    ],
)
async def test_retry_after_is_seconds_or_a_date(value: bytes, low: float, high: float) -> None:
    one = bench(1)
    one.feed(b"HTTP/1.1 429 Slow\r\nretry-AFTER: " + value + b"\r\nContent-Length: 0\r\n\r\n")
    error = one.verdicts[0]
    assert isinstance(error, DeliveryError)
    assert error.retry_after is not None
    assert low <= error.retry_after <= high


@pytest.mark.parametrize("value", [b"", b"soon", b"-1", b"1.5", b"99 bottles"])
async def test_a_retry_after_of_no_sense_is_none(value: bytes) -> None:
    one = bench(1)
    one.feed(b"HTTP/1.1 429 Slow\r\nRetry-After: " + value + b"\r\nContent-Length: 0\r\n\r\n")
    error = one.verdicts[0]
    assert isinstance(error, DeliveryError)
    assert (error.status, error.retry_after) == (429, None)


@pytest.mark.parametrize("cut", range(1, 130, 7))
async def test_an_answer_to_head_has_no_body_whatever_it_says(cut: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"
    notice = b"HTTP/1.1 100 Continue\r\n\r\n"
    one = bench(4, b"HEAD")
    stream = head + notice + head + NO_CONTENT + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    one.feed(stream[:cut], stream[cut:])
    assert one.statuses == [200] * 4
    one.verdicts.clear()
    one.request(2)
    one.feed(LENGTH + LENGTH)
    assert one.statuses == [200] * 2


async def test_an_answer_known_for_post_means_the_same_for_head() -> None:
    one = bench(1)
    one.feed(LENGTH)
    one.verdicts.clear()
    one.request(2, b"HEAD")
    one.feed(LENGTH[:-2], LENGTH[:-2])
    assert one.statuses == [200, 200]


async def test_an_answer_to_head_is_not_taken_for_a_part_of_the_next() -> None:
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    one = bench(1, b"HEAD")
    one.request(1)
    one.connection.sent[1].index = 1
    one.feed(empty + empty)
    assert one.statuses == [200, 200]
    one.verdicts.clear()
    one.request(2)
    one.feed(empty + empty)
    assert one.statuses == [200, 200]


async def test_a_long_answer_is_settled_by_its_status_and_not_read_to_its_end() -> None:
    one = bench(1)
    one.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
    for _ in range(MAX_ANSWER // 65536 + 1):
        one.feed(b"x" * 65536)
    assert one.statuses == [200]
    assert one.transport.aborted


async def test_of_a_long_refusal_the_beginning_is_kept() -> None:
    one = bench(1)
    one.feed(b"HTTP/1.1 500 X\r\nContent-Length: 1000\r\n\r\n" + b"a" * 300, b"b" * 700)
    error = one.verdicts[0]
    assert isinstance(error, DeliveryError)
    assert error.answer == b"a" * 300 + b"b" * 212


async def test_headers_without_end_are_refused() -> None:
    one = bench(1)
    one.feed(b"HTTP/1.1 200 OK\r\n")
    for i in range(MAX_ANSWER // 60000 + 1):
        one.feed(b"x-%d: " % i + b"y" * 60000 + b"\r\n")
    error = one.verdicts[0]
    assert isinstance(error, DeliveryError)
    assert (error.kind, str(error)) == ("network", f"the answer's headers exceed {MAX_ANSWER} bytes")
    assert one.transport.aborted


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
    ],
)
async def test_what_is_not_http_fails_the_request_and_the_connection(garbage: bytes) -> None:
    one = bench(1)
    one.feed(garbage)
    error = one.verdicts[0]
    assert isinstance(error, DeliveryError)
    assert error.kind == "network"
    assert "the answer is not HTTP" in str(error)
    assert one.transport.aborted


async def test_a_change_of_protocol_is_refused() -> None:
    one = bench(1)
    one.feed(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nstuff")
    error = one.verdicts[0]
    assert isinstance(error, DeliveryError)
    assert error.kind == "network"
    assert one.transport.aborted


async def test_an_answer_nobody_asked_for_ends_the_connection() -> None:
    one = bench(1)
    one.feed(LENGTH, LENGTH)
    assert one.statuses == [200]
    assert one.transport.aborted


@pytest.mark.parametrize("extra", ["Connection: close", "connection: Close, x"])
async def test_after_a_closing_answer_the_rest_is_left_for_another_connection(extra: str) -> None:
    one = bench(3)
    one.feed(f"HTTP/1.1 200 OK\r\n{extra}\r\nContent-Length: 0\r\n\r\n".encode())
    assert one.statuses == [200]
    assert one.transport.aborted
    waiting = one.connection.pool._waiting
    assert [(exchange.index, exchange.resent) for exchange in waiting] == [(1, False), (2, False)]
    for task in one.connection.pool._dials:
        task.cancel()


@pytest.mark.parametrize("early", [b"H", b"HTTP/1.1 408 Request Timeout\r\n", b"HTTP/1.1 200 OK\r\nX: "])
async def test_the_beginning_of_an_answer_nobody_asked_for_is_no_answer_to_the_next(early: bytes) -> None:
    for pieces in ([LENGTH, early], [LENGTH + early]):
        one = bench(1)
        one.feed(*pieces)
        assert one.statuses == [200]
        one.request(1)
        one.feed(LENGTH)
        assert one.statuses == [200], "what was left over became the next answer"
