"""Where devices connect: an address, perhaps with TLS, a websocket, or a load balancer before it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from headrace import NotConnected
from headrace.addresses import split_address
from headrace.metrics import Metrics
from headrace_plugins._files import versions_of
from headrace_plugins.mqtt_server.config import ListenerOptions, TlsOptions
from headrace_plugins.mqtt_server.proxied import BadHeader, Origin, read_origin
from headrace_plugins.mqtt_server.websocket import WebSocket
from headrace_plugins.mqtt_server.wire import Wire

__all__ = ["LINGER", "Listener"]

LINGER = 2
"""Seconds a closing connection has to take its last bytes."""
BACKLOG = 4096
MAX_UNKNOWN = 1000
"""Connections whose proxy has not said yet whose they are."""

Connect = Callable[[Origin | None], Wire]


class Listener:
    """Listens from ``open`` to ``close``; ``connect`` makes the protocol of each connection."""

    def __init__(
        self, options: ListenerOptions, connect: Connect, timeout: float, log: logging.Logger, metrics: Metrics
    ) -> None:
        self._options, self._connect, self._timeout = options, connect, timeout
        self._log, self._metrics = log, metrics
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = None
        self._versions: list[tuple[int, int, int] | None] = []

    async def open(self) -> None:
        """Listen. NotConnected says why not."""
        options = self._options
        try:
            if options.tls:
                self._versions = _versions(options.tls)
                self._tls = _tls_context(options.tls)
            self._sockets = await _bind(*split_address(options.listen))
            if options.proxy_protocol:
                for sock in self._sockets:
                    self._start(self._accept(sock))
            else:
                self._servers = await self._serve()
        except (OSError, ValueError) as error:
            self.close()
            raise NotConnected(f"cannot listen on {options.listen}: {error}") from error

    @property
    def address(self) -> str:
        """Where it listens, with the port the system gave if 0 was asked for."""
        host, port = self._sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    def close(self) -> None:
        """Take no more connections; those there are stay."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        for sock in self._sockets:
            sock.close()

    def refresh(self) -> None:
        """Look whether the certificates changed: the new ones are for connections from now on."""
        tls = self._options.tls
        if tls is None:
            return
        versions = _versions(tls)
        if versions != self._versions:
            self._versions = versions
            self._tls = _tls_context(tls)
            self._log.info("%s: the certificate was read again", self._options.listen)
            if self._servers:
                self._start(self._serve_anew())

    # -- inside ------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _protocol(self, origin: Origin | None) -> asyncio.BaseProtocol:
        inner = self._connect(origin)
        options = self._options
        return WebSocket(inner, options.path, options.origins) if options.websocket else inner

    async def _serve(self) -> list[asyncio.Server]:
        # the sockets stay ours: servers with new certificates take their place without a gap
        loop = asyncio.get_running_loop()
        return [
            await loop.create_server(
                lambda: self._protocol(None),
                sock=sock.dup(),
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=self._timeout if self._tls else None,
                ssl_shutdown_timeout=LINGER if self._tls else None,
            )
            for sock in self._sockets
        ]

    async def _serve_anew(self) -> None:
        before, self._servers = self._servers, await self._serve()
        for server in before:
            server.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:  # no file descriptors left, or gone before we looked
                self._log.warning("%s: %s", self._options.listen, error)
                await asyncio.sleep(0.1)
                continue
            if len(self._tasks) > MAX_UNKNOWN:
                self._metrics.add("connections.refused")
                sock.close()
            else:
                self._start(self._introduce(sock))

    async def _introduce(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        try:
            async with asyncio.timeout(self._timeout):
                origin = await read_origin(sock)
            await loop.connect_accepted_socket(
                lambda: self._protocol(origin),
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=self._timeout if self._tls else None,
                ssl_shutdown_timeout=LINGER if self._tls else None,
            )
        except BadHeader as error:
            self._metrics.add("connections.protocol_error")
            self._log.info("%s: %s", self._options.listen, error)
            sock.close()
        except (OSError, TimeoutError):
            sock.close()
        except BaseException:
            sock.close()
            raise


async def _bind(host: str, port: int) -> list[socket.socket]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, host or None, port, start_serving=False)
    sockets = [socket.socket(fileno=os.dup(sock.fileno())) for sock in server.sockets]
    server.close()
    for sock in sockets:
        sock.setblocking(False)
        sock.listen(BACKLOG)
    return sockets


def _versions(tls: TlsOptions) -> list[tuple[int, int, int] | None]:
    return versions_of(path for path in (tls.cert, tls.key, tls.ca) if path)


def _tls_context(tls: TlsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.ca)
    context.load_cert_chain(tls.cert, tls.key)
    if tls.require_client_cert:
        context.verify_mode = ssl.CERT_REQUIRED
    elif tls.ca:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
