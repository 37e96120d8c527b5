"""The PROXY protocol, versions 1 and 2: a load balancer says whose connection it passes on."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from typing import NamedTuple

__all__ = ["BadHeader", "Origin", "read_origin"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1 = 107
MAX_V2 = 4096
_SIZES = {0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}
"""Bytes of an address, by family and transport."""


class BadHeader(Exception):
    """What came first on a connection is no header of the PROXY protocol."""


class Origin(NamedTuple):
    """Where a connection really comes from, and the address it was made to."""

    peername: tuple[str, int]
    sockname: tuple[str, int]


async def read_origin(sock: socket.socket) -> Origin | None:
    """Read the header and not a byte more. None if the proxy speaks for itself, as in its health checks."""
    start = await _exactly(sock, len(SIGNATURE))
    if start == SIGNATURE:
        return await _read_v2(sock)
    if start.startswith(b"PROXY "):
        return _parse_v1(await _line(sock, start))
    raise BadHeader("a connection that does not begin with a header of the PROXY protocol")


async def _exactly(sock: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        more = await asyncio.get_running_loop().sock_recv(sock, n - len(data))
        if not more:
            raise BadHeader("the connection ended in the header of the PROXY protocol")
        data += more
    return data


async def _line(sock: socket.socket, start: bytes) -> bytes:
    while not start.endswith(b"\r\n"):
        if len(start) >= MAX_V1:
            raise BadHeader("a header of the PROXY protocol without end")
        start += await _exactly(sock, 1)
    return start


def _parse_v1(line: bytes) -> Origin | None:
    words = line.decode("latin-1").rstrip("\r\n").split(" ")
    if words[1] == "UNKNOWN":
        return None
    try:
        _, family, source, target, source_port, target_port = words
        version = {"TCP4": 4, "TCP6": 6}[family]
        addresses = ipaddress.ip_address(source), ipaddress.ip_address(target)
        ports = int(source_port), int(target_port)
    except (ValueError, KeyError):
        raise BadHeader(f"a header of the PROXY protocol that makes no sense: {line!r}") from None
    if any(one.version != version for one in addresses) or not all(0 <= port < 65536 for port in ports):
        raise BadHeader(f"a header of the PROXY protocol that makes no sense: {line!r}")
    return Origin((str(addresses[0]), ports[0]), (str(addresses[1]), ports[1]))


async def _read_v2(sock: socket.socket) -> Origin | None:
    command, family, length = struct.unpack("!BBH", await _exactly(sock, 4))
    if command not in (0x20, 0x21) or length > MAX_V2:
        raise BadHeader(f"a header of the PROXY protocol with command {command:#x} and {length} bytes")
    body = await _exactly(sock, length)
    size = _SIZES.get(family)
    if command == 0x20 or size is None:
        return None  # the proxy itself, or an address that is none of IP
    if length < 2 * size + 4:
        raise BadHeader("a header of the PROXY protocol that is too short for its addresses")
    source, target = (str(ipaddress.ip_address(body[i : i + size])) for i in (0, size))
    ports = struct.unpack_from("!HH", body, 2 * size)
    return Origin((source, ports[0]), (target, ports[1]))
