"""The source ``mqtt_server``: the listener, and what its connections share."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from headrace import Ack, Batch, Event, NotConnected, Offer, Source
from headrace_plugins._mqtt import codec, framing
from headrace_plugins._mqtt.clientevents import wanted
from headrace_plugins._mqtt.intake import Intake
from headrace_plugins._mqtt.properties import encode_properties
from headrace_plugins.mqtt_server import records
from headrace_plugins.mqtt_server.config import MqttServerConfig
from headrace_plugins.mqtt_server.connection import Connection
from headrace_plugins.mqtt_server.listeners import LINGER, Listener
from headrace_plugins.mqtt_server.login import Login
from headrace_plugins.mqtt_server.rates import Crowd, Rate
from headrace_plugins.mqtt_server.sessions import Sessions
from headrace_plugins.mqtt_server.wire import Wire

READ = 256 << 10
"""Bytes read at once, at most."""


class MqttServer(Source[MqttServerConfig]):
    """Take MQTT messages from devices that connect to headrace itself; no broker is needed.

    A message of QoS 1 or 2 is acknowledged when the stream has it. MQTT 3.1, 3.1.1 and 5. Devices cannot subscribe.
    """

    name: ClassVar[str] = "mqtt_server"
    counts: ClassVar = {
        "connections": "connections that are open now",
        "connections.refused": "connections refused since there were too many",
        "connections.rate_limited": "connections sent away by connect_rate",
        "connections.not_authorized": "connections that did not say who they were, or were not let in",
        "connections.protocol_error": "connections closed since they did not keep to MQTT",
        "dropped.queue_full": "messages of QoS 0 beyond the limits",
        "dropped.not_authorized": "messages on topics that the acl refuses",
        "dropped.shutdown": "messages of QoS 0 that were read and not taken in at the end",
    }

    _listeners: Sequence[Listener] = ()
    _sweeper: asyncio.TimerHandle | None = None
    login: Login | None = None

    @classmethod
    def offers(cls, config: MqttServerConfig) -> Offer:
        events = records.EVENTS if config.subscriptions == "refuse" else records.EVENTS | records.SUBSCRIPTIONS
        return Offer(records.MESSAGE, None, events)

    async def open(self) -> None:
        if self._listeners:
            return
        config, loop = self.config, asyncio.get_running_loop()
        self.intake = Intake(config.max_pending, config.max_buffer)
        self.sessions = Sessions(config.max_sessions, config.max_buffer, time.monotonic)
        self.topics = codec.Topics()
        self.node = f"{self.ctx.pipeline}@{platform.node()}"
        self.unread = 0
        """Bytes of packets that are not whole yet, or not read yet, of all connections."""
        self.kept = 0
        """Bytes of the CONNECTs of all connections: their wills and properties are kept."""
        self.buffer = memoryview(bytearray(READ))
        """Where what comes in on any connection is put first, for a moment."""
        self.tick = time.monotonic()
        self.limited: set[Connection] = set()
        """Connections that are not read for a while, for having sent more than `client_rate`."""
        self._connect_rate = Rate(config.connect_rate, self.tick) if config.connect_rate else None
        self._connections: set[Wire] = set()
        self._addresses = Crowd(config.max_per_address)
        self.users = Crowd(config.max_per_user)
        self.refuses_retained = config.retained == "refuse"
        self.events = wanted(self.ctx.filters)
        """Names of the events that a rule reads."""
        self.ctx.metrics.gauge("connections", lambda: len(self._connections))
        self._listeners = [
            Listener(one, lambda origin: Connection(self, origin), config.connect_timeout, self.log, self.ctx.metrics)
            for one in config.all_listeners
        ]
        try:
            self.login = Login(config, self.ctx.status)
            for listener in self._listeners:
                await listener.open()
        except (OSError, ValueError) as error:
            raise NotConnected(str(error)) from error
        except BaseException:
            self._stop_listening()
            raise
        self._sweeper = loop.call_later(1, self._sweep)
        self.ctx.status.set("running", f"listening on {', '.join(self.addresses)}")

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    @property
    def addresses(self) -> list[str]:
        """Where it listens, with the ports the system gave if 0 was asked for."""
        return [listener.address for listener in self._listeners]

    async def refilter(self, filters: tuple[str, ...]) -> bool:
        self.events = wanted(filters)
        return True

    @property
    def address(self) -> str:
        """The first of them."""
        return self.addresses[0]

    async def read(self) -> tuple[Batch, Ack]:
        return await self.intake.read()

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listeners:
            self._stop_listening()
            for conn in list(self._connections):
                conn.shut_down()
            await asyncio.sleep(0)
            for conn in list(self._connections):  # those that do not read what was written
                conn.transport.abort()
            lost = [event for event in self.intake.drain() if event.columns.get("qos") == 0]
            if lost:
                self.drop("shutdown", len(lost))
        if self.login is not None:
            await self.login.close()
        self.ctx.status.set("stopped")

    # -- what connections ask ----------------------------------------------------------------------------------

    def add(self, conn: Wire) -> bool:
        """Count a connection in. False if there are too many."""
        full = len(self._connections) >= self.config.max_connections
        if full or not self._addresses.enter(conn.peer.host):
            self.ctx.metrics.add("connections.refused")
            return False
        self._connections.add(conn)
        return True

    def remove(self, conn: Wire) -> None:
        if conn in self._connections:
            self._connections.remove(conn)
            self._addresses.leave(conn.peer.host)

    def drop(self, reason: str, n: int = 1) -> None:
        """Count events that are gone for good."""
        self.ctx.metrics.add(f"dropped.{reason}", n)

    def connects_too_fast(self) -> bool:
        """Is one more connection more than `connect_rate` allows?"""
        return self._connect_rate is not None and not self._connect_rate.takes(time.monotonic())

    def expiry(self, wanted: int) -> float:
        """Seconds a session lives on without a connection, of those a device asked for."""
        return min(float(wanted), self.config.session_expiry)

    def connack(self, connect: codec.Connect, assigned: bool, present: bool, expiry: int) -> bytes:
        """The CONNACK that lets a device in; ``assigned``: under a client id of ours."""
        if connect.version < 5:
            return bytes((framing.CONNACK, 2, present and connect.version == 4, 0))
        config = self.config
        properties: dict[str, int | str] = {
            "Receive-Maximum": config.receive_maximum,
            "Maximum-Packet-Size": config.max_packet,
            "Topic-Alias-Maximum": config.topic_aliases,
            "Session-Expiry-Interval": expiry,
            "Shared-Subscription-Available": 0,
        }
        if self.refuses_retained:
            properties["Retain-Available"] = 0
        if assigned:  # Mosquitto's clients take it for an error beside one of their own
            properties["Assigned-Client-Identifier"] = connect.clientid
        return framing.encode_packet(framing.CONNACK, bytes((present, 0)), encode_properties(properties))

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
        self.sessions.will(session, delay, conn.kept, lambda: self._put(conn, records.will_message(will, columns)))

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
        for limited in list(self.limited):
            limited.next_second()
        self.sessions.sweep()
        self._refresh()
        self._sweeper = asyncio.get_running_loop().call_later(1, self._sweep)

    def _refresh(self) -> None:
        for listener in self._listeners:
            try:
                listener.refresh()
            except (OSError, ValueError) as error:  # the certificate and its key are seldom written in one moment
                self.ctx.status.error(f"tls: {error}")
