"""``headrace demo``: the main job on this machine alone, in a few seconds.

Devices (paho-mqtt clients) speak real MQTT to ``mqtt_server``, a rule picks the readings that are too warm, the
``http`` sink posts them to a small receiver that prints what arrived. No broker is needed, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from headrace.config import load
from headrace.registry import Registry

__all__ = ["main", "report"]

DEVICES = {"boiler": 27.0, "dryer": 24.0, "freezer": -19.0, "kiln": 29.0, "pump": 19.0}  # and their lowest temperature
ROUNDS = 20
PAUSE = 0.2
PATIENCE = 15.0

GOOD_END = """\
Every event is accounted for.

Your own: headrace new pipeline > plant.yaml, then headrace run plant.yaml (docs/start.md goes all the way)."""
CONFIG = """\
name: demo
sources:
  devices: {{type: mqtt_server, listen: "127.0.0.1:{mqtt}"}}
rules:
  too_warm:
    sql: |
      SELECT payload.device AS device, payload.temp AS celsius, topic
      FROM "plant/+/temp"
      WHERE payload.temp > 30
    to: alerts
sinks:
  alerts: {{type: http, url: "http://127.0.0.1:{http}", method: POST, path: /alerts}}
stream: {{url: "embedded://{log}"}}
"""


def main() -> int:
    """Run the demo. 0 if every event that had to arrive did, once."""
    with tempfile.TemporaryDirectory(prefix="headrace-demo-") as directory, _receiver() as receiver:
        mqtt = _free_port()
        text = CONFIG.format(mqtt=mqtt, http=receiver.server_port, log=Path(directory).resolve() / "log")
        config = Path(directory, "demo.yaml")
        config.write_text(text)
        print(f"The pipeline:\n\n{text}")
        status, published = asyncio.run(_run(config, mqtt))
    return report(status, published, len(receiver.bodies))


async def _run(config: Path, port: int) -> tuple[dict[str, Any], int]:
    """The pipeline in this process, the devices in threads. Returns the last status and what was published."""
    from headrace.service import Service  # the engine takes a moment to import; the picture above is there by then

    registry = Registry.discover()
    log = logging.getLogger("headrace.demo")
    service = Service(load([config], registry=registry), registry, log)
    await service.start()
    try:
        await _until(lambda: _snapshot(service)["sources"]["devices"]["state"] == "running")
        print(f"{len(DEVICES)} devices connect over MQTT and publish {ROUNDS} readings each. What the receiver gets:\n")
        await asyncio.gather(
            *(asyncio.to_thread(_device, port, n, *device) for n, device in enumerate(DEVICES.items()))
        )
        await _until(lambda: _settled(_snapshot(service)))
        return _snapshot(service), len(DEVICES) * ROUNDS
    finally:
        await service.stop()


def _snapshot(service: Any) -> dict[str, Any]:
    found: dict[str, Any] = service.pipeline.snapshot()
    return found


def _settled(status: dict[str, Any]) -> bool:
    rule, sink = status["rules"]["too_warm"]["counters"], status["sinks"]["alerts"]["counters"]
    done: bool = rule["matched"] >= len(DEVICES) * ROUNDS and sink["success"] >= rule["passed"]
    return done


async def _until(condition: Any) -> None:
    """Wait for a condition, but not for ever: the report says what is missing."""
    for _ in range(int(PATIENCE / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)


def _device(port: int, number: int, name: str, lowest: float) -> None:
    """One device: an MQTT client that publishes at QoS 1 and keeps a message until it is acknowledged."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=name)
    client.connect("127.0.0.1", port)
    client.loop_start()
    time.sleep(PAUSE * number / len(DEVICES))  # so that the devices take turns on the screen
    for reading in range(ROUNDS):
        temp = lowest + (reading * 7 + number * 3) % 10 / 2
        message = client.publish(f"plant/{name}/temp", json.dumps({"device": name, "temp": temp}), qos=1)
        time.sleep(PAUSE)
    message.wait_for_publish(PATIENCE)
    client.disconnect()
    client.loop_stop()


class _Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        print(f"  POST {self.path} {body.decode()}", flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Each request is printed already."""


@contextlib.contextmanager
def _receiver() -> Iterator[_Receiver]:
    with _Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(status: dict[str, Any], published: int, arrived: int) -> int:
    """Print the counts of every stage. 1 if they do not add up."""
    rule, sink = status["rules"]["too_warm"]["counters"], status["sinks"]["alerts"]["counters"]
    print(f"""
devices   published {published}
rule      matched {rule["matched"]}, passed {rule["passed"]}, filtered out {rule["failed.no_result"]}
sink      delivered {sink["success"]}, failed {sink["failed"]}, waiting {sink["queuing"] + sink["inflight"]}
receiver  got {arrived}
""")
    complete = published == rule["matched"] and rule["passed"] == sink["success"] == arrived > 0
    print(GOOD_END if complete else "This does not add up: events are missing.")
    return 0 if complete else 1
