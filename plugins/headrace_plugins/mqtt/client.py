"""paho-mqtt as the reader of a broker: all messages of a read at once, or one by one.

Stock paho makes three system calls and a dozen objects for every packet (about 50 µs a message). ``BulkClient`` reads
64 KiB at a time and decodes in place, twenty times faster, but leans on names paho keeps to itself; where they are
not as expected, ``StockClient`` does the same with public ones. It must not subscribe at QoS 2: stock paho answers
PUBREC before anybody has the message, and loses it in a crash.
"""

from __future__ import annotations

import socket
import time
from importlib.metadata import version
from typing import Any, ClassVar, Literal, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headrace_plugins._mqtt import codec, framing, properties

__all__ = ["BulkClient", "PahoClient", "StockClient", "unfit"]

READ_BYTES = 1 << 16
Transport = Literal["tcp", "websockets", "unix"]
PRIVATE = (
    "_create_socket_connection", "_in_packet", "_last_bytes_received", "_loop_rc_handle", "_packet_handle",
    "_packet_queue", "_ping_t", "_protocol", "_sock", "_sock_recv",
)  # fmt: skip
"""What ``BulkClient`` uses of paho besides its public names."""


class Receiver(Protocol):
    """Where the messages go."""

    def message(self, header: int, topic: str, payload: bytes, packet_id: bytes, found: dict[str, Any]) -> None: ...
    def release(self, packet_id: bytes) -> None:
        """PUBREL: the id of a QoS 2 message is free."""

    def read_done(self) -> None:
        """All messages of a read were given."""


class PahoClient(paho.Client):
    """What both readers have in common. It is driven by asyncio: ``loop_start`` and the like are not used.

    ``loop_read`` raises whatever comes on a malformed packet.
    """

    max_qos: ClassVar[int]

    def __init__(self, clientid: str, v5: bool, receiver: Receiver, transport: Transport = "tcp") -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            clientid,
            clean_session=None if v5 else False,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            transport=transport,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self.receiver = receiver
        self.v5 = v5
        self.dialled: socket.socket | None = None
        """The newest socket, before TLS: paho forgets one on which the rest does not work."""

    def send_answers(self, packets: bytes) -> None:
        """Send PUBACKs, PUBRECs and PUBCOMPs of four bytes each."""
        raise NotImplementedError

    def _create_socket_connection(self) -> socket.socket:
        self.dialled = super()._create_socket_connection()
        return self.dialled

    def _create_unix_socket_connection(self) -> socket.socket:
        self.dialled = socket.socket(socket.AF_UNIX)
        self.dialled.settimeout(self.connect_timeout)
        self.dialled.connect(self.host)
        return self.dialled

    def pending(self) -> int:
        """Bytes TLS has decrypted and nobody has read: the selector knows nothing of them."""
        sock: Any = self.socket()
        return sock.pending() if hasattr(sock, "pending") else 0

    def waits_for_ping(self) -> bool:
        """A ping is not answered yet."""
        return bool(getattr(self, "_ping_t", 0))

    def forgive_ping(self) -> None:
        """We do not read, so no answer to a ping is a bad sign."""
        self._ping_t = 0.0

    def drop(self) -> None:
        """Close the socket without a goodbye."""
        sock = self.socket()
        if sock is not None:
            sock.close()


class BulkClient(PahoClient):
    """Takes everything the socket has in one go. Does without ``on_message``, ``on_log`` and topic callbacks."""

    max_qos = 2

    def __init__(self, clientid: str, v5: bool, receiver: Receiver, transport: Transport = "tcp") -> None:
        super().__init__(clientid, v5, receiver, transport)
        self._topics = codec.Topics()
        self._rest = framing.Rest()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        try:
            data = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            data = b""
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._last_bytes_received = time.monotonic()
        if self._rest:
            if not self._rest.keep(data):
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            data = self._rest.take()
        try:
            rc = self._take(data)
        finally:
            self.receiver.read_done()  # what came before a malformed packet counts
        return self._loop_rc_handle(rc) if rc else rc

    def _take(self, data: bytes) -> MQTTErrorCode:
        sock, receiver, v5, topics = self._sock, self.receiver, self.v5, self._topics
        end = 0
        for header, start, end in framing.frames(data):
            if header & 0xF0 == framing.PUBLISH:
                topic, payload, packet_id, found = codec.decode_publish(
                    data, header, start, end, v5, topics, properties.IN_DELIVERY
                )
                receiver.message(header, topic, payload, packet_id, found)
            elif header == framing.PUBREL:
                receiver.release(data[start : start + 2])
            else:
                rc = self._other(header, data[start:end])
                if rc or self._sock is not sock:
                    return rc
        if end < len(data):
            self._rest.keep(data[end:])
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _other(self, header: int, body: bytes) -> MQTTErrorCode:
        packet = {"command": header, "have_remaining": 1, "remaining_count": [], "remaining_mult": 1, "pos": 0}
        packet |= {"remaining_length": len(body), "packet": bytearray(body), "to_process": 0}
        self._in_packet = packet  # type: ignore[assignment]  # paho's own TypedDict is private
        try:
            return self._packet_handle()
        except Exception as error:
            raise framing.ProtocolError(f"{type(error).__name__}: {error}") from error

    def send_answers(self, packets: bytes) -> None:
        self._packet_queue(framing.PUBACK, packets, 0, 1)


class StockClient(PahoClient):
    """paho as it is, for a version whose insides are not known."""

    max_qos = 1

    def __init__(self, clientid: str, v5: bool, receiver: Receiver, transport: Transport = "tcp") -> None:
        super().__init__(clientid, v5, receiver, transport)
        self.on_message = self._take

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        rc = super().loop_read(max_packets)
        self.receiver.read_done()
        return rc

    def _take(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        header = framing.PUBLISH | message.dup << 3 | message.qos << 1 | message.retain
        packet_id = message.mid.to_bytes(2, "big") if message.qos else b""
        found: dict[str, Any] = {}
        if message.properties is not None:
            packed = message.properties.pack()  # type: ignore[no-untyped-call]  # paho's own gap
            found, _ = properties.decode_properties(packed, 0, len(packed), properties.IN_DELIVERY)
        self.receiver.message(header, message.topic, bytes(message.payload), packet_id, found)

    def send_answers(self, packets: bytes) -> None:
        for i in range(0, len(packets), 4):
            self.ack(int.from_bytes(packets[i + 2 : i + 4], "big"), 1)


def unfit() -> str | None:
    """Why ``BulkClient`` cannot be used with the paho that is installed, or None."""
    installed = version("paho-mqtt")
    if tuple(int(part) for part in installed.split(".")[:2]) != (2, 2):
        return f"paho-mqtt is {installed}, not 2.2"
    client = paho.Client(CallbackAPIVersion.VERSION2)
    missing = [name for name in PRIVATE if not hasattr(client, name)]
    return f"paho-mqtt {installed} has no {', '.join(missing)}" if missing else None


def connect_properties(session_expiry: int, receive_maximum: int) -> Properties:
    """Properties of CONNECT: keep the session, and send no more ahead than this."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own gap
    properties.SessionExpiryInterval = session_expiry
    properties.ReceiveMaximum = receive_maximum
    return properties


def subscribe_properties(identifier: int) -> Properties:
    """Properties of SUBSCRIBE: say with each message that it is for this subscription."""
    properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]  # paho's own gap
    properties.SubscriptionIdentifier = identifier
    return properties
