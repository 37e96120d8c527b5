"""One device's connection: what its packets mean."""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Any

from headrace_plugins._mqtt import codec
from headrace_plugins._mqtt.codec import ProtocolError
from headrace_plugins.mqtt_server import records
from headrace_plugins.mqtt_server.intake import BATCH, BATCH_BYTES, EVENT_BYTES, Chunk
from headrace_plugins.mqtt_server.records import message
from headrace_plugins.mqtt_server.sessions import Session
from headrace_plugins.mqtt_server.wire import Wire

if TYPE_CHECKING:
    from headrace_plugins.mqtt_server.source import MqttServer

BAD_CREDENTIALS, SHUTTING_DOWN, KEEPALIVE_TIMEOUT, TAKEN_OVER, RECEIVE_MAXIMUM, QUOTA_EXCEEDED = (
    0x86, 0x8B, 0x8D, 0x8E, 0x93, 0x97,
)  # fmt: skip
KEEP_WILL = 0x04  # DISCONNECT: publish the will all the same
SUBSCRIBE_REFUSED = b"\x83"  # valid, but not taken by this server
NO_SUBSCRIPTION, UNKNOWN_ID = b"\x11", b"\x92"
FOREVER = 0xFFFFFFFF
MAX_UNRELEASED = 10_000
"""QoS 2 messages a device may leave unreleased."""

_ANSWER = (b"", b"\x40\x02", b"\x50\x02")  # PUBACK, PUBREC: first byte and length


class Connection(Wire):
    """Waits for CONNECT (``session`` is None), then has a session, then is ``closed``.

    Answers to QoS 1 and 2 are sent when the engine has settled the message, in the order the messages came.
    """

    __slots__ = (
        "_aliases", "_chunk", "_chunks", "_columns", "_left", "_unacked", "_v5", "_will",
        "connect", "connected_at", "held", "paused", "properties", "session",
    )  # fmt: skip

    def __init__(self, server: MqttServer) -> None:
        super().__init__(server)
        self.connect: codec.Connect | None = None
        self.connected_at = 0
        self.session: Session | None = None
        self.properties: dict[str, Any] = {}
        """Those of its DISCONNECT."""
        self.held = 0
        """Memory of its unsettled messages, about."""
        self.paused = False
        """Not read because it holds too much; its keepalive stands still."""
        self._v5 = False
        self._will: codec.Will | None = None
        self._columns: dict[str, Any] = {}
        self._aliases: dict[int, str] | None = None
        self._chunk: Chunk | None = None  # what this read brought so far
        self._chunks: deque[Chunk] = deque()  # not settled, oldest first
        self._unacked = 0
        self._left = False

    # -- messages ----------------------------------------------------------------------------------------------

    def packet(self, header: int, data: bytes, start: int, end: int) -> bool:
        if header & 0xF0 != codec.PUBLISH or self.session is None:
            self._control(header, data, start, end)
            return True
        server = self.server
        topic, payload, packet_id, found = codec.decode_publish(data, header, start, end, self._v5, server.topics)
        if found:
            topic = self._alias(topic, found)
        qos = header >> 1 & 3
        if self.held >= server.intake.limit:
            if qos:
                self._pause()
            else:
                server.drop("queue_full")
            return not qos
        if qos and (qos == 2 or self._v5) and not self._is_new(qos, packet_id):
            return True
        chunk = self._chunk or self._begin()
        chunk.events.append(message(self._columns, topic, payload, qos, header & 9, found, self.now))
        if qos:
            chunk.acks += _ANSWER[qos] + packet_id
            self._unacked += 1
        cost = end - start + EVENT_BYTES
        chunk.cost += cost
        self.held += cost
        if len(chunk.events) == BATCH or chunk.cost > BATCH_BYTES:
            self.taken()
        return True

    def _alias(self, topic: str, found: dict[str, Any]) -> str:
        alias = found.get("Topic-Alias")
        if alias is None:
            return topic
        if not 0 < alias <= self.server.config.topic_aliases:
            raise ProtocolError(f"topic alias {alias}", codec.ALIAS_INVALID)
        if self._aliases is None:
            self._aliases = {}
        if topic:
            self._aliases[alias] = topic
        elif alias not in self._aliases:
            raise ProtocolError(f"topic alias {alias} is not set", codec.PROTOCOL_ERROR)
        return self._aliases[alias]

    def _is_new(self, qos: int, packet_id: bytes) -> bool:
        """False for a QoS 2 message that came before: then only its answer is owed."""
        if self._v5 and self._unacked >= self.server.config.receive_maximum:
            raise ProtocolError("more messages unacknowledged than Receive-Maximum", RECEIVE_MAXIMUM)
        if qos == 1:
            return True
        assert self.session is not None
        received = self.session.received
        if packet_id in received:
            self._answer_again(packet_id, received[packet_id])
            return False
        if len(received) >= MAX_UNRELEASED:
            raise ProtocolError("too many QoS 2 messages unreleased", QUOTA_EXCEEDED)
        received[packet_id] = chunk = self._chunk or self._begin()
        chunk.ids.append(packet_id)
        return True

    def _answer_again(self, packet_id: bytes, first: Chunk | None) -> None:
        if first is not None and first.owner is self:
            return  # sent twice on one connection: it gets the answer of the first
        self.taken()
        again = self._begin()
        again.acks += _ANSWER[2] + packet_id
        self._unacked += 1
        self._chunk = None
        if first is None:
            self.settled(again, None)
        else:  # came by the connection before, and is not settled yet
            first.followers.append(again)

    # -- chunks ------------------------------------------------------------------------------------------------

    def _begin(self) -> Chunk:
        chunk = self._chunk = Chunk(self)
        self._chunks.append(chunk)
        return chunk

    def taken(self) -> None:
        chunk, self._chunk = self._chunk, None
        if chunk is not None:
            self.server.intake.put(chunk)

    def settled(self, chunk: Chunk, error: Exception | None) -> None:
        """The engine has a chunk, or will not have it; answers go out with the next ``flush``."""
        chunk.done = True
        if chunk.ids:
            assert self.session is not None
            received = self.session.received
            for packet_id in chunk.ids:
                if received.get(packet_id) is chunk:
                    if error is None:
                        received[packet_id] = None
                    else:
                        del received[packet_id]
        if error is not None and chunk.acks:
            self.fail("refused", QUOTA_EXCEEDED)  # without an answer, so it sends them again
        elif not self.closed:
            while self._chunks and self._chunks[0].done:
                acks = self._chunks.popleft().acks
                self._unacked -= len(acks) >> 2
                self.out += acks
        for follower in chunk.followers:
            follower.owner.settled(follower, error)
            follower.owner.flush()

    def _pause(self) -> None:
        self.paused = True
        self.server.intake.paused.add(self)
        self.stop()

    def resume(self) -> None:
        """There is room again."""
        self.paused = False
        self.server.intake.paused.discard(self)
        self.go_on()

    # -- other packets -----------------------------------------------------------------------------------------

    def first_bytes(self, data: bytes) -> None:
        if self.session is None and data[0] != codec.CONNECT:
            raise ProtocolError("the first packet is no CONNECT", codec.PROTOCOL_ERROR)

    def _control(self, header: int, data: bytes, start: int, end: int) -> None:
        if self.session is None and header != codec.CONNECT:
            raise ProtocolError("the first packet is no CONNECT", codec.PROTOCOL_ERROR)
        answer = _CONTROL.get(header)
        if answer is None:
            raise ProtocolError(f"a packet that begins with {header:#04x}")
        answer(self, data, start, end)

    def _ping(self, data: bytes, start: int, end: int) -> None:
        self.out += b"\xd0\x00"

    def _release(self, data: bytes, start: int, end: int) -> None:
        assert self.session is not None
        packet_id = data[start : start + 2]
        if end - start < 2:
            raise ProtocolError("the packet is cut short")
        known = packet_id in self.session.received
        self.session.received.pop(packet_id, None)
        self.out += codec.encode_packet(codec.PUBCOMP, packet_id, UNKNOWN_ID if self._v5 and not known else b"")

    def _subscribe(self, data: bytes, start: int, end: int) -> None:
        packet_id, filters = codec.decode_subscribe(data, start, end, self._v5)
        if self._v5:
            why = codec.encode_properties({"Reason-String": "headrace takes messages in and sends none"})
            answer = codec.encode_packet(codec.SUBACK, packet_id, why, SUBSCRIBE_REFUSED * len(filters))
        else:
            answer = codec.encode_packet(codec.SUBACK, packet_id, b"\x80" * len(filters))
        self.out += answer

    def _unsubscribe(self, data: bytes, start: int, end: int) -> None:
        packet_id, filters = codec.decode_unsubscribe(data, start, end, self._v5)
        codes = b"\x00" + NO_SUBSCRIPTION * len(filters) if self._v5 else b""
        self.out += codec.encode_packet(codec.UNSUBACK, packet_id, codes)

    def _ignore(self, data: bytes, start: int, end: int) -> None:
        """An answer to something we never send."""

    def _disconnect(self, data: bytes, start: int, end: int) -> None:
        assert self.session is not None
        code = data[start] if self._v5 and end > start else 0
        if self._v5 and end > start + 1:
            self.properties, _ = codec.decode_properties(data, start + 1, end, codec.IN_DISCONNECT)
            expiry = self.properties.get("Session-Expiry-Interval")
            if expiry and not self.session.expiry:
                raise ProtocolError("a session that ends with its connection cannot be prolonged", codec.PROTOCOL_ERROR)
            if expiry is not None:
                self.session.expiry = self.server.expiry(expiry)
        if code != KEEP_WILL:
            self._will = None
        self.taken()
        self.close("normal" if code in (0, KEEP_WILL) else f"reason_code_{code:#04x}")

    # -- the session's beginning and end -----------------------------------------------------------------------

    def _connect(self, data: bytes, start: int, end: int) -> None:
        if self.session is not None or self.stopped:
            raise ProtocolError("a second CONNECT", codec.PROTOCOL_ERROR)
        self._v5 = data[start : start + 7] == b"\x00\x04MQTT\x05"
        connect = codec.decode_connect(data, start, end)
        if not connect.clientid and connect.version < 5 and not connect.clean_start:
            self._refuse(2, codec.BAD_CLIENTID, "clientid_not_valid")
            return
        if connect.username is None and self.peer.common_name is not None:
            connect = connect._replace(username=self.peer.common_name)
        self.connect = connect
        verdict = self.server.admits(connect)
        if isinstance(verdict, bool):
            self._checked(verdict)
        else:
            self.stop()
            verdict.add_done_callback(
                lambda done: self._checked(not done.cancelled() and not done.exception() and done.result())
            )

    def _checked(self, admitted: bool) -> None:
        if self.closed:
            return
        if admitted:
            self._accept()
        else:
            self.server.ctx.metrics.add("connections.not_authorized")
            self._refuse(5, BAD_CREDENTIALS, "not_authorized")
        if self.stopped:
            self.go_on()

    def _refuse(self, code3: int, code5: int, reason: str) -> None:
        answer = bytes((0x20, 3, 0, code5, 0)) if self._v5 else bytes((0x20, 2, 0, code3))
        self.close(reason, answer)

    def _accept(self) -> None:
        connect, server = self.connect, self.server
        assert connect is not None
        assigned = connect.clientid or f"auto-{secrets.token_hex(8)}"
        connect = self.connect = connect._replace(clientid=assigned, password=None)
        before = server.sessions.get(assigned)
        if before is not None and before.conn is not None:
            before.conn.fail("takenover", TAKEN_OVER)
            before.conn.gone()
        session, present = server.sessions.enter(assigned, connect.clean_start)
        wanted = (
            connect.properties.get("Session-Expiry-Interval", 0) if self._v5 else FOREVER * (not connect.clean_start)
        )
        session.expiry = server.expiry(wanted)
        session.conn, self.session = self, session
        self._will = connect.will
        self.keepalive = connect.keepalive * 1.5
        self.connected_at = self.now
        self._columns = records.message_base(assigned, connect.username, self.peer, server.node)
        self.out += server.connack(connect, present, int(session.expiry))
        server.emit(self, records.connected(self, connect, server.node))
        self.flush()

    def gone(self) -> None:
        session, connect = self.session, self.connect
        if self._left or session is None or connect is None:
            return
        self._left = True
        self.server.intake.paused.discard(self)
        self.server.emit(self, records.disconnected(self, connect, self.server.node))
        if self._will is not None:
            self.server.will(self, self._will, self._columns)
        self.server.sessions.leave(session)

    def fail(self, reason: str, code: int) -> None:
        """Close, and tell an MQTT 5 device why."""
        known = self._v5 and self.session is not None
        self.close(reason, bytes((codec.DISCONNECT, 1, code)) if known else b"")

    def expired(self) -> None:
        if self.paused:  # it could not send
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
        if self.session is None and self._v5:
            self._refuse(0, error.code, "protocol_error")
        elif self.session is None and error.code == codec.UNSUPPORTED_VERSION:
            self._refuse(1, error.code, "unsupported_protocol_version")
        else:
            self.fail("protocol_error", error.code)


_CONTROL = {
    codec.CONNECT: Connection._connect,
    codec.PUBACK: Connection._ignore,
    codec.PUBREC: Connection._ignore,
    codec.PUBREL: Connection._release,
    codec.PUBCOMP: Connection._ignore,
    codec.SUBSCRIBE: Connection._subscribe,
    codec.UNSUBSCRIBE: Connection._unsubscribe,
    codec.PINGREQ: Connection._ping,
    codec.DISCONNECT: Connection._disconnect,
}
