"""A connector whose events choose the host: a pool for each host that they may choose."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from headrace import DeliveryError
from headrace_plugins.http.exchange import Call, Exchange
from headrace_plugins.http.guard import host_allowed
from headrace_plugins.http.pool import HashedPool, Pool
from headrace_plugins.http.url import Url

__all__ = ["HostPools", "url_of"]

_MOST = 256
"""Pools beyond which those that have no connection are forgotten."""
_HOST = re.compile(rb"\r\nhost: ([^\r]*)", re.IGNORECASE)


def url_of(request: bytes, url: Url, allowed: Iterable[str]) -> Url:
    """Where this request goes by its Host header; DeliveryError if that is no host that is allowed."""
    found = _HOST.search(request, 0, request.index(b"\r\n\r\n"))
    authority = found[1].decode("latin-1").lower() if found else ""
    host = authority.removesuffix(url.authority.removeprefix(url.host))  # the port is literal
    if not host_allowed(host, allowed):
        raise DeliveryError(f"the host {host[:100]!r} is not among allow_hosts", kind="invalid")
    return replace(url, host=host)


class HostPools:
    """``make`` gives the pool for an address. A request goes where its Host header says, so the two always agree."""

    def __init__(self, url: Url, allowed: Iterable[str], make: Callable[[Url], Pool | HashedPool]) -> None:
        self._url = url
        self._allowed = tuple(allowed)
        self._make = make
        self._pools: dict[Url, Pool | HashedPool] = {}
        self._timeout = float("inf")

    @property
    def connections(self) -> int:
        """How many are up."""
        return sum(pool.connections for pool in self._pools.values())

    def open(self) -> None:
        """Nothing to do before there is a host."""

    def expect(self, timeout: float) -> None:
        """Look for overdue requests often enough for this timeout."""
        self._timeout = min(self._timeout, timeout)

    def put(self, exchanges: Iterable[Exchange]) -> None:
        """Send these, each to its host."""
        parts: dict[Url, list[Exchange]] = {}
        for exchange in exchanges:
            try:
                parts.setdefault(url_of(exchange.data, self._url, self._allowed), []).append(exchange)
            except DeliveryError as exc:
                exchange.settle(exc)
        for url, part in parts.items():
            self._pool(url).put(part)

    def _pool(self, url: Url) -> Pool | HashedPool:
        pool = self._pools.get(url)
        if pool is None:
            if len(self._pools) >= _MOST:
                self._pools = {url: pool for url, pool in self._pools.items() if not pool.idle}
            pool = self._pools[url] = self._make(url)
            pool.open()
            pool.expect(self._timeout)
        return pool

    def abandon(self, call: Call) -> None:
        """Settle no more exchanges of this call."""
        for pool in self._pools.values():
            pool.abandon(call)

    def retire(self) -> None:
        """Use none of the connections there are for anything new."""
        for pool in self._pools.values():
            pool.retire()

    async def close(self) -> None:
        """End everything; what is unanswered fails."""
        await asyncio.gather(*[pool.close() for pool in self._pools.values()])
