"""A request and what becomes of it; and the call of ``write`` it belongs to."""

from __future__ import annotations

import asyncio
import hashlib
import http
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urljoin

from headrace import DeliveryError, Done, Receipt
from headrace_plugins.http.url import Where, mask_url

__all__ = ["Answer", "Call", "Carrier", "Exchange", "ask"]

_STATUSES = frozenset(http.HTTPStatus)
_REPEATED = frozenset({301, 302, 307, 308})
"""Redirects that may be followed with the same request. 303 says that it was taken, and to look elsewhere."""
_MAX_HOPS = 5


class Carrier(Protocol):
    """What requests are given to: a pool."""

    def put(self, exchanges: Iterable[Exchange]) -> None:
        """Send these, now or when there is room."""

    def abandon(self, call: Call) -> None:
        """Settle no more exchanges of this call."""


class Call:
    """The exchanges of one ``write``: whom to tell of each, and when all are settled."""

    __slots__ = ("cancelled", "done", "drop_on", "follow", "left", "success", "timeout", "waiter")

    def __init__(
        self, done: Done, success: frozenset[int], drop_on: frozenset[int], timeout: float, *, follow: bool = False
    ) -> None:
        self.done = done
        self.success = success
        self.drop_on = drop_on
        self.timeout = timeout
        self.follow = follow
        self.left = 0
        self.cancelled = False
        self.waiter: asyncio.Future[None] | None = None

    async def through(self, carrier: Carrier, exchanges: list[Exchange]) -> None:
        """Send them; returns when all are settled. If cancelled, settles no more of them."""
        self.left = len(exchanges)
        self.waiter = asyncio.get_running_loop().create_future()
        carrier.put(exchanges)
        try:
            await self.waiter
        except asyncio.CancelledError:
            self.cancelled = True
            carrier.abandon(self)
            raise


class Exchange:
    """One request and what becomes of it. ``key``: of the event, for pools that keep a key on one connection."""

    __slots__ = ("call", "data", "deadline", "hops", "index", "key", "resent")

    keep = 1 << 12
    """Bytes of the answer's body that are kept: more than are shown, so that a secret across the end is found."""

    def __init__(self, call: Call, index: int, data: bytes, key: str = "") -> None:
        self.call = call
        self.index = index
        self.data = data
        self.key = key
        self.deadline = 0.0
        self.resent = False
        self.hops = 0

    def settle(self, error: DeliveryError | None, receipt: Receipt | None = None) -> None:
        call = self.call
        if call.cancelled:
            return
        call.done(self.index, error, receipt)
        call.left -= 1
        if not call.left and call.waiter is not None and not call.waiter.done():
            call.waiter.set_result(None)

    def fail(self, kind: Literal["network", "timeout"], reason: str, where: Where) -> None:
        self.settle(DeliveryError(reason, kind=kind, request=self.describe(where)))

    def refuse(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, where: Where) -> None:
        """The server's answer is none that means delivered."""
        phrase = http.HTTPStatus(status).phrase if status in _STATUSES else ""
        location = _header(headers, b"location") if 300 <= status < 400 else ""
        self.settle(
            DeliveryError(
                f"the server answered {status} {phrase}".rstrip() + (f" to {mask_url(location)}" if location else ""),
                kind="invalid" if status in self.call.drop_on else "status",
                status=status,
                retry_after=_retry_after(headers),
                answer=where.conceal(body),
                request=self.describe(where),
            )
        )

    def redirect(self, status: int, headers: list[tuple[bytes, bytes]], where: Where) -> bool:
        """Turn into the request the server sends us on to, if that is wanted and stays on the same server."""
        location = _header(headers, b"location")
        if not self.call.follow or status not in _REPEATED or not location or self.hops == _MAX_HOPS:
            return False
        method, target, rest = self.data.split(b" ", 2)
        origin = where.origin
        here = origin + target.decode("ascii")
        there, _, _ = urljoin(here, location).partition("#")
        base = origin or "/".join(here.split("/", 3)[:3])
        if not there.startswith(f"{base}/") or not there.isascii() or not there.isprintable() or " " in there:
            return False
        self.hops += 1
        self.data = b" ".join((method, there[len(origin) :].encode(), rest))
        return True

    def describe(self, where: Where) -> dict[str, str]:
        """What was sent, without credentials."""
        method, target, _ = self.data.split(b" ", 2)
        body = memoryview(self.data)[self.data.index(b"\r\n\r\n") + 4 :]
        return {
            "method": method.decode(),
            "url": where.shown(target),
            "body_hash": f"sha256:{hashlib.sha256(body).hexdigest()}",
        }


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class _Question(Exchange):
    """A request whose answer is wanted, whatever it says."""

    __slots__ = ("answer", "error")

    keep = 1 << 16

    def __init__(self, data: bytes, timeout: float) -> None:
        super().__init__(Call(self._done, frozenset(), frozenset(), timeout), 0, data)
        self.answer: Answer | None = None
        self.error: Exception | None = None

    def _done(self, _: int, error: Exception | None, receipt: Receipt | None = None) -> None:
        self.error = error

    def refuse(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, where: Where) -> None:
        self.answer = Answer(status, headers, body)
        self.settle(None)


async def ask(carrier: Carrier, data: bytes, timeout: float) -> Answer:
    """Send one request; its answer. DeliveryError if there is none."""
    question = _Question(data, timeout)
    await question.call.through(carrier, [question])
    if question.answer is None:
        raise question.error or DeliveryError("no answer", kind="network")
    return question.answer


def _header(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str:
    return next((value.decode("latin-1").strip() for name, value in headers if name.lower() == wanted), "")


def _retry_after(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Seconds to wait, if the server said so, in seconds or as a date."""
    value = _header(headers, b"retry-after")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time()) if value else None
    except (TypeError, ValueError, OverflowError):
        return None
