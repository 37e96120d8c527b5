"""One device's connection: what its packets mean."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace import Event
from headrace_plugins._mqtt import codec, framing
from headrace_plugins._mqtt.framing import ProtocolError
from headrace_plugins._mqtt.intake import ANSWER, EVENT_BYTES, Incoming
from headrace_plugins._mqtt.messages import message, message_base
from headrace_plugins._mqtt.properties import check_values
from headrace_plugins.mqtt_server import records
from headrace_plugins.mqtt_server.acl import Rights, rights_of
from headrace_plugins.mqtt_server.control import control
from headrace_plugins.mqtt_server.login import Verdict
from headrace_plugins.mqtt_server.proxied import Origin
from headrace_plugins.mqtt_server.sessions import Session
from headrace_plugins.mqtt_server.wire import Wire

if TYPE_CHECKING:
    from headrace_plugins.mqtt_server.source import MqttServer

BAD_CREDENTIALS, SHUTTING_DOWN, KEEPALIVE_TIMEOUT, TAKEN_OVER, RECEIVE_MAXIMUM, QUOTA_EXCEEDED = (
    0x86, 0x8B, 0x8D, 0x8E, 0x93, 0x97,
)  # fmt: skip
_NONE: dict[str, Any] = {}
NOT_AUTHORIZED, SERVER_UNAVAILABLE, BAD_METHOD, RETAIN_NOT_SUPPORTED, CONNECTION_RATE = 0x87, 0x88, 0x8C, 0x9A, 0x9F
FOREVER = 0xFFFFFFFF
MAX_ALIASED = 256
"""Characters of a topic that has an alias, on the average."""
MAX_UNRELEASED = 10_000
"""QoS 2 messages a device that was told no Receive Maximum may leave unreleased."""


class Connection(Wire):
    """Waits for CONNECT (``session`` is None), then has a session, then is ``closed``.

    Answers to QoS 1 and 2 are sent when the engine has settled the message, in the order the messages came.
    """

    __slots__ = (
        "_aliased", "_aliases", "_columns", "_left", "_rights", "connect", "connected_at", "incoming", "kept",
        "properties", "session", "spent", "will",
    )  # fmt: skip

    def __init__(self, server: MqttServer, origin: Origin | None = None) -> None:
        super().__init__(server, origin)
        self.connect: codec.Connect | None = None
        self.connected_at = 0
        self.session: Session | None = None
        self.properties = _NONE
        """Those of its DISCONNECT."""
        self.incoming = Incoming(server.intake, self)
        self.will: codec.Will | None = None
        self._columns = _NONE
        self._aliases: dict[int, str] | None = None
        self._aliased = 0  # characters of their topics
        self._rights: Rights | None = None
        self._left = False
        self.kept = 0
        """Bytes of its CONNECT."""
        self.spent = 0
        """Messages that `client_rate` has not made good yet."""

    # -- messages ----------------------------------------------------------------------------------------------

    def plain(self, data: bytes, pos: int) -> int:
        """The hot path: messages as most are. It takes them as ``packet`` would, to which it leaves all others."""
        session, server, incoming = self.session, self.server, self.incoming
        if session is None:
            return pos
        columns, clientid, now = self._columns, session.clientid, self.now
        rights, received = self._rights, incoming.received
        most, room = incoming.room()
        unacked = server.config.receive_maximum - incoming.unacked if self.v5 else most
        largest, unreleased, first = server.config.max_packet, self._most_unreleased, pos
        events: list[Event] = []
        acks = bytearray()
        ids: dict[bytes, None] = {}
        for header, topic, payload, packet_id, end in codec.plain_publishes(data, pos, self.v5, server.topics.known):
            if len(events) == most or pos - first + len(events) * EVENT_BYTES >= room or end - pos > largest:
                break
            if rights is not None and not rights[topic]:
                break
            if header & 6:
                if len(acks) >= unacked * 4:
                    break
                if header & 4:
                    if packet_id in received or packet_id in ids or len(received) + len(ids) >= unreleased:
                        break
                    ids[packet_id] = None
                acks += ANSWER[header >> 1 & 3] + packet_id
            events.append(message(columns, clientid, topic, payload, header, _NONE, now))
            pos = end
        if events:
            self.spent += len(events)
            incoming.add_many(events, pos - first, acks, ids)
        return pos

    def packet(self, header: int, data: bytes, start: int, end: int) -> bool:
        if header & 0xF0 != framing.PUBLISH or self.session is None:
            self._control(header, data, start, end)
            return True
        server, incoming = self.server, self.incoming
        topic, payload, packet_id, found = codec.decode_publish(data, header, start, end, self.v5, server.topics)
        qos = header >> 1 & 3
        if header & 9:
            self._check_flags(header)
        if found:
            check_values(found)
            topic = self._alias(topic, found)
        self.spent += 1
        if self._rights is not None and not self._rights[topic]:
            self._forbid(topic, qos, packet_id)
            return True
        if incoming.held >= server.intake.limit:
            if qos:
                incoming.pause()
                self.stop()
                return False
            told = "message.dropped" in server.events
            key = self.session.clientid
            gone = message(self._columns, key, topic, payload, header, found, self.now) if told else None
            server.dropped(self, gone, "queue_full")
            return True
        if qos and (qos == 2 or self.v5) and not self._is_new(qos, packet_id):
            return True
        event = message(self._columns, self.session.clientid, topic, payload, header, found, self.now)
        incoming.add(event, end - start, qos, packet_id)
        return True

    def taken(self) -> None:
        self.incoming.hand_on()
        limit = self.server.config.client_rate
        if limit is not None and self.spent > limit and not self.closed:
            self.server.limited.add(self)
            self.stop()

    def next_second(self) -> None:
        """It may send `client_rate` messages more."""
        limit = self.server.config.client_rate
        assert limit is not None
        self.spent = max(0, self.spent - limit)
        self.seen = self.server.tick  # it could not send
        if self.spent <= limit or self.closed:
            self.server.limited.discard(self)
            if not self.incoming.paused:
                self.go_on()

    def go_on(self) -> None:
        if self not in self.server.limited:
            super().go_on()

    def _forbid(self, topic: str, qos: int, packet_id: bytes) -> None:
        """A message to a topic that is not for this device: MQTT 5 has an answer that says so, 3.1.1 has none."""
        self.server.drop("not_authorized")
        self.judged("publish", topic, False)
        incoming = self.incoming
        if not qos:
            return
        if incoming.unacked > 65535:
            raise ProtocolError("more messages unacknowledged than there are packet ids", RECEIVE_MAXIMUM)
        if self.v5:
            incoming.reply(
                bytes((framing.PUBACK if qos == 1 else framing.PUBREC, 3)) + packet_id + bytes((NOT_AUTHORIZED,))
            )
        else:
            incoming.answer_again(qos, packet_id, None)

    def _check_flags(self, header: int) -> None:
        if header & 0xE == 8:
            raise ProtocolError("DUP at QoS 0")
        if header & 1 and self.v5 and self.server.refuses_retained:
            raise ProtocolError(
                "a retained message, and nothing is retained here: `retained: take` would take it", RETAIN_NOT_SUPPORTED
            )

    def _alias(self, topic: str, found: dict[str, Any]) -> str:
        alias = found.get("Topic-Alias")
        if alias is None:
            return topic
        if not 0 < alias <= self.server.config.topic_aliases:
            raise ProtocolError(f"topic alias {alias}", framing.ALIAS_INVALID)
        if self._aliases is None:
            self._aliases = {}
        if topic:
            self._aliased += len(topic) - len(self._aliases.get(alias, ""))
            self._aliases[alias] = topic
            if self._aliased > MAX_ALIASED * self.server.config.topic_aliases:
                raise ProtocolError("the topics of its aliases take too much memory", QUOTA_EXCEEDED)
        elif alias not in self._aliases:
            raise ProtocolError(f"topic alias {alias} is not set", framing.PROTOCOL_ERROR)
        return self._aliases[alias]

    @property
    def _most_unreleased(self) -> int:
        return self.server.config.receive_maximum if self.v5 else MAX_UNRELEASED

    def _is_new(self, qos: int, packet_id: bytes) -> bool:
        """False for a QoS 2 message that came before: then only its answer is owed."""
        incoming = self.incoming
        if self.v5 and incoming.unacked >= self.server.config.receive_maximum:
            raise ProtocolError("more messages unacknowledged than Receive-Maximum", RECEIVE_MAXIMUM)
        if qos == 1:
            return True
        if packet_id in incoming.received:
            incoming.answer_again(qos, packet_id, incoming.received[packet_id])
            return False
        if len(incoming.received) >= self._most_unreleased:
            code = RECEIVE_MAXIMUM if self.v5 else QUOTA_EXCEEDED
            raise ProtocolError("too many QoS 2 messages unreleased", code)
        return True

    def answer(self, acks: bytes) -> None:
        if not self.closed:
            self.out += acks

    def refuse(self) -> None:
        self.fail("refused", QUOTA_EXCEEDED)  # without an answer, so it sends them again

    # -- other packets -----------------------------------------------------------------------------------------

    def first_bytes(self, data: bytes) -> None:
        if self.session is None and data[0] != framing.CONNECT:
            raise ProtocolError("the first packet is no CONNECT", framing.PROTOCOL_ERROR)

    def _control(self, header: int, data: bytes, start: int, end: int) -> None:
        if self.session is not None:
            control(self, header, data, start, end)
        elif header == framing.CONNECT:
            self._connect(data, start, end)
        else:
            raise ProtocolError("the first packet is no CONNECT", framing.PROTOCOL_ERROR)

    def judged(self, action: str, topic: str, allowed: bool, source: str = "acl") -> None:
        """Tell who asks to know whether the device may do that."""
        told = {"action": action, "topic": topic, "result": "allow" if allowed else "deny", "authz_source": source}
        self.server.emit(self, "client.check_authz_complete", lambda: told)

    # -- the session's beginning and end -----------------------------------------------------------------------

    def _connect(self, data: bytes, start: int, end: int) -> None:
        if self.stopped:
            raise ProtocolError("a second CONNECT", framing.PROTOCOL_ERROR)
        self.v5 = data[start : start + 7] == b"\x00\x04MQTT\x05"
        connect = self.connect = codec.decode_connect(data, start, end)
        if not connect.clientid and (connect.version == 3 or (connect.version == 4 and not connect.clean_start)):
            self._refuse(2, framing.BAD_CLIENTID, "clientid_not_valid")
            return
        if "Authentication-Method" in connect.properties:
            raise ProtocolError("an authentication method; there is none here", BAD_METHOD)
        if connect.will is not None and connect.will.retain:
            self._check_flags(1)
        if self.server.connects_too_fast():
            self.server.ctx.metrics.add("connections.rate_limited")
            self._refuse(3, CONNECTION_RATE, "connection_rate_exceeded")
            return
        self.kept = end - start
        self.server.kept += self.kept
        if self.server.kept > self.server.config.max_buffer:
            raise ProtocolError("what devices said when they connected fills the memory", QUOTA_EXCEEDED)
        login = self.server.login
        assert login is not None
        proven = self.peer.common_name
        if proven is not None and (connect.username is None or not login.checks_passwords):
            connect = connect._replace(username=proven)
        self.connect = connect
        verdict = login.admits(connect, self.peer)
        if isinstance(verdict, str):
            self._checked(verdict)
        else:
            self.stop()
            verdict.add_done_callback(self._decided)

    def _decided(self, done: asyncio.Future[Verdict]) -> None:
        failed = done.cancelled() or done.exception() is not None
        self._checked("unavailable" if failed else done.result())

    def _checked(self, verdict: Verdict) -> None:
        if self.closed:
            return
        if verdict == "unavailable":
            self._refuse(3, SERVER_UNAVAILABLE, "server_unavailable")
        else:
            self._authenticated(verdict == "allow")
            if verdict == "allow":
                self._accept()
            else:
                self.server.ctx.metrics.add("connections.not_authorized")
                self._refuse(5, BAD_CREDENTIALS, "not_authorized")
        if self.stopped:
            self.go_on()

    def _authenticated(self, admitted: bool) -> None:
        assert self.connect is not None
        result = {
            "reason_code": "success" if admitted else "bad_username_or_password",
            "is_superuser": False,
            "is_anonymous": self.connect.username is None,
        }
        self.server.emit(self, "client.check_authn_complete", lambda: result)

    def _answered(self, code: int) -> None:
        connect = self.connect
        if connect is not None:
            answer = records.reason_code(connect.version, code)
            self.server.emit(self, "client.connack", lambda: records.connack(connect, answer))

    def _refuse(self, code3: int, code5: int, reason: str) -> None:
        self._answered(code5 if self.v5 else code3)
        answer = bytes((0x20, 3, 0, code5, 0)) if self.v5 else bytes((0x20, 2, 0, code3))
        self.close(reason, answer)

    def _accept(self) -> None:
        connect, server = self.connect, self.server
        assert connect is not None
        assigned = not connect.clientid
        clientid = f"auto-{secrets.token_hex(8)}" if assigned else connect.clientid
        connect = self.connect = connect._replace(clientid=clientid, password=None)
        if server.config.acl is not None:
            told = "client.check_authz_complete" in server.events
            allowed = partial(self.judged, "publish", allowed=True) if told else None
            self._rights = rights_of(server.config.acl, clientid, connect.username, allowed)
            if connect.will is not None and not self._rights[connect.will.topic]:
                self.server.ctx.metrics.add("connections.not_authorized")
                self.judged("publish", connect.will.topic, False)
                self._refuse(5, NOT_AUTHORIZED, "not_authorized")
                return
        before = server.sessions.get(clientid)
        if before is not None and before.conn is not None:
            before.conn.fail("takenover", TAKEN_OVER)
            before.conn.gone()
        if connect.username is not None and not server.users.enter(connect.username):
            server.ctx.metrics.add("connections.refused")
            self._refuse(3, QUOTA_EXCEEDED, "quota_exceeded")
            return
        session, present = server.sessions.enter(clientid, connect.clean_start)
        wanted = (
            connect.properties.get("Session-Expiry-Interval", 0) if self.v5 else FOREVER * (not connect.clean_start)
        )
        session.expiry = server.expiry(wanted)
        session.conn, self.session = self, session
        self.incoming.received = session.received
        self.will = connect.will
        self.keepalive = connect.keepalive * 1.5
        self.connected_at = self.now
        self._columns = message_base(server.node, records.common(clientid, connect.username, self.peer))
        self.out += server.connack(connect, assigned, present, int(session.expiry))
        self._answered(0)
        server.emit(self, "client.connected", lambda: records.connected(self, connect))
        self.flush()

    def gone(self) -> None:
        if not self._left and self.session is not None and self.connect is not None:
            self._leave(self.session, self.connect)
        self.server.kept, self.kept = self.server.kept - self.kept, 0

    def _leave(self, session: Session, connect: codec.Connect) -> None:
        self._left = True
        self.incoming.forget()
        self.server.limited.discard(self)
        if connect.username is not None:
            self.server.users.leave(connect.username)
        self.server.emit(self, "client.disconnected", lambda: records.disconnected(self, connect))
        if self.will is not None:
            self.server.will(self, self.will, self._columns)
        self.server.sessions.leave(session)

    def fail(self, reason: str, code: int) -> None:
        """Close, and tell an MQTT 5 device why."""
        known = self.v5 and self.session is not None
        self.close(reason, bytes((framing.DISCONNECT, 1, code)) if known else b"")

    def expired(self) -> None:
        if self.incoming.paused or self in self.server.limited:  # it could not send
            return
        if self.session is None:
            self.close("connect_timeout")
        else:
            self.fail("keepalive_timeout", KEEPALIVE_TIMEOUT)

    def shut_down(self) -> None:
        self._left = True  # nobody would take its will and its last event
        self.fail("server_shutting_down", SHUTTING_DOWN)

    def refused(self, error: ProtocolError) -> None:
        self.server.log.info("%s: %s", self.connect.clientid if self.connect else self.peer.name, error)
        self.server.ctx.metrics.add("connections.protocol_error")
        if self.session is None and self.v5:
            self._refuse(0, error.code, "protocol_error")
        elif self.session is None and error.code == framing.UNSUPPORTED_VERSION:
            self._refuse(1, error.code, "unsupported_protocol_version")
        else:
            self.fail("protocol_error", error.code)
