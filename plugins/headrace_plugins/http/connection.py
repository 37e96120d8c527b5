"""One HTTP/1.1 connection: requests go out in order, answers settle them by position.

There is no task, future or queue per request. Bytes equal to an answer already understood on this connection are
recognised without parsing: a server that says the same each time costs one comparison.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from typing import TYPE_CHECKING, Literal, cast

import httptools

from headrace import Receipt
from headrace_plugins.http.exchange import Exchange

if TYPE_CHECKING:
    from headrace_plugins.http.pool import Pool

__all__ = ["Connection"]

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LARGE = 1 << 16
"""Smaller requests are out as soon as they are written."""
_SHOWN = 256
"""Bytes of a good answer that are told: enough for a line of the delivery log."""


class Connection(asyncio.Protocol):
    """One connection of a pool. The parser calls the ``on_…`` methods."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.sent: deque[Exchange] = deque()
        """Requests without an answer, oldest first."""
        self.listed = False
        """Is it in the pool's list of connections with room?"""
        self.ended = False
        self.retiring = False
        """Is it to take nothing new?"""
        self.used_at = 0.0
        self.retire_at = math.inf
        self._answered = 0
        self._known = b""
        self._known_status = 0
        self._known_said = self._said = Receipt()
        self._start_over()

    def _start_over(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # a sloppy answer is an answer: if we did not understand it, its event would come again and again
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_version=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
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
            self._finish(*self._answer())  # this answer ends with its connection
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
                exchange.fail(kind, reason, self.pool.where)
        self.sent.clear()
        self.transport.abort()
        self.pool.left(self, again)

    # -- answers ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        if data == self._known and not self._open:
            self._finish(self._known_status, self._known_said)
        else:
            self._parse(self._recognise(data))
            if self._open and not self.sent:
                self._unasked()
        if not self.ended:
            self.pool.ready(self)

    def _unasked(self) -> None:
        """Not one byte is waited with: the rest could be taken for the answer to the next request."""
        self.end("the server sent something nobody asked for")

    def _recognise(self, data: bytes) -> bytes:
        """Settle by the answer known already, as often as it is there; returns what is left to parse."""
        known, start = self._known, 0
        while known and self.sent and not self._open and data.startswith(known, start):
            start += len(known)
            self._finish(self._known_status, self._known_said)
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
        if self._open and self._size > self.pool.max_answer:
            self._cut_short()
        elif at_start and self._complete and not self._open and rest is data:
            self._remember(data)

    def _answer_to_head(self, data: bytes) -> bytes:
        """An answer to HEAD ends with its headers, whatever they say of a body. Returns what follows it."""
        while data and self.sent and self.sent[0].data.startswith(b"HEAD "):
            held, self._held = self._held + data, b""
            end = _HEAD_END.search(held)
            if not end:
                self._held, self._open = held, True
                return b""
            data = held[end.end() :]
            self._parser.feed_data(held[: end.end()])
            if self._open:
                self.on_message_complete()
                self._start_over()
        return data

    def _remember(self, data: bytes) -> None:
        """Know this answer again, if ``data`` was nothing but its like."""
        one = data[: len(data) // self._complete]
        status = self._parser.get_status_code()
        if status < 300 and len(one) <= 1024 and one * self._complete == data:
            self._known, self._known_status, self._known_said = one, status, self._said

    def _cut_short(self) -> None:
        if self._headed:
            self._finish(*self._answer())
            self.end("the answer is too long", orderly=True)
        else:
            self.end(f"the answer's headers exceed {self.pool.max_answer} bytes")

    def _answer(self) -> tuple[int, Receipt]:
        status = self._parser.get_status_code()
        self._said = Receipt(status, self.pool.where.conceal(self._body)[:_SHOWN])
        return status, self._said

    def _finish(self, status: int, said: Receipt) -> None:
        """The oldest request has its answer."""
        if not self.sent:
            self._unasked()
            return
        exchange = self.sent.popleft()
        self._answered += 1
        if status in exchange.call.success:
            exchange.settle(None, said)
        elif exchange.redirect(status, self._headers, self.pool.where):
            self.pool.again(exchange)
        else:
            exchange.refuse(status, self._headers, self._body, self.pool.where)
        if len(exchange.data) > _LARGE and self.transport.get_write_buffer_size():
            self.end("the server answered before it had the whole request", orderly=True)

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
        keep = self.sent[0].keep if self.sent else 0
        if len(self._body) < keep:
            self._body += data[:keep]

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self.ended:  # below: only a notice, the answer follows
            self._complete += 1
            self._open = False
            self._finish(*self._answer())
            if not self._parser.should_keep_alive():
                self.end("the server closes the connection", orderly=True)
        self._next_answer()
