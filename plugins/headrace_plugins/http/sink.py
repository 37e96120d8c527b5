"""The http sink: one request for each event, or one for a batch."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from headrace import (
    Batch,
    Context,
    DeliveryError,
    Done,
    Event,
    Form,
    HeadraceError,
    JoiningSink,
    Piece,
    Receipt,
)
from headrace_plugins.http.config import HttpSinkConfig
from headrace_plugins.http.connector import HttpConnector
from headrace_plugins.http.exchange import Call, Exchange
from headrace_plugins.http.fields import constants, sensitive, statuses
from headrace_plugins.http.hosts import url_of
from headrace_plugins.http.request import RequestTemplate, join_bodies
from headrace_plugins.http.tokens import Tokens
from headrace_plugins.http.url import Where

__all__ = ["HttpSink"]


class _Part(Protocol):
    """What one request is made of: an event, or several joined."""

    @property
    def key(self) -> str: ...


P = TypeVar("P", bound=_Part)


class HttpSink(JoiningSink[HttpSinkConfig]):
    """One HTTP request for each event, or one for a batch."""

    name = "http"
    counts: ClassVar = {"headers_left_out": "headers whose value cannot stand in one"}
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
        self._connector.where.hide(*constants(config.headers), *constants(config.query))
        self._connector.pool.expect(config.timeout)

    @classmethod
    def defaults(cls, config: HttpSinkConfig) -> Mapping[str, Any]:
        if config.profile != "emqx":
            return {}
        on = ["network", "timeout", 429, 503]
        return {"ttl": "45s", "retry": {"on": on, "max": "15s", "max_attempts": 1_000_000}}

    def _template(self, form: Form) -> RequestTemplate:
        return self._connector.template(self.config, self._header_left_out, form)

    async def write(self, batch: Batch, done: Done) -> None:
        await self._deliver(batch, self._request.render, done)

    def piece(self, event: Event, form: Form) -> Piece:
        """Its body; in common with others are the address and the headers. Without a body there is nothing to join."""
        if not self._request.has_body:
            return Piece(event, b"")
        template = self._joined.get(form)
        if template is None:
            template = self._joined[form] = self._template(form)
        try:
            return Piece(template.head(event), template.body(event))
        except Exception as exc:
            raise _invalid(exc) from exc

    async def write_joined(self, batch: Batch, pieces: Sequence[bytes], common: Hashable, form: Form) -> Receipt | None:
        """The delivery id of such a request is a hash of those of its events; its trace is the first that one has."""
        outcome: list[tuple[Exception | None, Receipt | None]] = []

        def done(_: int, error: Exception | None, receipt: Receipt | None = None) -> None:
            outcome.append((error, receipt))

        if isinstance(common, bytes):
            template = self._joined[form]
            trace = next((event.trace for event in batch if event.trace), "")
            joint = _Joint(common, _joint_id(batch), join_bodies(pieces, form), batch[0].key, trace)
            await self._deliver([joint], lambda part: template.message(part.head, part.id, part.body, part.trace), done)
        else:
            await self._deliver(batch, self._request.render, done)
        error, receipt = outcome[0]
        if error is not None:
            raise error
        return receipt

    async def _deliver(self, parts: Sequence[P], render: Callable[[P], bytes], done: Done) -> None:
        """One request for each part; returns when all are settled."""
        tokens = self._connector.tokens
        if tokens is None:
            await self._attempt(parts, render, done)
        else:
            await self._with_token(tokens, parts, render, done)

    async def _attempt(self, parts: Sequence[P], render: Callable[[P], bytes], done: Done) -> None:
        """Each part once, without a second look at the token."""
        follow = self.config.redirects == "follow"
        call = Call(done, self._success, self._drop_on, self.config.timeout, follow=follow)
        exchanges = []
        for i, part in enumerate(parts):
            try:
                exchanges.append(Exchange(call, i, render(part), part.key))
            except Exception as exc:  # noqa: BLE001 - whatever is wrong with this event, the others go on
                done(i, _invalid(exc))
        if exchanges:
            await self._connector.send(call, exchanges)

    async def _with_token(self, tokens: Tokens, parts: Sequence[P], render: Callable[[P], bytes], done: Done) -> None:
        """The same, and once more with a new token for those that were answered 401."""
        token = await tokens.ready()
        refused: dict[int, Exception] = {}

        def settle(i: int, error: Exception | None, receipt: Receipt | None = None) -> None:
            if isinstance(error, DeliveryError) and error.status == 401:
                refused[i] = error
            else:
                if error is None:
                    tokens.accepted()
                done(i, error, receipt)

        await self._attempt(parts, render, settle)
        if not refused:
            return
        again = list(refused)
        if await tokens.replace(token):
            await self._attempt([parts[i] for i in again], render, lambda n, *said: done(again[n], *said))
        else:
            for i, error in refused.items():
                done(i, error)

    def render(self, event: Event) -> dict[str, Any]:
        request = self._request.render(event)
        head, _, _ = request.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        body = self._request.body(event) if self._request.has_body else b""
        return {
            "method": method,
            "url": self._where(request).shown(target.encode()),
            "headers": {k: "******" if self._private(k) else v for k, v in headers.items()},
            **_shown_body(body),
        }

    def _where(self, request: bytes) -> Where:
        connector = self._connector
        if not connector.url.templated or not connector.where.origin:
            return connector.where
        return replace(connector.where, origin=url_of(request, connector.url, connector.config.allow_hosts).origin)

    def _private(self, header: str) -> bool:
        """Is the value of this header not to be shown?"""
        auth = self._connector.config.auth
        if auth and header.lower() == auth.header_name:
            return True
        return sensitive(header) and header.lower() != self.config.id_header.lower()

    async def trial(self, event: Event) -> dict[str, Any]:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.config.timeout + self._connector.config.connect_timeout):
                answer = await self._connector.ask(lambda: self._request.render(event), self.config.timeout)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the result
            return {"ok": False, "error": str(exc) or type(exc).__name__}
        ok = answer.status in self._success
        return {
            "ok": ok,
            "error": None if ok else f"the server answered {answer.status}",
            "status": answer.status,
            "answer": self._connector.where.conceal(answer.body).decode("utf-8", "replace"),
            "seconds": time.perf_counter() - began,
        }

    def _header_left_out(self, name: str) -> None:
        self.ctx.metrics.add("headers_left_out")
        now = time.monotonic()
        if now - self._warned_at >= 60:
            self._warned_at = now
            self.log.warning("header %r left out: its value cannot be sent in a header", name)


class _Joint(NamedTuple):
    """Several events as one request."""

    head: bytes
    id: str
    body: bytes
    key: str
    trace: str


def _invalid(exc: Exception) -> DeliveryError:
    if isinstance(exc, DeliveryError):
        return exc
    return DeliveryError(f"the request cannot be made: {type(exc).__name__}: {exc}", kind="invalid")


def _shown_body(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "body_is_base64": True}


def _joint_id(events: Batch) -> str:
    return blake2b("\0".join([event.delivery_id for event in events]).encode(), digest_size=16).hexdigest()
