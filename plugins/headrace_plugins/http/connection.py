"""One HTTP/1.1 connection: requests go out in order, answers settle them by position.

There is no task, future or queue per request. Bytes equal to an answer already understood on this connection are
recognised without parsing: a server that says the same each time costs one comparison.
"""

from __future__ import annotations

import asyncio
import hashlib
import http
import time
from collections import deque
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, cast

import httptools

from headrace import DeliveryError, Done
from headrace_plugins.http.config import mask_url

if TYPE_CHECKING:
    from headrace_plugins.http.pool import Pool

__all__ = ["Call", "Connection", "Exchange"]

MAX_ANSWER = 1 << 20
"""Bytes of one answer we read; of a longer one only the status counts, and its connection is closed."""
_EXCERPT = 512
_LARGE = 1 << 16
"""Smaller requests are out as soon as they are written."""
_STATUSES = frozenset(http.HTTPStatus)


class Call:
    """The exchanges of one ``write``: whom to tell of each, and when all are settled."""

    __slots__ = ("cancelled", "done", "drop_on", "left", "success", "timeout", "waiter")

    def __init__(self, done: Done, success: frozenset[int], drop_on: frozenset[int], timeout: float) -> None:
        self.done = done
        self.success = success
        self.drop_on = drop_on
        self.timeout = timeout
        self.left = 0
        self.cancelled = False
        self.waiter: asyncio.Future[None] | None = None


class Exchange:
    """One request and what becomes of it."""

    __slots__ = ("call", "data", "deadline", "index", "resent")

    def __init__(self, call: Call, index: int, data: bytes) -> None:
        self.call = call
        self.index = index
        self.data = data
        self.deadline = 0.0
        self.resent = False

    def settle(self, error: DeliveryError | None) -> None:
        call = self.call
        if call.cancelled:
            return
        call.done(self.index, error)
        call.left -= 1
        if not call.left and call.waiter is not None and not call.waiter.done():
            call.waiter.set_result(None)

    def fail(self, kind: Literal["network", "timeout"], reason: str, origin: str) -> None:
        self.settle(DeliveryError(reason, kind=kind, request=self.describe(origin)))

    def describe(self, origin: str) -> dict[str, str]:
        """What was sent, without credentials."""
        method, target, _ = self.data.split(b" ", 2)
        body = memoryview(self.data)[self.data.index(b"\r\n\r\n") + 4 :]
        return {
            "method": method.decode(),
            "url": mask_url(origin + target.decode("ascii", "replace")),
            "body_hash": f"sha256:{hashlib.sha256(body).hexdigest()}",
        }


class Connection(asyncio.Protocol):
    """One connection of a pool. The parser calls the ``on_…`` methods."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.sent: deque[Exchange] = deque()
        """Requests without an answer, oldest first."""
        self.listed = False
        """Is it in the pool's list of connections with room?"""
        self.ended = False
        self.used_at = 0.0
        self._answered = 0
        self._known = b""
        self._known_status = 0
        self._start_over()

    def _start_over(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._held = b""
        self._next_answer()

    def _next_answer(self) -> None:
        self._open = False
        """Have bytes of an unfinished answer arrived?"""
        self._headed = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""
        self._size = 0

    # -- called by the transport and the pool ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.pool.joined(self)

    def eof_received(self) -> None:
        if not self.ended and self._headed and not self._is_framed():
            self._finish(self._parser.get_status_code())  # this answer ends with its connection
            self.end("the server closed the connection", orderly=True)
        self.end("the server closed the connection before its answer was there")

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(f"the connection broke: {exc}" if exc else "the connection was lost")
        self.pool.gone(self)

    def send(self, exchange: Exchange) -> None:
        """Write one request."""
        self.used_at = now = self.pool.loop.time()
        exchange.deadline = now + exchange.call.timeout
        self.sent.append(exchange)
        self.transport.write(exchange.data)

    def send_all(self, exchanges: list[Exchange]) -> None:
        """Write several requests in one go."""
        self.used_at = now = self.pool.loop.time()
        for exchange in exchanges:
            exchange.deadline = now + exchange.call.timeout
        self.sent.extend(exchanges)
        self.transport.write(b"".join([exchange.data for exchange in exchanges]))

    def check(self, now: float, max_inactive: float) -> None:
        """End it if its oldest request is overdue, or if it was not used for long."""
        if self.sent:
            oldest = self.sent[0]
            if oldest.deadline < now:
                self.end(f"no answer within {oldest.call.timeout:g} s", kind="timeout")
        elif now - self.used_at > max_inactive:
            self.end("unused")

    def end(self, reason: str, kind: Literal["network", "timeout"] = "network", *, orderly: bool = False) -> None:
        """Leave the pool. The request being answered fails; those that saw no byte of an answer are sent again.

        They are sent again once, and only if the connection had worked before or an earlier request was to blame: a
        server may close a connection it thinks unused at any time. ``orderly``: the server said that it would close
        after the last answer, so it has not looked at them.
        """
        if self.ended:
            return
        self.ended = True
        again = []
        for position, exchange in enumerate(self.sent):
            to_blame = position == 0 and (kind == "timeout" or self._open or not self._answered)
            if orderly or not (to_blame or exchange.resent):
                exchange.resent = exchange.resent or not orderly
                again.append(exchange)
            else:
                exchange.fail(kind, reason, self.pool.origin)
        self.sent.clear()
        self.transport.abort()
        self.pool.left(self, again)

    # -- answers ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        if data == self._known and self.sent and not self._open:
            self._finish(self._known_status)
        else:
            self._parse(self._recognise(data))
        if not self.ended:
            self.pool.ready(self)

    def _recognise(self, data: bytes) -> bytes:
        """Settle by the answer known already, as often as it is there; returns what is left to parse."""
        known, start = self._known, 0
        while known and self.sent and not self._open and data.startswith(known, start):
            start += len(known)
            self._finish(self._known_status)
        return data[start:]

    def _parse(self, data: bytes) -> None:
        if not data:
            return
        at_start, rest, self._complete = not self._open, data, 0
        self._size += len(data)
        try:
            if self.sent and self.sent[0].data.startswith(b"HEAD "):
                rest = self._answer_to_head(data)
            self._parser.feed_data(rest)
        except httptools.HttpParserUpgrade:
            self.end("the server wants to change the protocol")
        except httptools.HttpParserError as exc:
            self.end(f"the answer is not HTTP: {exc}")
        if self.ended:
            return
        if self._open and self._size > MAX_ANSWER:
            self._cut_short()
        elif at_start and self._complete and not self._open and rest is data:
            self._remember(data)

    def _answer_to_head(self, data: bytes) -> bytes:
        """An answer to HEAD ends with its headers, whatever they say of a body. Returns what follows it."""
        while data and self.sent and self.sent[0].data.startswith(b"HEAD "):
            head, end, data = (self._held + data).partition(b"\r\n\r\n")
            if not end:
                self._held, self._open = head, True
                return b""
            self._held = b""
            self._parser.feed_data(head + end)
            if self._open:
                self.on_message_complete()
                self._start_over()
        return data

    def _remember(self, data: bytes) -> None:
        """Know this answer again, if ``data`` was nothing but its like."""
        one = data[: len(data) // self._complete]
        status = self._parser.get_status_code()
        if status < 300 and len(one) <= 1024 and one * self._complete == data:
            self._known, self._known_status = one, status

    def _cut_short(self) -> None:
        if self._headed:
            self._finish(self._parser.get_status_code())
            self.end("the answer is too long", orderly=True)
        else:
            self.end(f"the answer's headers exceed {MAX_ANSWER} bytes")

    def _finish(self, status: int) -> None:
        """The oldest request has its answer."""
        if not self.sent:
            self.end("the server sent something nobody asked for")
            return
        exchange = self.sent.popleft()
        self._answered += 1
        exchange.settle(None if status in exchange.call.success else self._refusal(status, exchange))
        if len(exchange.data) > _LARGE and self.transport.get_write_buffer_size():
            self.end("the server answered before it had the whole request", orderly=True)

    def _refusal(self, status: int, exchange: Exchange) -> DeliveryError:
        phrase = http.HTTPStatus(status).phrase if status in _STATUSES else ""
        return DeliveryError(
            f"the server answered {status} {phrase}".rstrip(),
            kind="invalid" if status in exchange.call.drop_on else "status",
            status=status,
            retry_after=_retry_after(self._headers),
            answer=self._body,
            request=exchange.describe(self.pool.origin),
        )

    def _is_framed(self) -> bool:
        """Does the answer say where it ends?"""
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers)

    # -- called by the parser --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._open = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, data: bytes) -> None:
        if len(self._body) < _EXCERPT:
            self._body += data[:_EXCERPT]

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self.ended:  # below: only a notice, the answer follows
            self._complete += 1
            self._open = False
            self._finish(status)
            if not self._parser.should_keep_alive():
                self.end("the server closes the connection", orderly=True)
        self._next_answer()


def _retry_after(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Seconds to wait, if the server said so, in seconds or as a date."""
    value = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time()) if value else None
    except (TypeError, ValueError, OverflowError):
        return None
