"""One connection's bytes: whole packets out of them, answers into them, and when not to read."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

from headrace import now_ms
from headrace_plugins._mqtt import framing
from headrace_plugins._mqtt.codec import PLAIN
from headrace_plugins._mqtt.framing import ProtocolError
from headrace_plugins.mqtt_server.proxied import Origin
from headrace_plugins.mqtt_server.records import Peer

if TYPE_CHECKING:
    from headrace_plugins.mqtt_server.source import MqttServer

QUOTA_EXCEEDED = 0x97


class Wire(ABC, asyncio.BufferedProtocol):
    """Calls ``packet`` for each whole packet, ``gone`` once at the end. Nothing that comes in makes it raise."""

    __slots__ = (
        "_rest",
        "closed",
        "keepalive",
        "now",
        "origin",
        "out",
        "peer",
        "reason",
        "seen",
        "server",
        "stopped",
        "transport",
        "v5",
    )

    def __init__(self, server: MqttServer, origin: Origin | None = None) -> None:
        self.server = server
        self.origin = origin
        """What a proxy said of it."""
        self.out = b""
        """Answers not written yet; ``flush`` writes them."""
        self.closed = False
        self.stopped = False
        """Not reading now."""
        self.v5 = False
        """It speaks MQTT 5."""
        self.reason = ""
        """Why it was closed."""
        self.now = 0
        """When the bytes at hand were read."""
        self.keepalive = server.config.connect_timeout
        """Seconds without a whole packet after which it is closed; 0 is never."""
        self._rest: framing.Rest | None = None  # a packet in part; all that came, while stopped

    @abstractmethod
    def plain(self, data: bytes, pos: int) -> int:
        """Take what can be taken the quick way of the packets at ``pos``; where the rest begins."""

    @abstractmethod
    def packet(self, header: int, data: bytes, start: int, end: int) -> bool:
        """Take a packet. False: not now; it is given again when reading goes on. ProtocolError ends the connection."""

    @abstractmethod
    def taken(self) -> None:
        """All whole packets of a read were given."""

    @abstractmethod
    def refused(self, error: ProtocolError) -> None:
        """A packet broke the protocol: close."""

    @abstractmethod
    def gone(self) -> None:
        """The connection is no more."""

    @abstractmethod
    def expired(self) -> None:
        """No whole packet came within ``keepalive``."""

    @abstractmethod
    def shut_down(self) -> None:
        """The source closes."""

    # -- asyncio's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self.transport = transport
        self.peer = Peer(transport, self.origin)
        self.seen = self.server.tick
        if not self.server.add(self):
            self.closed = True
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self.reason = "tcp_closed"
        self.server.remove(self)
        if self._rest is not None:
            self._count_lost(self._take_rest())
        self.gone()

    def pause_writing(self) -> None:
        # it sends and does not read its answers: no reason to keep them for it
        self.close("slow_consumer")
        self.transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.buffer  # one for all: a fresh one for each read costs more than the reading

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.server.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Bytes came in, by whatever way."""
        if self.closed:
            return
        if self._rest is None and not self.stopped:
            self._read(data)
            return
        if self._keep(data) and not self.stopped:
            self._read(self._take_rest())
        else:
            self._check_room()

    # -- reading -----------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        pos = 0
        self.now = now_ms()
        try:
            pos = self._packets(data)
            if not pos:
                self.first_bytes(data)
        except ProtocolError as error:
            self.taken()
            self.refused(error)
            return
        if pos:
            self.seen = self.server.tick  # only whole packets count: dribbling does not keep a connection
        self.taken()
        if pos < len(data) and not self.closed:
            self._keep(data[pos:])
            self._check_room()
        self.flush()

    def _packets(self, data: bytes) -> int:
        """Take whole packets; where the rest begins. What follows the first of them may go the quick way."""
        largest, size = self.server.config.max_packet, len(data)
        begun, pos = -1, 0
        while begun < pos < size:
            begun = pos
            for header, start, end in framing.frames(data, largest, pos):
                if start - pos > 2 and not data[start - 1] and self.v5:
                    raise ProtocolError("a length has more bytes than it needs")
                if not self.packet(header, data, start, end):
                    return pos
                pos = end
                if self.stopped or self.closed:
                    return pos
                if pos < size and data[pos] in PLAIN:
                    pos = self.plain(data, pos)
                    break
        return pos

    def first_bytes(self, data: bytes) -> None:
        """Look at the beginning of a packet that is not whole yet."""

    def _keep(self, data: bytes) -> bool:
        """True if a whole packet may be there."""
        if self._rest is None:
            self._rest = framing.Rest()
        self.server.unread += len(data)
        return self._rest.keep(data)

    def _check_room(self) -> None:
        if self.server.unread > self.server.config.max_buffer:
            self.refused(ProtocolError("packets in part fill the memory", QUOTA_EXCEEDED))

    def _take_rest(self) -> bytes:
        data = self._rest.take() if self._rest is not None else b""
        self._rest = None
        self.server.unread -= len(data)
        return data

    def _count_lost(self, data: bytes) -> None:
        # QoS 1 and 2 come again, QoS 0 does not
        try:
            lost = sum(header & 0xF6 == framing.PUBLISH for header, _, _ in framing.frames(data))
        except ProtocolError:
            return
        if lost:
            self.server.drop("queue_full", lost)

    def stop(self) -> None:
        """Read no more until ``go_on``."""
        self.stopped = True
        self.transport.pause_reading()

    def go_on(self) -> None:
        """Read what waits here, then what waits in the socket. Its keepalive begins anew."""
        self.stopped = False
        if self.closed:
            return
        self.seen = self.server.tick
        self.transport.resume_reading()
        if self._rest is not None:
            self._read(self._take_rest())

    # -- writing -----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the answers, in one piece."""
        if self.out:
            out, self.out = self.out, b""
            self.transport.write(out)

    def close(self, reason: str, last: bytes = b"") -> None:
        """Send what is there and ``last``, and close; ``gone`` is called when it has happened."""
        if self.closed:
            return
        self.closed = True
        self.reason = reason
        if self._rest is not None:
            self._count_lost(self._take_rest())
        self.out += last
        self.flush()
        self.transport.close()
