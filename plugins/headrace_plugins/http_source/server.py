"""The listener of the source ``http``: who may send, how much, and what each request is answered."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import math
import ssl
from typing import TYPE_CHECKING, Any

from aiohttp import web

from headrace import Event, NotConnected, new_id, now_ms, traceparent
from headrace.addresses import split_address
from headrace.users import Users
from headrace_plugins.http_source.bodies import format_of, payloads
from headrace_plugins.http_source.source import Posted

if TYPE_CHECKING:
    from headrace_plugins.http_source.source import HttpSource

SHUTDOWN = 2.0
"""Seconds that requests have to be answered when the source closes."""


class Refusal(Exception):
    """A request that is not taken: its status, why, and what it is counted as."""

    def __init__(self, status: int, reason: str, counter: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.counter = counter
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Server:
    """Listens from ``start`` to ``stop``."""

    def __init__(self, source: HttpSource) -> None:
        self._source = source
        self._config = source.config
        self._metrics = source.ctx.metrics
        self._users: Users | None = None
        self._requests = 0
        self._held = 0  # bytes of bodies, those on their way included
        self._retry = str(math.ceil(self._config.retry_after))
        app = web.Application(client_max_size=self._config.max_body)
        app.router.add_post("/in/{topic:.+}", self._post)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN)

    async def start(self) -> None:
        """Listen. NotConnected says why it does not work."""
        config = self._config
        try:
            context = None
            if config.tls:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(config.tls.cert, config.tls.key)
            if config.users:
                self._users = Users(config.users)
            host, port = split_address(config.listen)
            await self._runner.setup()
            await web.TCPSite(self._runner, host or None, port, ssl_context=context).start()
        except (OSError, ValueError) as error:
            raise NotConnected(f"cannot listen on {config.listen}: {error}") from error
        self._metrics.gauge("requests.now", lambda: self._requests)

    @property
    def address(self) -> str:
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()
        if self._users is not None:
            self._users.close()

    # -- a request ---------------------------------------------------------------------------------------------

    async def _post(self, request: web.Request) -> web.Response:
        self._requests += 1
        try:
            if self._requests > self._config.max_requests:
                raise self._no_room(503, f"more than {self._config.max_requests} requests at one time")
            username = await self._authorized(request.headers.get("Authorization", ""))
            topic = request.match_info["topic"]
            if "\0" in topic or "+" in topic or "#" in topic or topic[:1] == "$" or len(topic.encode()) > 65535:
                raise Refusal(400, "the topic has a wildcard or NUL, begins with $, or is too long", "invalid")
            count = await self._take(request, topic, username)
        except Refusal as refusal:
            self._metrics.add(f"requests.{refusal.counter}")
            answer = web.json_response({"error": str(refusal)}, status=refusal.status, headers=refusal.headers)
            if not request.content.at_eof():
                answer.force_close()  # the rest of its body is not wanted
            return answer
        finally:
            self._requests -= 1
        self._metrics.add("requests.accepted")
        return web.json_response({"accepted": count}, status=202)

    async def _take(self, request: web.Request, topic: str, username: str | None) -> int:
        most = self._config.max_body
        length = request.content_length
        if length is not None and length > most:
            raise Refusal(413, f"the body has more than {most} bytes", "too_large")
        reserved = most if length is None or "Content-Encoding" in request.headers else length
        if self._held + reserved > self._config.buffer:
            raise self._no_room(429, "the buffer is full")
        self._held += reserved
        try:
            posted = Posted(self._events(request, await self._body(request), topic, username), reserved)
            if posted.events:
                await self._taken(posted)
            return len(posted.events)
        finally:
            self._held -= reserved

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._config.timeout):
                return await request.read()
        except TimeoutError:
            raise Refusal(408, f"the body did not come within {self._config.timeout:g} s", "invalid") from None
        except web.HTTPRequestEntityTooLarge:
            raise Refusal(413, f"the body has more than {self._config.max_body} bytes", "too_large") from None
        except (web.RequestPayloadError, ValueError) as error:
            raise Refusal(400, f"the body cannot be read: {error}", "invalid") from None

    async def _taken(self, posted: Posted) -> None:
        """Wait until the stream has the events; Refusal if it has not, so that the sender sends them again."""
        self._source.put(posted)
        await asyncio.wait([posted.taken], timeout=self._config.timeout)
        if not posted.taken.done() and self._source.take_back(posted):
            raise self._no_room(503, "the stream takes nothing at the moment")
        try:
            await posted.taken  # it was read, so it is not forgotten
        except Exception as error:
            raise self._no_room(503, f"the stream did not take it: {error}") from error

    def _no_room(self, status: int, reason: str) -> Refusal:
        return Refusal(status, reason, "no_room", Retry_After=self._retry)

    def _events(self, request: web.Request, body: bytes, topic: str, username: str | None) -> list[Event]:
        config = self._config
        format = format_of(request.content_type) if config.format == "auto" else config.format
        try:
            found = payloads(body, format, config.split)
        except ValueError as error:
            raise Refusal(400, str(error), "invalid") from None
        base = self._common(request, topic, username)
        key = base.get("clientid") or topic
        trace = traceparent(request.headers.get("traceparent"))
        now = now_ms()
        events = []
        for payload in found:
            id = new_id()
            columns = {**base, "id": id, "payload": payload, "publish_received_at": now, "timestamp": now}
            events.append(Event(columns, id, key, now))
            events[-1].trace = trace
        return events

    def _common(self, request: web.Request, topic: str, username: str | None) -> dict[str, Any]:
        """The columns that all events of a request share."""
        config, headers = self._config, request.headers
        peer = request.transport.get_extra_info("peername") if request.transport else None
        columns: dict[str, Any] = {
            "event": "message.publish",
            "topic": topic,
            "qos": 1,
            "flags": {"retain": False, "dup": False},
            "pub_props": {"Content-Type": request.content_type} if "Content-Type" in headers else {},
            "node": self._source.node,
        }
        if peer:
            host = f"[{peer[0]}]" if ":" in peer[0] else peer[0]
            columns |= {"peerhost": peer[0], "peername": f"{host}:{peer[1]}"}
        if username is not None:
            columns["username"] = username
        if config.clientid_header and (clientid := headers.get(config.clientid_header)):
            columns["clientid"] = clientid
        if config.headers:
            columns["headers"] = {name.lower(): headers[name] for name in config.headers if name in headers}
        return columns

    # -- who may send ------------------------------------------------------------------------------------------

    async def _authorized(self, header: str) -> str | None:
        """The sender's name, if it has one. Refusal if it may not send."""
        scheme, _, given = header.partition(" ")
        token = self._config.token
        if token is None and self._users is None:
            return None
        if token is not None and scheme.lower() == "bearer":
            wanted = token.get_secret_value().encode()
            if hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), wanted):
                return None
        if self._users is not None and scheme.lower() == "basic":
            name, password = _basic(given)
            try:
                self._users.refresh()
            except (OSError, ValueError) as error:
                self._source.ctx.status.error(f"users: {error}")
            verdict = self._users.check(name, password)
            if verdict if isinstance(verdict, bool) else await verdict:
                return name
        asked = "Bearer" if token is not None else 'Basic realm="headrace", charset="UTF-8"'
        raise Refusal(401, "wrong or missing credentials", "unauthorized", WWW_Authenticate=asked)


def _basic(given: str) -> tuple[str, bytes]:
    try:
        name, _, password = base64.b64decode(given.strip(), validate=True).partition(b":")
        return name.decode(), password
    except (binascii.Error, ValueError):
        return "", b""
