"""MQTT through a websocket (RFC 6455): between the transport and the connection, and to each like the other."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha1
from typing import Any, cast

from headrace_plugins.mqtt_server.wire import Wire

__all__ = ["WebSocket"]

MAX_REQUEST = 8192
BINARY, CLOSE, PING, PONG = 0x2, 0x8, 0x9, 0xA
PROTOCOLS = ("mqtt", "mqttv3.1")
NORMAL, BAD_FRAME, NOT_BINARY = 1000, 1002, 1003
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class BadRequest(Exception):
    """No request for MQTT over a websocket; ``status`` is the answer."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class WebSocket(asyncio.Protocol, asyncio.Transport):
    """A stream of bytes for ``inner``, whatever frames they come in. What breaks the rules ends the connection."""

    def __init__(self, inner: Wire, path: str, origins: tuple[str, ...]) -> None:
        asyncio.Transport.__init__(self)
        self._inner, self._path, self._origins = inner, path, origins
        self._wire: asyncio.Transport
        self._upgraded = self._ended = False
        self._head = bytearray()  # the request, or the beginning of a frame, in part
        self._opcode = 0
        self._parted = False  # within a message of several frames
        self._left = 0  # bytes of the frame to come
        self._mask = b""
        self._control = bytearray()  # what a ping or a close carries

    # -- to the transport, a protocol --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self._inner.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if not self._upgraded:
            data = self._upgrade(data)
        if data and not self._ended:
            payload = self._unframe(data)
            if payload:
                self._inner.data_received(payload)

    def _upgrade(self, data: bytes) -> bytes:
        self._head += data
        request, blank, rest = bytes(self._head).partition(b"\r\n\r\n")
        try:
            if not blank and len(request) <= MAX_REQUEST:
                if not b"GET ".startswith(request[:4]):
                    raise BadRequest("400 Bad Request")
                return b""
            key, protocol = _read_request(request, self._path, self._origins)
        except BadRequest as error:
            self._inner.server.ctx.metrics.add("connections.protocol_error")
            self._wire.write(f"HTTP/1.1 {error.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            self._end()
            return b""
        accept = b64encode(sha1(key + _GUID, usedforsecurity=False).digest()).decode()
        self._wire.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()
        )
        self._upgraded = True
        self._head.clear()
        return rest

    def _unframe(self, data: bytes) -> bytes:
        """The payload in these bytes of one or more frames."""
        out: list[bytes] = []
        pos, size = 0, len(data)
        while pos < size and not self._ended:
            if not self._left:
                need = _head_size(self._head) - len(self._head)
                self._head += data[pos : pos + need]
                pos += need
                if len(self._head) < _head_size(self._head):
                    continue  # longer than it seemed, or not all there yet
                if not self._begin():
                    break
            piece = data[pos : pos + self._left]
            pos += len(piece)
            self._left -= len(piece)
            piece = self._unmask(piece)
            if self._opcode & 8:
                self._control += piece
            else:
                out.append(piece)
            if not self._left and self._opcode & 8 and not self._ended:
                self._answer()
        return b"".join(out)

    def _begin(self) -> bool:
        """A frame's beginning is there. False if it is wrong."""
        head, self._head = bytes(self._head), bytearray()
        self._opcode, length = head[0] & 15, head[1] & 127
        control = bool(self._opcode & 8)
        known = self._opcode in (0, BINARY, CLOSE, PING, PONG)
        if head[0] & 0x70 or not head[1] & 128 or (control and (length > 125 or not head[0] & 128)):
            self._fail(BAD_FRAME)
            return False
        if not known:
            self._fail(NOT_BINARY if self._opcode == 1 else BAD_FRAME)
            return False
        self._mask = head[-4:]
        self._left = length if length < 126 else int.from_bytes(head[2:-4], "big")
        astray = not control and self._parted == bool(self._opcode)  # a message in another one, or the rest of none
        if astray or self._left >> 63:
            self._fail(BAD_FRAME)
            return False
        if not control:
            self._parted = not head[0] & 128
        self._control.clear()
        return True

    def _unmask(self, piece: bytes) -> bytes:
        size = len(piece)
        if not size:
            return piece
        pattern = self._mask * (size // 4 + 1)
        mixed = int.from_bytes(piece, "little") ^ int.from_bytes(pattern[:size], "little")
        self._mask = self._mask[size % 4 :] + self._mask[: size % 4]  # where the next piece goes on
        return mixed.to_bytes(size, "little")

    def _answer(self) -> None:
        if self._opcode == PING:
            self._wire.write(bytes((0x80 | PONG, len(self._control))) + self._control)
        elif self._opcode == CLOSE:
            self._fail(NORMAL)

    def _fail(self, code: int) -> None:
        if code != NORMAL:
            self._inner.server.ctx.metrics.add("connections.protocol_error")
        self._wire.write(bytes((0x80 | CLOSE, 2)) + code.to_bytes(2, "big"))
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._wire.close()

    # -- to the connection, a transport ------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._wire.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        size = len(data)
        if size < 126:
            head = bytes((0x80 | BINARY, size))
        elif size < 1 << 16:
            head = bytes((0x80 | BINARY, 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x80 | BINARY, 127)) + size.to_bytes(8, "big")
        if self._upgraded and not self._wire.is_closing():
            self._wire.write(head + data)

    def close(self) -> None:
        if not self._ended:
            if self._upgraded:
                self._fail(NORMAL)
            else:
                self._end()

    def abort(self) -> None:
        self._ended = True
        self._wire.abort()

    def is_closing(self) -> bool:
        return self._wire.is_closing()

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        self._wire.resume_reading()


def _head_size(head: bytearray) -> int:
    """Bytes before a frame's payload, as far as one can tell: at least 2."""
    if len(head) < 2:
        return 2
    length = head[1] & 127
    return 2 + (0 if length < 126 else 2 if length == 126 else 8) + (4 if head[1] & 128 else 0)


def _read_request(request: bytes, path: str, origins: tuple[str, ...]) -> tuple[bytes, str]:
    """The key and the subprotocol of a request for MQTT."""
    if len(request) > MAX_REQUEST:
        raise BadRequest("431 Request Header Fields Too Large")
    first, *lines = request.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[0] != "GET" or words[2] != "HTTP/1.1":
        raise BadRequest("400 Bad Request")
    if words[1].partition("?")[0] != path:
        raise BadRequest("404 Not Found")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in headers.get("connection", "").lower():
        raise BadRequest("426 Upgrade Required\r\nUpgrade: websocket")
    if headers.get("sec-websocket-version") != "13":
        raise BadRequest("426 Upgrade Required\r\nSec-WebSocket-Version: 13")
    _check_origin(headers, origins)
    offered = [one.strip() for one in headers.get("sec-websocket-protocol", "").split(",")]
    chosen = next((one for one in offered if one in PROTOCOLS), None)
    if chosen is None or not headers.get("sec-websocket-key"):
        raise BadRequest("400 Bad Request")
    return headers["sec-websocket-key"].encode("latin-1"), chosen


def _check_origin(headers: dict[str, str], origins: tuple[str, ...]) -> None:
    """A page of another site, in the browser of somebody who can reach us, must be let in by name."""
    origin = headers.get("origin")
    if origin is None or "*" in origins or origin in origins:
        return
    if origin.partition("://")[2] != headers.get("host"):
        raise BadRequest("403 Forbidden")
