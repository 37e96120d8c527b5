"""MQTT's packets as frames, and the fields they are made of; what the packets mean is in ``codec``.

Everything read comes from a stranger. Whatever is wrong with it raises ``ProtocolError`` with the reason code of
MQTT 5 that names it; nothing else is ever raised.
"""

from __future__ import annotations

from collections.abc import Iterator

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x10, 0x20, 0x30, 0x40, 0x50, 0x62, 0x70
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP = 0x82, 0x90, 0xA2, 0xB0, 0xC0, 0xD0
DISCONNECT, AUTH = 0xE0, 0xF0

MALFORMED, PROTOCOL_ERROR, FILTER_INVALID, TOPIC_INVALID, ALIAS_INVALID, TOO_LARGE = 0x81, 0x82, 0x8F, 0x90, 0x94, 0x95
UNSUPPORTED_VERSION, BAD_CLIENTID = 0x84, 0x85

MAX_VARINT = 268_435_455


class ProtocolError(Exception):
    """A packet breaks the protocol; ``code`` is the reason code of MQTT 5."""

    def __init__(self, text: str, code: int = MALFORMED) -> None:
        super().__init__(text)
        self.code = code


# -- fields: the value at ``pos`` and where it ends, which is never beyond ``end`` -----------------------------


def read_varint(data: bytes | bytearray, pos: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while pos < end:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
        if shift > 21:
            raise ProtocolError("a length has more than four bytes")
    raise ProtocolError("a length is cut short")


def read_binary(data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    start = pos + 2
    stop = start + int.from_bytes(data[pos:start], "big")
    if start > end or stop > end:
        raise ProtocolError("a field is longer than the packet")
    return data[start:stop], stop


def read_text(data: bytes, pos: int, end: int) -> tuple[str, int]:
    raw, pos = read_binary(data, pos, end)
    return decode_text(raw), pos


def decode_text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a text is not UTF-8") from None
    if "\0" in text:
        raise ProtocolError("a text has a NUL")
    return text


def read_u16(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos + 2 > end:
        raise ProtocolError("the packet is cut short")
    return data[pos] << 8 | data[pos + 1], pos + 2


def read_byte(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos >= end:
        raise ProtocolError("the packet is cut short")
    return data[pos], pos + 1


def encode_varint(value: int) -> bytes:
    """A length of MQTT: seven bits a byte, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_string(value: str | bytes) -> bytes:
    """A text or binary field with its length before it."""
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


# -- packets ---------------------------------------------------------------------------------------------------


def encode_packet(header: int, *parts: bytes) -> bytes:
    """A packet: first byte, length, body."""
    body = b"".join(parts)
    return bytes((header,)) + encode_varint(len(body)) + body


def frames(data: bytes, max_packet: int = MAX_VARINT, pos: int = 0) -> Iterator[tuple[int, int, int]]:
    """First byte, start of the body and end of each whole packet from ``pos``; what is left over is not told."""
    size = len(data)
    while size - pos >= 2:
        header = data[pos]
        length = data[pos + 1]
        start = pos + 2
        if length > 127:
            if size > start and data[start] < 128:  # two bytes, the usual case beside one
                length += (data[start] << 7) - 128
                start += 1
            elif size > pos + 4:
                length, start = read_varint(data, pos + 1, size)
            else:
                return
        if length > max_packet:
            raise ProtocolError(f"a packet of {length} bytes; at most {max_packet} are taken", TOO_LARGE)
        pos = start + length
        if pos > size:
            return
        yield header, start, pos


def missing(data: bytes | bytearray) -> int:
    """How many bytes the packet that begins ``data`` has in all, as far as one can tell: at least 2."""
    try:
        length, start = read_varint(data, 1, len(data))
    except ProtocolError:
        return len(data) + 1
    return start + length


class Rest:
    """What was read of a packet that is not whole yet. However small the pieces are, each byte is copied twice."""

    __slots__ = ("_data", "_need")

    def __init__(self) -> None:
        self._data = bytearray()
        self._need = 0

    def __len__(self) -> int:
        return len(self._data)

    def keep(self, data: bytes) -> bool:
        """Add bytes. True if there may be a whole packet now."""
        self._data += data
        self._need = missing(self._data)
        return len(self._data) >= self._need

    def take(self) -> bytes:
        """All of it; none is left."""
        data = bytes(self._data)
        self._data = bytearray()
        return data
