"""Making connections: the server's addresses, the proxy on the way, TLS; and in which words it fails."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar, cast

from headrace import NotConnected
from headrace_plugins.http.config import HttpConnectorConfig
from headrace_plugins.http.guard import Guard
from headrace_plugins.http.tls import Certificates
from headrace_plugins.http.url import Url, Where, parse_proxy

__all__ = ["Dialler", "Silent"]

P = TypeVar("P", bound=asyncio.Protocol)
_MAX_HEAD = 1 << 16


class Dialler:
    """Connects to one server. What it raises, ``reason`` puts into words."""

    def __init__(
        self,
        url: Url,
        config: HttpConnectorConfig,
        certificates: Certificates | None,
        secrets: set[bytes] | None = None,
    ) -> None:
        self.url = url
        self.proxy = parse_proxy(config.proxy.get_secret_value()) if config.proxy else None
        self.certificates = certificates
        self._config = config
        self._guard = Guard(config.deny)
        self._worked = ""
        self._peer = self.proxy or url
        """To whom the socket goes."""
        whole = self.proxy is not None and not url.tls  # the requests themselves name the server then
        parameter = config.auth.parameter if config.auth else None
        self.where = Where(
            "" if whole else url.origin, parameter[0] if parameter else "", set() if secrets is None else secrets
        )

    async def connect(self, make: Callable[[], P]) -> P:
        """A protocol on a connection that requests may be written to."""
        async with asyncio.timeout(self._config.connect_timeout):
            addresses = await self.resolve()
            if not self.url.tls:
                return await self._any(addresses, make, None)
            if not self.proxy:
                return await self._any(addresses, make, self._tls())
            tunnel = await self._tunnel(addresses)
            return await self._secure(tunnel, make())

    async def reach(self) -> None:
        """Connect to the server, or through its proxy, without a word to it. For a test of the way."""
        async with asyncio.timeout(self._config.connect_timeout):
            addresses = await self.resolve()
            if self.proxy and self.url.tls:
                (await self._tunnel(addresses)).abort()
            else:
                (await self._any(addresses, Silent, None)).transport.abort()

    async def resolve(self) -> list[str]:
        """The addresses of the server, or of its proxy, that are not denied; these very ones are connected to."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._peer.host, self._peer.port, type=socket.SOCK_STREAM)
        return self._guard.allowed(self._peer.host, list(dict.fromkeys(str(address[0]) for *_, address in found)))

    async def _any(self, addresses: list[str], make: Callable[[], P], tls: ssl.SSLContext | None) -> P:
        """The first address that takes a connection; what the last one said if none does.

        The one that did before comes first. One that says nothing leaves time for the others.
        """
        loop, name = asyncio.get_running_loop(), self._name if tls else None
        problem = OSError("the host has no address")
        addresses = sorted(addresses, key=lambda address: address != self._worked)
        patience = self._config.connect_timeout / max(len(addresses), 1)
        for address in addresses:
            try:
                async with asyncio.timeout(None if address is addresses[-1] else patience):
                    sock = await self._reach(address)
                _, protocol = await loop.create_connection(make, sock=sock, ssl=tls, server_hostname=name)
            except OSError as exc:
                problem = exc
            else:
                self._worked = address
                return protocol
        raise problem

    async def _reach(self, address: str) -> socket.socket:
        """A connected socket. No protocol has heard of it if that is given up."""
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, self._peer.port))
        except BaseException:
            sock.close()
            raise
        return sock

    @property
    def _name(self) -> str:
        """The name its certificate must carry."""
        return self._config.tls.server_name or self.url.host

    def _tls(self) -> ssl.SSLContext:
        assert self.certificates is not None
        assert self.certificates.context is not None, "the connector is not open"
        return self.certificates.context

    # -- through a proxy ---------------------------------------------------------------------------------------

    async def _tunnel(self, addresses: list[str]) -> asyncio.Transport:
        """A connection through the proxy (CONNECT)."""
        assert self.proxy is not None
        tunnel = await self._any(addresses, _Tunnel, None)
        host = f"[{self.url.host}]" if ":" in self.url.host else self.url.host
        target = f"{host}:{self.url.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
        if self.proxy.authorization:
            lines.append(f"proxy-authorization: {self.proxy.authorization}")
        tunnel.transport.write("\r\n".join([*lines, "", ""]).encode())
        try:
            await tunnel.answer
        except BaseException:
            tunnel.transport.abort()
            raise
        return tunnel.transport

    async def _secure(self, transport: asyncio.Transport, protocol: P) -> P:
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(transport, protocol, self._tls(), server_hostname=self._name)
        except BaseException:
            transport.abort()
            raise
        if secured is None:
            raise ConnectionError("the connection was lost in the TLS handshake")
        protocol.connection_made(secured)
        return protocol

    # -- in words ----------------------------------------------------------------------------------------------

    def reason(self, exc: Exception) -> str:
        """What went wrong, for people."""
        where, peer = self.url.origin, self.url.origin
        if self.proxy:
            peer = f"the proxy {self.proxy.authority}"
        if isinstance(exc, NotConnected):
            return str(exc)
        if isinstance(exc, ssl.SSLCertVerificationError):
            return f"the certificate of {where} is not accepted: {exc.verify_message}"
        if isinstance(exc, ssl.SSLError):
            return f"TLS with {where} failed: {exc.reason or exc}"
        if isinstance(exc, socket.gaierror):
            return f"cannot resolve the host of {peer}: {exc.strerror}"
        if isinstance(exc, TimeoutError):
            return f"no connection to {where} within {self._config.connect_timeout:g} s"
        if f"[Errno {errno.ECONNREFUSED}]" in str(exc):  # also when several addresses were tried
            return f"Connection refused by {peer}"
        return f"cannot connect to {peer}: {exc}"


class Silent(asyncio.Protocol):
    """Says nothing and listens to nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)


class _Tunnel(Silent):
    """Waits for what a proxy answers to CONNECT."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if end:
            _, _, said = head.partition(b"\r\n")[0].partition(b" ")
            if not said.startswith(b"2"):
                self._fail(f"the proxy answered {said.decode('latin-1')}")
            elif rest:
                self._fail("the proxy sent something nobody asked for")
            elif not self.answer.done():
                self.answer.set_result(None)
        elif len(self._data) > _MAX_HEAD:
            self._fail("the proxy's answer is too long")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the proxy closed the connection before it answered")

    def _fail(self, reason: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(NotConnected(reason))
