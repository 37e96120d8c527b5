"""The source ``mqtt_server``: the listener, and what its connections share."""

from __future__ import annotations

import asyncio
import platform
import ssl
import time
from collections.abc import Callable
from typing import Any, ClassVar

from headrace import Ack, Batch, Event, NotConnected, Source
from headrace_plugins._mqtt import codec, framing
from headrace_plugins._mqtt.clientevents import wanted
from headrace_plugins._mqtt.intake import Intake
from headrace_plugins._mqtt.users import Users
from headrace_plugins.mqtt_server import records
from headrace_plugins.mqtt_server.config import MqttServerConfig, TlsOptions, split_address
from headrace_plugins.mqtt_server.connection import Connection
from headrace_plugins.mqtt_server.sessions import Sessions
from headrace_plugins.mqtt_server.wire import Wire

LINGER = 2
"""Seconds a closing connection has to take its last bytes."""


class MqttServer(Source[MqttServerConfig]):
    """Take MQTT messages from devices that connect to headrace itself; no broker is needed.

    A message of QoS 1 or 2 is acknowledged when the stream has it. MQTT 3.1, 3.1.1 and 5. Devices cannot subscribe.
    """

    name: ClassVar[str] = "mqtt_server"

    _server: asyncio.Server | None = None
    _sweeper: asyncio.TimerHandle | None = None
    _users: Users | None = None

    async def open(self) -> None:
        if self._server is not None:
            return
        config, loop = self.config, asyncio.get_running_loop()
        self.intake = Intake(config.max_pending, config.max_buffer)
        self.sessions = Sessions(config.max_sessions, time.monotonic)
        self.topics = codec.Topics()
        self.node = f"{self.ctx.pipeline}@{platform.node()}"
        self.unread = 0
        """Bytes of packets that are not whole yet, or not read yet, of all connections."""
        self.tick = time.monotonic()
        self._connections: set[Wire] = set()
        self.events = wanted(self.ctx.filters)
        """Names of the events that a rule reads."""
        self.ctx.metrics.gauge("connections", lambda: len(self._connections))
        try:
            context = _tls_context(config.tls) if config.tls else None
            if config.users:
                self._users = Users(config.users)
            host, port = split_address(config.listen)
            self._server = await loop.create_server(
                lambda: Connection(self),
                host or None,
                port,
                ssl=context,
                ssl_handshake_timeout=config.connect_timeout if context else None,
                ssl_shutdown_timeout=LINGER if context else None,
                backlog=4096,
            )
        except (OSError, ValueError) as error:
            raise NotConnected(f"cannot listen on {config.listen}: {error}") from error
        self._sweeper = loop.call_later(1, self._sweep)
        self.ctx.status.set("running", f"listening on {self.address}")

    @property
    def address(self) -> str:
        """Where it listens, with the port the system gave if 0 was asked for."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def read(self) -> tuple[Batch, Ack]:
        return await self.intake.read()

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
            for conn in list(self._connections):
                conn.shut_down()
            await asyncio.sleep(0)
            for conn in list(self._connections):  # those that do not read what was written
                conn.transport.abort()
            lost = [event for event in self.intake.drain() if event.columns.get("qos") == 0]
            if lost:
                self.drop("shutdown", len(lost))
        if self._users is not None:
            self._users.close()
        self.ctx.status.set("stopped")

    # -- what connections ask ----------------------------------------------------------------------------------

    def add(self, conn: Wire) -> bool:
        """Count a connection in. False if there are too many."""
        if len(self._connections) >= self.config.max_connections:
            self.ctx.metrics.add("connections.refused")
            return False
        self._connections.add(conn)
        return True

    def remove(self, conn: Wire) -> None:
        self._connections.discard(conn)

    def drop(self, reason: str, n: int = 1) -> None:
        """Count events that are gone for good."""
        self.ctx.metrics.add(f"dropped.{reason}", n)

    def admits(self, connect: codec.Connect) -> bool | asyncio.Future[bool]:
        """May this device come in? With `users`, by name and password."""
        if self._users is None or (connect.username is None and self.config.anonymous):
            return True
        if connect.username is None or connect.password is None:
            return False
        try:
            self._users.refresh()
        except (OSError, ValueError) as error:
            self.ctx.status.error(f"users: {error}")
        return self._users.check(connect.username, connect.password)

    def expiry(self, wanted: int) -> float:
        """Seconds a session lives on without a connection, of those a device asked for."""
        return min(float(wanted), self.config.session_expiry)

    def connack(self, connect: codec.Connect, present: bool, expiry: int) -> bytes:
        """The CONNACK that lets a device in."""
        if connect.version < 5:
            return bytes((framing.CONNACK, 2, present and connect.version == 4, 0))
        config = self.config
        properties = {
            "Receive-Maximum": config.receive_maximum,
            "Maximum-Packet-Size": config.max_packet,
            "Topic-Alias-Maximum": config.topic_aliases,
            "Assigned-Client-Identifier": connect.clientid,
            "Session-Expiry-Interval": expiry,
            "Subscription-Identifier-Available": 0,
            "Shared-Subscription-Available": 0,
        }
        return framing.encode_packet(framing.CONNACK, bytes((present, 0)), codec.encode_properties(properties))

    def emit(self, conn: Connection, name: str, columns: Callable[[], dict[str, Any]]) -> None:
        """Hand on an event of a client with columns of its own, if a rule reads such."""
        if name in self.events and conn.connect is not None:
            self._put(conn, records.client_event(conn, conn.connect, name, columns(), self.node))

    def dropped(self, conn: Connection, message: Event | None, reason: str) -> None:
        """A message is gone: count it, and tell who asked to know, within twice the limits for messages."""
        self.drop(reason)
        if message is not None and conn.incoming.held < 2 * self.intake.limit:
            self._put(conn, records.dropped(message, reason))

    def will(self, conn: Connection, will: codec.Will, columns: dict[str, object]) -> None:
        """Publish a will, now or when its delay is over; the session going on before that cancels it."""
        session = conn.session
        assert session is not None
        delay = min(will.properties.get("Will-Delay-Interval", 0), session.expiry)
        self.sessions.will(session, delay, lambda: self._put(conn, records.will_message(will, columns)))

    def _put(self, conn: Connection, event: Event) -> None:
        if self.intake.held > 2 * self.config.max_buffer:  # nobody waits for its answer, so nobody can be held back
            self.drop("queue_full")
            return
        conn.incoming.add(event, 0, 0, b"")
        conn.incoming.hand_on()

    def _sweep(self) -> None:
        # one timer for all connections: keepalives, closing ones that linger, wills and sessions that are due
        self.tick = now = time.monotonic()
        for conn in list(self._connections):
            idle = now - conn.seen
            if conn.closed:
                if idle > LINGER:
                    conn.transport.abort()
            elif conn.keepalive and idle > conn.keepalive:
                conn.expired()
        self.sessions.sweep()
        self._sweeper = asyncio.get_running_loop().call_later(1, self._sweep)


def _tls_context(tls: TlsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.ca)
    context.load_cert_chain(tls.cert, tls.key)
    if tls.require_client_cert:
        context.verify_mode = ssl.CERT_REQUIRED
    elif tls.ca:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
