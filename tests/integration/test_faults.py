"""Crash, outage, hang, poison: nothing is lost, order is kept, and the status says what is going on."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from rig import check_order, until

MB = 1 << 20


def pipeline(source: dict[str, Any], url: str, **sink: Any) -> dict[str, Any]:
    return {
        "sources": {"in": source},
        "rules": {"all": {"sql": 'SELECT * FROM "t/#"', "to": "out"}},
        "sinks": {"out": {"type": "http", "url": url, "body": "${payload}", **sink}},
    }


@pytest.fixture(params=["mqtt", "mqtt_server"])
async def source(request: pytest.FixtureRequest, mosquitto: Any, free_port: int) -> tuple[dict[str, Any], int]:
    """Both ways in: the source's configuration, and the port the devices publish to."""
    if request.param == "mqtt":
        broker = await mosquitto()
        return {"type": "mqtt", "url": broker.url}, broker.port
    return {"type": "mqtt_server", "listen": f"127.0.0.1:{free_port}"}, free_port


@pytest.mark.slow
async def test_killed_three_times_loses_nothing(source: Any, headrace: Any, receiver: Any, devices: Any) -> None:
    config, port = source
    h = headrace(pipeline(config, receiver.url))
    await h.start()
    device = devices(port)
    await device.connect()
    publishing = asyncio.ensure_future(device.publish(50_000, rate=3000))
    allowed = Bound()
    for part in (10_000, 22_000, 34_000):
        while len(receiver.bodies) < part:
            await asyncio.sleep(0.01)
        status = await h.status()
        requests = receiver.requests
        await h.kill()
        allowed.killed(status, device.sent, receiver.requests - requests, receiver.at)
        await h.start()
    await publishing
    await until(lambda: len(receiver.bodies) >= 50_000 and len(set(receiver.bodies)) >= 50_000, 90, "every event")
    await h.until(lambda s: not s["sinks"]["out"]["counters"]["queuing"] + s["sinks"]["out"]["counters"]["inflight"])
    seen = check_order(receiver.json(), duplicates=True)
    assert len(seen) == 50_000, f"lost {50_000 - len(seen)}"
    duplicates = sum(seen.values()) - 50_000
    assert duplicates <= allowed.duplicates, f"{duplicates} duplicates: {allowed.terms}"


class Bound:
    """The duplicates that kills may make, from what was counted just before each of them.

    Requests that had no answer, the sink's and those begun since the status was told; what was settled since the last
    commit; and what a sender had no acknowledgement for: all that was published and not counted as appended. An event
    that was sent again is appended twice, so each kill adds what those before it may have repeated.
    """

    COMMIT = 0.005 + 0.045  # the commit's interval, and a pause of a loop that shares the machine

    def __init__(self) -> None:
        self.terms: list[dict[str, int]] = []
        self._appended = 0

    def killed(self, status: dict[str, Any], published: int, requests_since: int, answered_at: list[float]) -> None:
        source, sink = status["sources"]["in"]["counters"], status["sinks"]["out"]["counters"]
        self._appended += source["appended"]
        last = answered_at[-1]
        self.terms.append({
            "unanswered": sink["inflight"] + requests_since,
            "uncommitted": sum(at > last - self.COMMIT for at in answered_at),
            "unacknowledged": published - self._appended + sum(term["unacknowledged"] for term in self.terms),
        })  # fmt: skip

    @property
    def duplicates(self) -> int:
        return sum(sum(term.values()) for term in self.terms)


@pytest.mark.slow
async def test_ten_seconds_without_a_server(source: Any, headrace: Any, receiver: Any, devices: Any) -> None:
    config, port = source
    h = headrace(pipeline(config, receiver.url))
    await h.start()
    device = devices(port)
    await device.connect()
    publishing = asyncio.ensure_future(device.publish(28_000, rate=2000))
    await receiver.got(4000)
    await receiver.stop()
    await asyncio.sleep(10)
    status = await h.status()
    assert status["sinks"]["out"]["state"] == "degraded"
    await receiver.start()
    back = time.monotonic()
    held = device.acked
    await receiver.got(held, 20)
    assert receiver.at[held - 1] - back <= 3.0, "the backlog took too long"
    await publishing
    await receiver.got(28_000)
    seen = check_order(receiver.json(), duplicates=True)
    assert len(seen) == 28_000
    assert sum(seen.values()) - 28_000 <= 100


@pytest.mark.slow
async def test_one_poison_and_one_hanging_event_in_a_thousand(headrace: Any, receiver: Any, devices: Any,
                                                              free_port: int) -> None:  # fmt: skip
    def answer(body: bytes) -> int | None:
        return {500: 500, 700: None}.get(json.loads(body)["seq"], 200)

    receiver.answer = answer
    source = {"type": "mqtt_server", "listen": f"127.0.0.1:{free_port}"}
    retry = {"initial": "20ms", "max": "100ms", "max_attempts": 3}
    h = headrace(pipeline(source, receiver.url, timeout="500ms", retry=retry))
    await h.start()
    device = devices(free_port, count=1)
    await device.connect()
    await device.publish(1000, rate=2000)
    await receiver.got(998)
    status = await h.until(lambda s: s["sinks"]["out"]["counters"]["failed"] == 2)
    counters = status["sinks"]["out"]["counters"]
    assert (counters["matched"], counters["success"], counters["failed"]) == (1000, 998, 2)
    assert status["stream"]["dead_letters"]["kept"] == 2
    letters = await dead_letters(h)
    assert sorted(
        (letter["kind"], letter["status"], json.loads(letter["event"]["payload"])["seq"]) for letter in letters
    ) == [
        ("status", 500, 500),
        ("timeout", None, 700),
    ]
    assert all(letter["reason"] and letter["attempts"] == 3 for letter in letters)
    assert await h.stop() == 0


async def dead_letters(h: Any) -> list[dict[str, Any]]:
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headrace.cli", "dlq", "ls", str(h.config), "-o", "json", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.slow
async def test_a_server_that_hangs_with_defaults(source: Any, headrace: Any, receiver: Any, devices: Any) -> None:
    config, port = source
    h = headrace(pipeline(config, receiver.url))
    await h.start()
    device = devices(port)
    await device.connect()
    receiver.answer = lambda body: None
    most = 0
    publishing = asyncio.ensure_future(device.publish(120_000, rate=2000))
    while not publishing.done():
        most = max(most, h.rss())
        await asyncio.sleep(0.2)
    await h.until(lambda s: s["sinks"]["out"]["counters"]["queuing"] > 100_000)
    assert most < 200 * MB, f"RSS {most / MB:.0f} MB"
    log = sum(f.stat().st_size for f in h.socket.parent.rglob("*") if f.is_file())
    assert log > 20 * MB, "the backlog is on disk"
    receiver.answer = lambda body: 200
    receiver.release()
    await receiver.got(120_000, 60)
    assert len(check_order(receiver.json(), duplicates=True)) == 120_000


@pytest.mark.slow
async def test_a_server_that_hangs_with_a_small_buffer(source: Any, headrace: Any, receiver: Any, devices: Any) -> None:
    config, port = source
    h = headrace(pipeline(config, receiver.url, buffer={"max_bytes": "8MB"}))
    await h.start()
    device = devices(port)
    await device.connect()
    receiver.answer = lambda body: None
    publishing = asyncio.ensure_future(device.publish(60_000, rate=4000))
    status = await h.until(lambda s: s["stream"]["blocked_by"] == "out", 60)
    assert status["state"] == "degraded"
    assert "sink out is full" in status["reason"]
    await publishing
    appended = (await h.status())["sources"]["in"]["counters"]["appended"]
    assert appended < 60_000, "the rest is held back at the sender or the broker"
    await asyncio.sleep(12)  # longer than the device's keepalive: its pings are answered meanwhile
    assert device.connected()
    receiver.answer = lambda body: 200
    receiver.release()
    await receiver.got(60_000, 90)
    assert len(check_order(receiver.json(), duplicates=True)) == 60_000
