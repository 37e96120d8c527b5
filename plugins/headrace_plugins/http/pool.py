"""The connections to one server: opened as they are needed, filled as they have room."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Iterable

from headrace import Context
from headrace_plugins.http.config import HttpConnectorConfig
from headrace_plugins.http.connection import Connection
from headrace_plugins.http.dial import Dialler
from headrace_plugins.http.exchange import Call, Exchange
from headrace_plugins.http.health import Health

__all__ = ["HashedPool", "Pool"]

_PAUSE = 1.0
"""Seconds in which no further connection is tried after one failed while others work."""


class Pool:
    """Sends requests of many callers over few connections.

    Requests that find no connection with room wait here; how many is bounded by what the engine has in flight.
    While no connection is up, one is tried; when that fails, all that wait fail with its reason.
    """

    def __init__(
        self, dialler: Dialler, config: HttpConnectorConfig, ctx: Context, health: Health, size: int | None = None
    ) -> None:
        self.where = dialler.where
        self._dialler = dialler
        self._ctx = ctx
        self._health = health
        self._size = config.pool_size if size is None else size
        self._depth = config.pipelining
        self.max_answer = config.max_answer
        """Bytes of one answer that are read; of a longer one only the status counts, and its connection is closed."""
        self._max_inactive = config.max_inactive
        self._max_age = config.max_age or float("inf")
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

    @property
    def connections(self) -> int:
        """How many are up."""
        return len(self._connections)

    @property
    def idle(self) -> bool:
        """Is there nothing to send, and no connection?"""
        return not (self._connections or self._dialling or self._waiting)

    def open(self) -> None:
        """Begin. Nothing is connected before there is something to send."""
        self.loop = asyncio.get_running_loop()

    def expect(self, timeout: float) -> None:
        """Look for overdue requests often enough for this timeout."""
        self._sweep_every = min(self._sweep_every, max(timeout / 8, 0.01))

    def put(self, exchanges: Iterable[Exchange]) -> None:
        """Send these, now or when there is room."""
        self._waiting.extend(exchanges)
        self._place()

    def abandon(self, call: Call) -> None:
        """Settle no more exchanges of this call."""
        self._waiting = deque(exchange for exchange in self._waiting if exchange.call is not call)
        for connection in tuple(self._connections):
            if any(exchange.call is call for exchange in connection.sent):
                connection.end("the delivery was cancelled")

    def retire(self) -> None:
        """Use none of the connections there are for anything new."""
        for connection in tuple(self._connections):
            self._retire(connection)

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
        connection.used_at = now = self.loop.time()
        connection.retire_at = now + self._max_age
        if not self._sweeper:
            self._sweeper = self.loop.call_later(self._sweep_every, self._sweep)
        self._health.of_connections("")
        self.ready(connection)
        self._place()

    def ready(self, connection: Connection) -> None:
        """A connection may have room."""
        if connection.retiring:
            if not connection.sent:
                connection.end("retired", orderly=True)
            return
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

    def again(self, exchange: Exchange) -> None:
        """This one is to be sent once more, before all others."""
        self._waiting.appendleft(exchange)

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

    def _fail_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for exchange in waiting:
            exchange.fail("network", reason, self.where)

    # -- connecting --------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Open as many connections as there are requests without one; only one while none is up."""
        room = self._size - len(self._connections) - len(self._dialling)
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
            await self._dialler.connect(lambda: connection)
        except Exception as exc:  # noqa: BLE001 - whatever it is, those who wait must learn of it
            self._dialling.discard(connection)
            self._refused(self._dialler.reason(exc))

    def _refused(self, reason: str) -> None:
        self._ctx.status.error(reason)
        self._ctx.metrics.add("connect_failed")
        if self._connections:
            self._pause_until = self.loop.time() + _PAUSE
        elif not self._dialling:
            self._health.of_connections(reason)
            self._fail_waiting(reason)

    # -- time --------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """One timer for all: overdue requests, unused connections."""
        now = self.loop.time()
        for connection in tuple(self._connections):
            if connection.retire_at < now:
                self._retire(connection)
            connection.check(now, self._max_inactive)
        self._sweeper = self.loop.call_later(self._sweep_every, self._sweep) if self._connections else None

    def _retire(self, connection: Connection) -> None:
        connection.retiring = True
        if connection.listed:
            connection.listed = False
            self._free.remove(connection)
        self.ready(connection)


class HashedPool:
    """Several pools of one connection each: events of one key always go over the same connection."""

    def __init__(self, pools: list[Pool]) -> None:
        self._pools = pools

    @property
    def connections(self) -> int:
        """How many are up."""
        return sum(pool.connections for pool in self._pools)

    @property
    def idle(self) -> bool:
        """Is there nothing to send, and no connection?"""
        return all(pool.idle for pool in self._pools)

    def open(self) -> None:
        for pool in self._pools:
            pool.open()

    def expect(self, timeout: float) -> None:
        """Look for overdue requests often enough for this timeout."""
        for pool in self._pools:
            pool.expect(timeout)

    def put(self, exchanges: Iterable[Exchange]) -> None:
        """Send these, each over the connection of its key."""
        parts: dict[int, list[Exchange]] = {}
        for exchange in exchanges:
            parts.setdefault(zlib.crc32(exchange.key.encode()) % len(self._pools), []).append(exchange)
        for place, part in parts.items():
            self._pools[place].put(part)

    def abandon(self, call: Call) -> None:
        """Settle no more exchanges of this call."""
        for pool in self._pools:
            pool.abandon(call)

    def retire(self) -> None:
        """Use none of the connections there are for anything new."""
        for pool in self._pools:
            pool.retire()

    async def close(self) -> None:
        """End everything; what is unanswered fails."""
        await asyncio.gather(*[pool.close() for pool in self._pools])
