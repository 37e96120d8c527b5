"""The harness's own ends of the pipeline: prober, broker, receiver."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["MQB", "Ports", "Prober", "get", "mosquitto_conf", "wait_for_port"]

MQB = str(Path(__file__).resolve().parent.parent / "mqb")


@dataclass(frozen=True)
class Ports:
    """Everything listens on 127.0.0.1, from ``BENCH_PORTS`` on."""

    base: int = int(os.environ.get("BENCH_PORTS", "21880"))

    @property
    def mqtt(self) -> int:
        return self.base

    @property
    def feed_control(self) -> int:
        return self.base + 1

    @property
    def http(self) -> int:
        return self.base + 2

    @property
    def control(self) -> int:
        return self.base + 3

    @property
    def spare(self) -> int:
        """The first of a few for the system's own use."""
        return self.base + 10


def get(port: int, path: str, timeout: float = 50) -> dict[str, Any]:
    """Ask one of the harness's control ports."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
        found: dict[str, Any] = json.loads(answer.read() or b"{}")
        return found


def wait_for_port(port: int, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def mosquitto_conf(port: int, inflight: int) -> str:
    """Nothing is dropped and nothing is written to disk: the broker is not what is measured."""
    return f"""listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages {inflight}
persistence false
log_type error
set_tcp_nodelay true
"""


class Prober:
    """Publishes messages that every rule passes, over one QoS 0 connection, until one has come through."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        client = b"prober"
        connect = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(client)) + client
        self._socket.sendall(b"\x10" + bytes([len(connect)]) + connect)
        self._socket.recv(4)
        self._sent = 0

    def send(self) -> None:
        payload = b'{"id":0,"temp":5000.0,"hum":1,"ts":%d,"seq":%d}' % (time.time() * 1e6, 4_000_000_000 + self._sent)
        body = struct.pack(">H", 3) + b"t/0" + payload
        self._sent += 1
        self._socket.sendall(b"\x30" + bytes([len(body)]) + body)

    def close(self) -> None:
        self._socket.close()
