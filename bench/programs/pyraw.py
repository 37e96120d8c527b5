"""The ceiling for pure CPython, one thread: MQTT and HTTP by hand on one epoll.

argv: mqtt_port http_port rule connections depth batch rules

``connections`` HTTP connections with ``depth`` requests in flight on each; PUBACK only after the 2xx. The point is the
shape: read much, parse every whole packet in the buffer in one loop, write once. There is no retry and no reconnect.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from collections import deque

MQTT_PORT, HTTP_PORT, RULE = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
CONNECTIONS, DEPTH, BATCH, RULES = (int(arg) for arg in sys.argv[4:8])
HEAD = b"POST /in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
LIMIT = 30 if RULE == "filter30" else 1000
BY_ID = {i: i for i in range(RULES)}  # the rules, found by the constant they compare with

todo: deque[tuple[bytes, bytes]] = deque()  # PUBACK, body
acks: list[bytes] = []


def dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def receive(connection: socket.socket, size: int) -> bytes | None:
    """What there is; None for nothing now."""
    try:
        return connection.recv(size)
    except BlockingIOError:
        return None


def send_some(connection: socket.socket, data: bytes) -> bytes:
    """Send what goes; returns the rest."""
    try:
        return data[connection.send(data) :]
    except BlockingIOError:
        return data


def apply(topic: bytes, payload: bytes) -> bytes | None:
    """The body the rule makes of a message, or None."""
    if RULE == "pass":
        return payload
    v = json.loads(payload)
    if RULE == "rules":
        rule = BY_ID.get(v["id"])
        if rule is None:
            return None
        return b'{"rule":%d,"id":%d,"temp":%a,"seq":%d,"ts":%d}' % (rule, v["id"], v["temp"], v["seq"], v["ts"])
    if not v["temp"] > LIMIT:
        return None
    tf = v["temp"] * 1.8 + 32
    return b'{"tf":%a,"id":%d,"topic":"%b","seq":%d,"ts":%d}' % (tf, v["id"], topic, v["seq"], v["ts"])


def take_messages(buf: bytes) -> bytes:
    """Every whole packet in the buffer; returns the rest."""
    i, n = 0, len(buf)
    while i + 4 <= n:
        head, length, p = buf[i], buf[i + 1], i + 2
        if length > 127:
            length = (length & 127) | (buf[p] & 127) << 7
            p += 1
            if buf[p - 1] > 127:
                length |= buf[p] << 14
                p += 1
        end = p + length
        if end > n:
            break
        if head >> 4 == 3:
            t = p + 2 + (buf[p] << 8 | buf[p + 1])
            topic, ack = buf[p + 2 : t], b""
            if head & 6:
                ack = b"\x40\x02" + buf[t : t + 2]
                t += 2
            body = apply(topic, buf[t:end])
            if body is None:
                acks.append(ack)
            else:
                todo.append((ack, body))
        i = end
    return buf[i:]


class Connection:
    __slots__ = ("buf", "in_flight", "socket")

    def __init__(self) -> None:
        self.socket = dial(HTTP_PORT)
        self.socket.setblocking(False)
        self.in_flight: deque[bytes] = deque()
        self.buf = b""

    def take_answers(self, data: bytes) -> None:
        buf, p = self.buf + data, 0
        while (q := buf.find(b"\r\n\r\n", p)) >= 0:
            at = buf.find(b"ontent-Length:", p, q)
            size = int(buf[at + 14 : buf.find(b"\r", at)]) if at > 0 else 0
            if q + 4 + size > len(buf):
                break
            ack = self.in_flight.popleft()
            if buf[p + 9] == ord("2"):
                acks.append(ack)  # any other answer leaves the message unacknowledged
            p = q + 4 + size
        self.buf = buf[p:]

    def send(self) -> None:
        """As many requests as there is room for, in one write."""
        out = []
        for _ in range(DEPTH - len(self.in_flight)):
            if not todo:
                break
            if BATCH == 1:
                ack, body = todo.popleft()
            else:
                taken = [todo.popleft() for _ in range(min(BATCH, len(todo)))]
                ack = b"".join(ack for ack, _ in taken)
                body = b"[" + b",".join(body for _, body in taken) + b"]"
            self.in_flight.append(ack)
            out.append(HEAD % (len(body), body))
        self.socket.setblocking(True)
        self.socket.sendall(b"".join(out))
        self.socket.setblocking(False)


def subscribe() -> socket.socket:
    mqtt = dial(MQTT_PORT)
    client = b"bench-sut"
    connect = b"\x10" + bytes([12 + len(client)]) + b"\0\4MQTT\4\0\0\0" + bytes([0, len(client)]) + client
    mqtt.sendall(connect + b"\x82\x08\0\1\0\3t/#\1")
    mqtt.setblocking(False)
    return mqtt


def main() -> None:
    mqtt = subscribe()
    connections = {c.socket.fileno(): c for c in (Connection() for _ in range(CONNECTIONS))}
    free = deque(connections.values())
    poller = select.epoll()
    for fd in [mqtt.fileno(), *connections]:
        poller.register(fd, select.EPOLLIN)
    buf = unsent = b""
    reading = True
    while True:
        for fd, _ in poller.poll():
            connection = connections.get(fd)
            data = receive(mqtt if connection is None else connection.socket, 1 << 18)
            if data is None:
                continue
            if not data:
                return
            if connection is None:
                buf = take_messages(buf + data)
                continue
            full = len(connection.in_flight) >= DEPTH
            connection.take_answers(data)
            if full and len(connection.in_flight) < DEPTH:
                free.append(connection)
        while todo and free:
            free[0].send()
            if len(free[0].in_flight) >= DEPTH:
                free.popleft()
        if acks or unsent:
            unsent = send_some(mqtt, unsent + b"".join(acks))
            acks.clear()
        if reading != (len(todo) < (5000 if reading else 1000)):
            reading = not reading
            poller.modify(mqtt.fileno(), select.EPOLLIN if reading else 0)


main()
