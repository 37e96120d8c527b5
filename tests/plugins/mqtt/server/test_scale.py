"""Ten thousand devices on one endpoint."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

DEVICES = 10_000
ENDPOINT = Path(__file__).parents[3] / "support" / "endpoint.py"


class Endpoint:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, ENDPOINT, f'{{"max_connections": {2 * DEVICES}}}'], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    @property
    def rss(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    if not Path("/proc/self/statm").exists():
        pytest.skip("NOT TESTED: memory is read from /proc")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DEVICES + 500:
        pytest.skip(f"NOT TESTED: {hard} open files are allowed; {DEVICES + 500} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    one = Endpoint()
    yield one
    one.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(port: int, n: int, clean: bool) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    clientid = b"device-%05d" % n
    body = b"\x00\x04MQTT\x04" + bytes((2 * clean, 0, 0)) + len(clientid).to_bytes(2, "big") + clientid
    sock.sendall(b"\x10" + bytes((len(body),)) + body)
    return sock


def exchange(sock: socket.socket, packet: bytes, answer: bytes) -> None:
    sock.sendall(packet)
    assert sock.recv(len(answer), socket.MSG_WAITALL) == answer


def test_ten_thousand_idle_devices_hold_no_more_than_40_mb(endpoint):
    with connect(endpoint.port, DEVICES, True) as first:
        exchange(first, b"", b"\x20\x02\x00\x00")
        exchange(first, b"\xc0\x00", b"\xd0\x00")
        before = endpoint.rss
        began = time.perf_counter()
        devices = [connect(endpoint.port, n, n % 2 == 0) for n in range(DEVICES)]
        try:
            for device in devices:
                exchange(device, b"", b"\x20\x02\x00\x00")
            took = time.perf_counter() - began
            for device in devices:
                exchange(device, b"\x32\x08\x00\x03t/1\x00\x01x", b"\x40\x02\x00\x01")
            exchange(first, b"\xc0\x00", b"\xd0\x00")
            grown = endpoint.rss - before
        finally:
            for device in devices:
                device.close()
    print(f"{grown / DEVICES:.0f} bytes a device, {DEVICES / took:.0f} connections a second")
    assert grown <= 40 << 20
