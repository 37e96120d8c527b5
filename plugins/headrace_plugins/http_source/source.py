"""The source ``http``: what came in by POST and is not in the stream yet."""

from __future__ import annotations

import asyncio
import platform
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from headrace import Ack, Batch, Context, Event, Source
from headrace_plugins.http_source.config import HttpSourceConfig

if TYPE_CHECKING:  # aiohttp is imported when a source opens
    from headrace_plugins.http_source.server import Server

BATCH = 256
BATCH_BYTES = 256 << 10


class Posted:
    """The events of one request; ``taken`` is done when the stream has them all, or has refused them."""

    __slots__ = ("events", "size", "taken")

    def __init__(self, events: list[Event], size: int) -> None:
        self.events = events
        self.size = size
        self.taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, error: Exception | None) -> None:
        if not self.taken.done():
            if error is None:
                self.taken.set_result(None)
            else:
                self.taken.set_exception(error)
                self.taken.exception()  # whoever waited may have gone


class HttpSource(Source[HttpSourceConfig]):
    """Take events in by `POST /in/<topic>`. A request is answered 202 when the stream has its events, not before."""

    name: ClassVar[str] = "http"
    counts: ClassVar = {
        "requests.now": "requests being answered now",
        "requests.accepted": "requests whose events the stream has",
        "requests.invalid": "requests refused since they were not as they should be",
        "requests.too_large": "requests refused since they were too large",
        "requests.unauthorized": "requests refused since they did not say who they were",
        "requests.no_room": "requests refused since too many were under way",
    }

    _server: Server | None = None

    def __init__(self, config: HttpSourceConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.node = f"{ctx.pipeline}@{platform.node()}"
        self._unread: deque[Posted] = deque()
        self._unsettled: set[Posted] = set()
        self._arrived = asyncio.Event()

    async def open(self) -> None:
        from headrace_plugins.http_source.server import Server

        if self._server is None:
            server = Server(self)
            try:
                await server.start()
            except BaseException:
                await server.stop()
                raise
            self._server = server
        self.ctx.status.set("running", f"listening on {self.address}")

    @property
    def address(self) -> str:
        """Where it listens, with the port the system gave if 0 was asked for."""
        assert self._server is not None
        return self._server.address

    async def read(self) -> tuple[Batch, Ack]:
        unread = self._unread
        while not unread:
            self._arrived.clear()
            await self._arrived.wait()
        first = unread.popleft()
        taken, events, size = [first], first.events[:], first.size
        while unread and len(events) + len(unread[0].events) <= BATCH and size + unread[0].size <= BATCH_BYTES:
            posted = unread.popleft()
            taken.append(posted)
            events += posted.events
            size += posted.size
        return events, partial(self._settle, taken)

    def _settle(self, taken: list[Posted], error: Exception | None) -> None:
        for posted in taken:
            self._unsettled.discard(posted)
            posted.settle(error)

    def put(self, posted: Posted) -> None:
        """Let the engine read these events."""
        self._unread.append(posted)
        self._unsettled.add(posted)
        self._arrived.set()

    def take_back(self, posted: Posted) -> bool:
        """Forget events that were not read. False if they were: then they may be in the stream any moment."""
        if posted not in self._unread:
            return False
        self._unread.remove(posted)
        self._unsettled.discard(posted)
        return True

    async def close(self) -> None:
        for posted in list(self._unsettled):
            posted.settle(ConnectionError("shutting down"))
        self._unread.clear()
        self._unsettled.clear()
        if self._server is not None:
            await self._server.stop()
        self.ctx.status.set("stopped")
