"""The http connector: one server, and what its sinks share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from pydantic import SecretStr

from headrace import Connector, Context, Event, Form, NotConnected, TestStep
from headrace_plugins.http.check import Checker
from headrace_plugins.http.config import HttpConnectorConfig, HttpSinkConfig
from headrace_plugins.http.dial import Dialler
from headrace_plugins.http.exchange import Answer, Call, Exchange, ask
from headrace_plugins.http.fields import constants
from headrace_plugins.http.health import Health
from headrace_plugins.http.hosts import HostPools, url_of
from headrace_plugins.http.pool import HashedPool, Pool
from headrace_plugins.http.request import RequestTemplate, literal
from headrace_plugins.http.tls import Certificates
from headrace_plugins.http.tokens import Tokens, token_request
from headrace_plugins.http.url import Url, parse_url, secrets_of

__all__ = ["HttpConnector"]

_LOOK_EVERY = 1.0
"""Seconds between two looks at the files of the certificates."""


class HttpConnector(Connector[HttpConnectorConfig]):
    """An HTTP/1.1 server: address, headers, TLS, and a pool of keep-alive connections that its sinks share."""

    name = "http"
    counts: ClassVar = {
        "connections": "open connections of the pool now",
        "resent": "requests sent once more because a connection closed before any byte of the answer",
        "connect_failed": "connections that could not be opened",
    }

    def __init__(self, config: HttpConnectorConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.url = parse_url(config.url, literal=False)
        self._certificates = Certificates(config.tls) if self.url.tls else None
        self._health = Health(ctx)
        self.dialler = Dialler(self.url, config, self._certificates)
        self.where = self.dialler.where
        given = config.auth.secrets if config.auth else []
        if self.dialler.proxy:
            given = [*given, self.dialler.proxy.authorization.rpartition(" ")[2]]
        self.where.hide(*constants(config.headers), *secrets_of(self.url.query), *given)
        self.tokens = self._make_tokens()
        self.pool: Pool | HashedPool | HostPools
        if self.url.templated:
            self.pool = HostPools(self.url, config.allow_hosts, lambda url: self._make_pool(self._dialler_to(url)))
        else:
            self.pool = self._make_pool(self.dialler)
        self._checker = Checker(self)
        self._tasks: list[asyncio.Task[None]] = []
        ctx.metrics.gauge("connections", lambda: self.pool.connections)

    def _dialler_to(self, url: Url) -> Dialler:
        return Dialler(url, self.config, self._certificates, self.where.secrets)

    def _make_pool(self, dialler: Dialler) -> Pool | HashedPool:
        if self.config.pool_type == "hash":
            return HashedPool(
                [Pool(dialler, self.config, self.ctx, self._health, 1) for _ in range(self.config.pool_size)]
            )
        return Pool(dialler, self.config, self.ctx, self._health)

    def _make_tokens(self) -> Tokens | None:
        oauth2 = self.config.auth.oauth2 if self.config.auth else None
        if oauth2 is None:
            return None
        headers, form = token_request(oauth2)
        endpoint = HttpConnector(
            HttpConnectorConfig(
                url=oauth2.token_url,
                headers={name: SecretStr(literal(value)) for name, value in headers.items()},
                tls=oauth2.tls or self.config.tls,
                proxy=self.config.proxy,
                deny=self.config.deny,
            ),
            Context(self.ctx.name, log=self.log),
        )
        request = endpoint.template(HttpSinkConfig(body=literal(form), id_header=""), lambda _: None).render(Event({}))

        async def fetch() -> Answer:
            endpoint.load()
            async with asyncio.timeout(oauth2.timeout):
                return await endpoint.ask(lambda: request, oauth2.timeout)

        return Tokens(oauth2, fetch, self.where, self.log)

    def template(self, sink: HttpSinkConfig, warn: Callable[[str], None], form: Form = "array") -> RequestTemplate:
        """What renders the requests of a sink, with all that the connector adds."""
        return RequestTemplate(self.url, self.config, sink, warn, form, self.tokens)

    def load(self) -> None:
        """Read the certificates."""
        if self._certificates:
            self._certificates.load()

    async def open(self) -> None:
        """Read the certificates. Nothing is connected before there is something to send, but for the health check."""
        self.load()
        self.pool.open()
        await self._end_tasks()
        if self._certificates and self._certificates.files:
            self._spawn(self._follow_certificates(self._certificates))
        if self.config.health_check:
            self._spawn(self._checker.watch(self._health.of_probe))

    async def send(self, call: Call, exchanges: list[Exchange]) -> None:
        """Returns when all of them are settled. If cancelled, settles no more of them."""
        await call.through(self.pool, exchanges)

    async def ask(self, render: Callable[[], bytes], timeout: float) -> Answer:
        """The answer to one request that is no delivery; DeliveryError if there is none.

        It is rendered when there is a token. It goes over a connection of its own, so that it tells of connecting
        too, and waits for nobody.
        """
        if self.tokens:
            await self.tokens.ready()
        request, dialler = render(), self.dialler
        if self.url.templated:
            dialler = self._dialler_to(url_of(request, self.url, self.config.allow_hosts))
        aside = Context(self.ctx.name, log=self.log)  # nothing of it is counted or shown
        pool = Pool(dialler, self.config, aside, Health(aside), 1)
        pool.open()
        pool.expect(timeout)
        try:
            return await ask(pool, request, timeout)
        finally:
            await pool.close()

    async def health(self) -> None:
        await self._checker.health()

    async def test(self) -> list[TestStep]:
        return await self._checker.test()

    async def close(self) -> None:
        await self._end_tasks()
        if self.tokens:
            await self.tokens.close()
        await self.pool.close()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(coroutine))

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_certificates(self, certificates: Certificates) -> None:
        """When a file changes, new connections use it, and those there are take no new requests."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                if certificates.renew():
                    self.log.info("the certificates changed and are in use")
                    self.pool.retire()
            except NotConnected as exc:
                self.ctx.status.error(str(exc))
                self.log.warning("%s; the old ones stay in use", exc)
