"""Asking a server how it is: the health check at its interval, and the test of the way to it, stage by stage."""

from __future__ import annotations

import asyncio
import http
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace import DeliveryError, Event, NotConnected, TestStep
from headrace_plugins.http.chain import chain
from headrace_plugins.http.config import HealthCheck, HttpSinkConfig
from headrace_plugins.http.dial import Silent
from headrace_plugins.http.exchange import Answer
from headrace_plugins.http.fields import statuses
from headrace_plugins.http.request import RequestTemplate

if TYPE_CHECKING:
    from headrace_plugins.http.connector import HttpConnector

__all__ = ["Checker"]

_ANY = HealthCheck(method="HEAD", expect=("2xx", "3xx", "4xx", "5xx"))
"""Without a health check: whatever the server says, it speaks HTTP."""


class Checker:
    """What a connector says of its server."""

    def __init__(self, connector: HttpConnector) -> None:
        self._connector = connector
        self._dialler = connector.dialler
        self._config = connector.config
        self._check = connector.config.health_check

    async def health(self) -> None:
        """NotConnected, with the reason, if the server cannot be used: by its answer, if there is a health check."""
        if self._dialler.url.templated:
            return  # whom to ask is known with an event only
        if self._check is None:
            await self._way()
        else:
            await self._expected(self._check)

    async def _way(self) -> None:
        try:
            (await self._dialler.connect(Silent)).transport.abort()
        except Exception as exc:
            raise NotConnected(self._dialler.reason(exc)) from exc

    async def _expected(self, check: HealthCheck) -> Answer:
        answer = await self._ask(check)
        if answer.status not in statuses(check.expect):
            raise NotConnected(f"the health check failed: {_said(answer, check)}")
        return answer

    async def _ask(self, check: HealthCheck) -> Answer:
        sink = HttpSinkConfig(method=check.method, path=check.path, missing="omit", id_header="", send_body=False)
        url = replace(self._dialler.url, path="", query="")
        connector = self._connector
        request = RequestTemplate(url, self._config, sink, lambda _: None, tokens=connector.tokens)
        try:
            async with asyncio.timeout(check.timeout):
                return await connector.ask(lambda: request.render(Event({})), check.timeout)
        except TimeoutError:
            raise NotConnected(f"the health check had no answer within {check.timeout:g} s") from None
        except DeliveryError as exc:
            raise NotConnected(str(exc)) from exc

    async def watch(self, report: Callable[[str], None]) -> None:
        """Check at the interval, for ever; ``report`` is told what is wrong, or nothing."""
        assert self._check is not None
        while True:
            try:
                await self._expected(self._check)
            except NotConnected as exc:
                report(str(exc))
            else:
                report("")
            await asyncio.sleep(self._check.interval)

    # -- the way, stage by stage -------------------------------------------------------------------------------

    async def test(self) -> list[TestStep]:
        """DNS, TCP, TLS and HTTP; the last of the list is the one that failed, if any did."""
        if self._dialler.url.templated:
            hosts = ", ".join(self._config.allow_hosts)
            return [TestStep("dns", ok=True, detail=f"not tried: events choose the host, of {hosts}")]
        stages: dict[str, Callable[[], Awaitable[tuple[str, dict[str, Any]]]]] = {"dns": self._dns, "tcp": self._tcp}
        if self._dialler.url.tls:
            stages["tls"] = self._tls
        stages["http"] = self._http
        steps: list[TestStep] = []
        for name, stage in stages.items():
            began = time.perf_counter()
            try:
                async with asyncio.timeout(self._config.connect_timeout + 1):
                    detail, facts = await stage()
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is the result of this step
                reason = self._dialler.reason(exc)
                steps.append(TestStep(name, ok=False, detail=reason, seconds=time.perf_counter() - began))
                break
            steps.append(TestStep(name, True, detail, time.perf_counter() - began, facts))
        return steps

    async def _dns(self) -> tuple[str, dict[str, Any]]:
        addresses = await self._dialler.resolve()
        return ", ".join(addresses), {"addresses": addresses}

    async def _tcp(self) -> tuple[str, dict[str, Any]]:
        await self._dialler.reach()
        proxy = self._dialler.proxy
        return f"connected through the proxy {proxy.authority}" if proxy else "connected", {}

    async def _tls(self) -> tuple[str, dict[str, Any]]:
        silent = await self._dialler.connect(Silent)
        try:
            return chain(silent.transport.get_extra_info("ssl_object"))
        finally:
            silent.transport.abort()

    async def _http(self) -> tuple[str, dict[str, Any]]:
        check = self._check or _ANY
        answer = await self._expected(check)
        return _said(answer, check), {"status": answer.status}


def _said(answer: Answer, check: HealthCheck) -> str:
    try:
        phrase = http.HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    return f"the server answered {answer.status} {phrase}".rstrip() + f" to {check.method} {check.path}"
