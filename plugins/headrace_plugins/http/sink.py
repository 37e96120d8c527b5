"""The http connector and sink."""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import blake2b

from headrace import Batch, Connector, Context, DeliveryError, Done, Event, HeadraceError, Sink
from headrace_plugins.http.config import HttpConnectorConfig, HttpSinkConfig, parse_url
from headrace_plugins.http.connection import Call, Exchange
from headrace_plugins.http.pool import Pool
from headrace_plugins.http.request import Form, RequestTemplate, join_bodies

__all__ = ["HttpConnector", "HttpSink"]


class HttpConnector(Connector[HttpConnectorConfig]):
    """An HTTP/1.1 server: address, headers, TLS, and a pool of keep-alive connections that its sinks share."""

    name = "http"

    def __init__(self, config: HttpConnectorConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.url = parse_url(config.url)
        self.pool = Pool(self.url, config, ctx)

    async def open(self) -> None:
        self.pool.open()

    async def health(self) -> None:
        await self.pool.probe()

    async def close(self) -> None:
        await self.pool.close()


class HttpSink(Sink[HttpSinkConfig]):
    """One HTTP request for each event, or one for a batch."""

    name = "http"
    connector_type = HttpConnector

    def __init__(self, config: HttpSinkConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        if not isinstance(ctx.connector, HttpConnector):
            raise HeadraceError(f"{ctx.name}: an http sink needs an http connector")
        self._connector = ctx.connector
        self._pool = ctx.connector.pool
        self._success = _statuses(config.success)
        self._drop_on = _statuses(config.drop_on)
        self._warned_at = -60.0
        self._request = self._template("array")
        self._joined: dict[Form, RequestTemplate] = {}
        self._pool.expect(config.timeout)

    def _template(self, form: Form) -> RequestTemplate:
        return RequestTemplate(self._connector.url, self._connector.config, self.config, self._header_left_out, form)

    async def write(self, batch: Batch, done: Done) -> None:
        call = self._call(done)
        exchanges = []
        for i, event in enumerate(batch):
            try:
                exchanges.append(Exchange(call, i, self._request.render(event)))
            except Exception as exc:  # noqa: BLE001 - whatever is wrong with this event, the others go on
                done(i, _invalid(exc))
        if exchanges:
            await self._pool.send(call, exchanges)

    async def write_joined(self, batch: Batch, form: Form) -> None:
        """Send all these events in one request, or in one for each address and set of headers that they differ in.

        Raises if any of it failed. The delivery id of such a request is a hash of those of its events.
        """
        errors: list[Exception] = []

        def done(i: int, error: Exception | None) -> None:
            if error is not None:
                errors.append(error)

        if self._request.has_body:
            call = self._call(done)
            messages = self._join(batch, form)
            await self._pool.send(call, [Exchange(call, i, message) for i, message in enumerate(messages)])
        else:  # there is nothing to join
            await self.write(batch, done)
        if errors:
            raise errors[0]

    def _call(self, done: Done) -> Call:
        return Call(done, self._success, self._drop_on, self.config.timeout)

    def _join(self, batch: Batch, form: Form) -> list[bytes]:
        template = self._joined.get(form)
        if template is None:
            template = self._joined[form] = self._template(form)
        parts: dict[bytes, list[Event]] = {}
        try:
            for event in batch:
                parts.setdefault(template.head(event), []).append(event)
            return [
                template.message(head, _joint_id(events), join_bodies([template.body(e) for e in events], form))
                for head, events in parts.items()
            ]
        except Exception as exc:
            raise _invalid(exc) from exc

    def _header_left_out(self, name: str) -> None:
        self.ctx.metrics.add("headers_left_out")
        now = time.monotonic()
        if now - self._warned_at >= 60:
            self._warned_at = now
            self.log.warning("%s: header %r left out: its value cannot be sent in a header", self.ctx.name, name)


def _invalid(exc: Exception) -> DeliveryError:
    if isinstance(exc, DeliveryError):
        return exc
    return DeliveryError(f"the request cannot be made: {type(exc).__name__}: {exc}", kind="invalid")


def _joint_id(events: list[Event]) -> str:
    return blake2b("\0".join([event.delivery_id for event in events]).encode(), digest_size=16).hexdigest()


def _statuses(patterns: Iterable[int | str]) -> frozenset[int]:
    """The codes that are meant by ``204`` or ``2xx``."""
    return frozenset(
        status
        for pattern in patterns
        for status in (
            range(int(pattern[0]) * 100, int(pattern[0]) * 100 + 100) if isinstance(pattern, str) else (pattern,)
        )
    )
