"""The rig of the probes: a device publishes by MQTT, a server receives, the counters are read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import paho.mqtt.publish

from headrace.testing.pipelines import RunningPipeline, run_pipeline
from rig import free_port, until

OUTCOMES = frozenset(
    [
        "matched",
        "recovered",
        "replayed",
        "success",
        "failed",
        "late_reply",
        "dropped",
        "queuing",
        "inflight",
        "headers_left_out",
    ]
)
FAST = {"initial": "10ms", "max": "200ms"}


class Probe:
    """A running pipeline with one rule and the sink ``a1``."""

    def __init__(self, running: RunningPipeline, port: int) -> None:
        self._running = running
        self._port = port

    async def publish(self, topic: str, *payloads: str | bytes, client: str = "dev1", qos: int = 1) -> None:
        messages = [(topic, payload, qos, False) for payload in payloads]
        await asyncio.to_thread(
            paho.mqtt.publish.multiple, messages, "127.0.0.1", self._port, client_id=client, keepalive=10
        )

    def sink(self, name: str = "a1") -> dict[str, int]:
        """What became of its events: the counters and gauges that are not 0, without those of attempts and sizes."""
        counters = self._running.status()["sinks"][name]["counters"]
        return {key: value for key, value in counters.items() if value and key.partition(".")[0] in OUTCOMES}

    def rule(self) -> dict[str, int]:
        return {key: value for key, value in self._running.status()["rules"]["r1"]["counters"].items() if value}

    def attempts(self) -> int:
        return int(self._running.status()["sinks"]["a1"]["counters"]["attempts"])

    def retried(self) -> int:
        return int(self._running.status()["sinks"]["a1"]["counters"]["retried"])

    async def settled(self, n: int, timeout: float = 20.0) -> dict[str, int]:
        """Wait until ``n`` events of ``a1`` are settled; its counters."""

        def done() -> bool:
            counters = self.sink()
            return sum(counters.get(name, 0) for name in ("success", "failed", "dropped", "late_reply")) == n

        await until(done, timeout, f"{n} events settled")
        return self.sink()


@contextlib.asynccontextmanager
async def probing(
    url: str, sql: str = 'SELECT * FROM "t/#"', connector: Any = None, more: Any = None, **sink: Any
) -> AsyncIterator[Probe]:
    """The base configuration: profile emqx, a connector, an action, a rule."""
    port = free_port()
    config = {
        "sources": {"mqtt": {"type": "mqtt_server", "listen": f"127.0.0.1:{port}"}},
        "connectors": {"c1": {"type": "http", "url": url, **(connector or {})}},
        "rules": {"r1": {"sql": sql, "to": "a1"}},
        "sinks": {"a1": {"type": "http", "connector": "c1", "profile": "emqx", "retry": FAST, **sink}, **(more or {})},
    }
    async with run_pipeline(json.dumps(config)) as running:
        await running.until(lambda status: status["sources"]["mqtt"]["state"] == "running")
        yield Probe(running, port)


DELIVERED = {"matched": 1, "success": 1}
ONE_ACTION = {"matched": 1, "passed": 1, "actions.total": 1, "actions.success": 1}
FAILED_ACTION = {"matched": 1, "passed": 1, "actions.total": 1, "actions.failed": 1, "actions.failed.unknown": 1}
HELLO = '{ "msg": "hello HTTP Server" }'
