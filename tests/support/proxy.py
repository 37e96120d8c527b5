"""A TCP proxy for tests of bad networks: it cuts, delays, and swallows."""

from __future__ import annotations

import asyncio
import contextlib


class Proxy:
    """Stands before a port of this machine. What it does to the traffic may change at any time."""

    def __init__(self, port: int) -> None:
        self.behind = port
        self.port = 0
        self.delay = 0.0
        """Seconds each piece waits, either way."""
        self.pieces = 1 << 16
        """Bytes of a piece, at most."""
        self.swallows = False
        """A black hole: connections stand, and nothing comes through."""
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            other = await asyncio.open_connection("127.0.0.1", self.behind)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(other[1])
        for one, to in ((reader, other[1]), (other[0], writer)):
            task = asyncio.create_task(self._pump(one, to))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(self.pieces):
                if self.delay:
                    await asyncio.sleep(self.delay)
                while self.swallows:
                    await asyncio.sleep(0.01)
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()
