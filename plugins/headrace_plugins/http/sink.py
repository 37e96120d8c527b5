"""The http sink: one request for each event, or one for a batch."""

from __future__ import annotations

import asyncio
import base64
import time
from hashlib import blake2b
from typing import Any

from headrace import Batch, Context, DeliveryError, Done, Event, HeadraceError, Sink
from headrace_plugins.http.config import HttpSinkConfig
from headrace_plugins.http.connector import HttpConnector
from headrace_plugins.http.exchange import Call, Exchange
from headrace_plugins.http.fields import sensitive, statuses
from headrace_plugins.http.request import Form, RequestTemplate, join_bodies
from headrace_plugins.http.url import mask_url

__all__ = ["HttpSink"]


class HttpSink(Sink[HttpSinkConfig]):
    """One HTTP request for each event, or one for a batch."""

    name = "http"
    connector_type = HttpConnector

    def __init__(self, config: HttpSinkConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        if not isinstance(ctx.connector, HttpConnector):
            raise HeadraceError(f"{ctx.name}: an http sink needs an http connector")
        self._connector = ctx.connector
        self._success = statuses(config.success)
        self._drop_on = statuses(config.drop_on)
        self._warned_at = -60.0
        self._request = self._template("array")
        self._joined: dict[Form, RequestTemplate] = {}
        self._connector.pool.expect(config.timeout)

    def _template(self, form: Form) -> RequestTemplate:
        return RequestTemplate(self._connector.url, self._connector.config, self.config, self._header_left_out, form)

    async def write(self, batch: Batch, done: Done) -> None:
        call = self._call(done)
        exchanges = []
        for i, event in enumerate(batch):
            try:
                exchanges.append(Exchange(call, i, self._request.render(event), event.key))
            except Exception as exc:  # noqa: BLE001 - whatever is wrong with this event, the others go on
                done(i, _invalid(exc))
        if exchanges:
            await self._connector.send(call, exchanges)

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
            await self._connector.send(call, [Exchange(call, i, message) for i, message in enumerate(messages)])
        else:  # there is nothing to join
            await self.write(batch, done)
        if errors:
            raise errors[0]

    def render(self, event: Event) -> dict[str, Any]:
        request = self._request.render(event)
        head, _, _ = request.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        public = {self.config.id_header.lower()}
        body = self._request.body(event) if self._request.has_body else b""
        return {
            "method": method,
            "url": mask_url(self._connector.origin + target),
            "headers": {k: "******" if sensitive(k) and k.lower() not in public else v for k, v in headers.items()},
            **_shown_body(body),
        }

    async def trial(self, event: Event) -> dict[str, Any]:
        began = time.perf_counter()
        try:
            request = self._request.render(event)
            async with asyncio.timeout(self.config.timeout + self._connector.config.connect_timeout):
                answer = await self._connector.ask(request, self.config.timeout)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the result
            return {"ok": False, "error": str(exc) or type(exc).__name__}
        ok = answer.status in self._success
        return {
            "ok": ok,
            "error": None if ok else f"the server answered {answer.status}",
            "status": answer.status,
            "answer": answer.body.decode("utf-8", "replace"),
            "seconds": time.perf_counter() - began,
        }

    def _call(self, done: Done) -> Call:
        follow = self.config.redirects == "follow"
        return Call(done, self._success, self._drop_on, self.config.timeout, follow=follow)

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


def _shown_body(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "body_is_base64": True}


def _joint_id(events: list[Event]) -> str:
    return blake2b("\0".join([event.delivery_id for event in events]).encode(), digest_size=16).hexdigest()
