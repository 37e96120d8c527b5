"""The connections to one server: opened as they are needed, filled as they have room."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable

from headrace import Context, NotConnected
from headrace_plugins.http.config import HttpConnectorConfig, Url
from headrace_plugins.http.connection import Call, Connection, Exchange

__all__ = ["Pool"]

_PAUSE = 1.0
"""Seconds in which no further connection is tried after one failed while others work."""


class Pool:
    """Sends requests of many callers over few connections.

    Requests that find no connection with room wait here; how many is bounded by what the engine has in flight.
    While no connection is up, one is tried; when that fails, all that wait fail with its reason.
    """

    def __init__(self, url: Url, config: HttpConnectorConfig, ctx: Context) -> None:
        self.origin = url.origin
        self._url = url
        self._config = config
        self._ctx = ctx
        self._depth = config.pipelining
        self._waiting: deque[Exchange] = deque()
        self._free: deque[Connection] = deque()
        self._connections: set[Connection] = set()
        self._closing: set[Connection] = set()
        self._dialling: set[Connection] = set()
        """Those on their way: no transport yet."""
        self._dials: set[asyncio.Task[None]] = set()
        self._pause_until = 0.0
        self._sweep_every = 0.5
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_gone: asyncio.Future[None] | None = None
        self._tls: ssl.SSLContext | None = None
        ctx.metrics.gauge("connections", lambda: len(self._connections))

    def open(self) -> None:
        """Read the certificates. Nothing is connected before there is something to send."""
        self.loop = asyncio.get_running_loop()
        if self._url.tls:
            self._tls = _tls_context(self._config)

    def expect(self, timeout: float) -> None:
        """Look for overdue requests often enough for this timeout."""
        self._sweep_every = min(self._sweep_every, max(timeout / 8, 0.01))

    async def probe(self) -> None:
        """Raise, with the reason, if no connection can be made."""
        try:
            transport, _ = await self._connect(asyncio.Protocol)
        except (OSError, TimeoutError) as exc:
            raise NotConnected(self._reason(exc)) from exc
        transport.abort()

    async def send(self, call: Call, exchanges: list[Exchange]) -> None:
        """Returns when all of them are settled. If cancelled, settles no more of them."""
        call.left = len(exchanges)
        call.waiter = self.loop.create_future()
        self._waiting.extend(exchanges)
        self._place()
        try:
            await call.waiter
        except asyncio.CancelledError:
            self._abandon(call)
            raise

    async def close(self) -> None:
        """End everything; what is unanswered fails."""
        self._closed = True
        for dial in self._dials:
            dial.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        for connection in tuple(self._connections):
            connection.end("the connector was closed")
        self._fail_waiting("the connector was closed")
        if self._sweeper:
            self._sweeper.cancel()
        if self._closing:
            self._all_gone = self.loop.create_future()
            await asyncio.wait([self._all_gone], timeout=1.0)

    # -- what connections report -----------------------------------------------------------------------------

    def joined(self, connection: Connection) -> None:
        """A connection is up."""
        self._dialling.discard(connection)
        if self._closed:
            connection.end("the connector was closed")
            return
        self._connections.add(connection)
        connection.used_at = self.loop.time()
        if not self._sweeper:
            self._sweeper = self.loop.call_later(self._sweep_every, self._sweep)
        self._ctx.status.set("running")
        self.ready(connection)
        self._place()

    def ready(self, connection: Connection) -> None:
        """A connection may have room."""
        if self._waiting:
            self._give(connection, self._depth - len(connection.sent))
        if not connection.listed and len(connection.sent) < self._depth:
            connection.listed = True
            self._free.append(connection)

    def left(self, connection: Connection, again: Iterable[Exchange]) -> None:
        """A connection ended; ``again`` are to be sent once more, before all others."""
        self._connections.discard(connection)
        self._closing.add(connection)
        if connection.listed:
            self._free.remove(connection)
        again = [exchange for exchange in again if not exchange.call.cancelled]
        self._ctx.metrics.add("resent", len(again))
        self._waiting.extendleft(reversed(again))
        if self._closed:
            self._fail_waiting("the connector was closed")
        elif self._waiting:
            self._place()

    def gone(self, connection: Connection) -> None:
        """The transport of a connection is closed."""
        self._closing.discard(connection)
        if self._all_gone and not self._closing and not self._all_gone.done():
            self._all_gone.set_result(None)

    # -- placing requests --------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Spread what waits over the connections with room; open more if that is not enough."""
        for left in range(len(self._free), 0, -1):
            if not self._waiting:
                return
            connection = self._free.pop()
            connection.listed = False
            share = -(-len(self._waiting) // left)
            self._give(connection, min(share, self._depth - len(connection.sent)))
            if len(connection.sent) < self._depth:
                connection.listed = True
                self._free.appendleft(connection)
        if self._waiting:
            self._grow()

    def _give(self, connection: Connection, room: int) -> None:
        waiting = self._waiting
        exchanges: list[Exchange] = []
        while waiting and len(exchanges) < room:
            exchange = waiting.popleft()
            if room == 1:
                connection.send(exchange)
                return
            exchanges.append(exchange)
        if exchanges:
            connection.send_all(exchanges)

    def _abandon(self, call: Call) -> None:
        call.cancelled = True
        self._waiting = deque(exchange for exchange in self._waiting if exchange.call is not call)
        for connection in tuple(self._connections):
            if any(exchange.call is call for exchange in connection.sent):
                connection.end("the delivery was cancelled")

    def _fail_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for exchange in waiting:
            exchange.fail("network", reason, self.origin)

    # -- connecting --------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Open as many connections as there are requests without one; only one while none is up."""
        room = self._config.pool_size - len(self._connections) - len(self._dialling)
        if not self._connections:
            room = min(room, 1 - len(self._dialling))
        elif self.loop.time() < self._pause_until:
            return
        for _ in range(min(room, len(self._waiting) - len(self._dialling))):
            connection = Connection(self)
            self._dialling.add(connection)
            dial = self.loop.create_task(self._dial(connection))
            self._dials.add(dial)
            dial.add_done_callback(self._dials.discard)

    async def _dial(self, connection: Connection) -> None:
        try:
            await self._connect(lambda: connection)
        except Exception as exc:  # noqa: BLE001 - whatever it is, those who wait must learn of it
            self._dialling.discard(connection)
            self._refused(self._reason(exc))

    async def _connect(self, protocol: Callable[[], asyncio.Protocol]) -> tuple[asyncio.Transport, asyncio.Protocol]:
        name = (self._config.tls.server_name or self._url.host) if self._tls else None
        async with asyncio.timeout(self._config.connect_timeout):
            return await self.loop.create_connection(
                protocol, self._url.host, self._url.port, ssl=self._tls, server_hostname=name
            )

    def _refused(self, reason: str) -> None:
        status = self._ctx.status
        status.error(reason)
        self._ctx.metrics.add("connect_failed")
        if self._connections:
            self._pause_until = self.loop.time() + _PAUSE
        elif not self._dialling:
            if status.set("degraded", reason):
                self._ctx.log.warning("%s: %s", self._ctx.name, reason)
            self._fail_waiting(reason)

    def _reason(self, exc: Exception) -> str:
        where = self._url.origin
        if isinstance(exc, ssl.SSLCertVerificationError):
            return f"the certificate of {where} is not accepted: {exc.verify_message}"
        if isinstance(exc, ssl.SSLError):
            return f"TLS with {where} failed: {exc.reason or exc}"
        if isinstance(exc, socket.gaierror):
            return f"cannot resolve the host of {where}: {exc.strerror}"
        if isinstance(exc, TimeoutError):
            return f"no connection to {where} within {self._config.connect_timeout:g} s"
        if f"[Errno {errno.ECONNREFUSED}]" in str(exc):  # also when several addresses were tried
            return f"Connection refused by {where}"
        return f"cannot connect to {where}: {exc}"

    # -- time --------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """One timer for all: overdue requests, unused connections."""
        now = self.loop.time()
        for connection in tuple(self._connections):
            connection.check(now, self._config.max_inactive)
        self._sweeper = self.loop.call_later(self._sweep_every, self._sweep) if self._connections else None


def _tls_context(config: HttpConnectorConfig) -> ssl.SSLContext:
    options = config.tls
    try:
        context = ssl.create_default_context(cafile=options.ca)
        if options.cert:
            context.load_cert_chain(options.cert, options.key)
    except (OSError, ssl.SSLError) as exc:
        raise NotConnected(f"cannot use the certificates of tls: {exc}") from exc
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
