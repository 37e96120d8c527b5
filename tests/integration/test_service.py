"""The process: health, readiness, metrics, the status socket, signals, exit codes."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

MESSAGES = {"type": "generate", "devices": 5, "rate": 200, "count": 50}


def pipeline(url: str, **more: Any) -> dict[str, Any]:
    return {
        "sources": {"in": MESSAGES},
        "rules": {
            "all": {"sql": 'SELECT payload.seq AS seq FROM "#"', "to": "out"},
            "bad": {"sql": 'SELECT 1 / 0 AS x FROM "#"', "to": "out"},
            "none": {"sql": 'SELECT payload.seq AS seq FROM "#" WHERE payload.seq < 0', "to": "out"},
        },
        "sinks": {"out": {"type": "http", "url": url, "retry": {"max": "100ms"}}},
        **more,
    }


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_health_metrics_and_status_over_http(headrace: Any, receiver: Any, free_port: int) -> None:
    h = headrace(pipeline(receiver.url, api={"listen": f"127.0.0.1:{free_port}"}))
    await h.start(wait=False)
    await receiver.got(50)
    await h.until(lambda s: s["sinks"]["out"]["counters"]["success"] == 50)
    base = f"http://127.0.0.1:{free_port}"
    assert (await get(base + "/healthz"))[0] == 200
    assert await get(base + "/readyz") == (200, "running\n")
    status, text = await get(base + "/metrics")
    assert status == 200
    samples = {
        (sample.name, sample.labels.get("name", ""), *filter(None, [sample.labels.get("le")])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["headrace_sink_success_total", "out"] == 50
    assert samples["headrace_rule_failed_exception_total", "bad"] == 50
    assert samples["headrace_rule_failed_no_result_total", "none"] == 50
    assert samples["headrace_sink_queuing", "out"] == 0
    assert samples["headrace_sink_attempts_total", "out"] >= 50
    assert samples["headrace_sink_latency_seconds_bucket", "out", "+Inf"] >= 50
    assert samples["headrace_sink_end_to_end_seconds_count", "out"] == 50
    document = json.loads((await get(base + "/api/v1/status"))[1])
    assert document["rules"]["bad"]["last_error"]
    assert document["sources"]["in"]["counters"]["received"] == 50
    assert await h.stop() == 0


async def test_readiness_says_what_is_wrong(headrace: Any, receiver: Any, free_port: int) -> None:
    await receiver.stop()
    h = headrace(pipeline(receiver.url, api={"listen": f"127.0.0.1:{free_port}"}))
    await h.start(wait=False)
    await until_listening(h)
    await h.until(lambda s: s["sinks"]["out"]["state"] == "degraded")
    status, text = await get(f"http://127.0.0.1:{free_port}/readyz")
    assert status == 503
    assert "Connection refused" in text


async def until_listening(h: Any) -> None:
    async with asyncio.timeout(20):
        while not h.socket.exists():
            await asyncio.sleep(0.02)


async def test_the_status_socket_is_the_owners_alone(headrace: Any, receiver: Any) -> None:
    h = headrace(pipeline(receiver.url))
    await h.start(wait=False)
    await until_listening(h)
    assert stat.S_IMODE(h.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(h.socket.parent.stat().st_mode) == 0o700


async def test_a_signal_drains_and_ends_with_0(headrace: Any, receiver: Any) -> None:
    receiver.answer = lambda body: None
    h = headrace(pipeline(receiver.url, shutdown_timeout="10s"))
    await h.start(wait=False)
    await until_listening(h)
    await h.until(lambda s: s["sinks"]["out"]["counters"]["matched"] == 50)
    h.process.send_signal(signal.SIGINT)
    await asyncio.sleep(0.3)
    assert h.process.returncode is None, "it waits for what is on its way"
    receiver.answer = lambda body: 200
    receiver.release()
    assert await h.stop() == 0
    assert len(receiver.bodies) == 50
    assert "nothing is left" in h.text()


async def test_what_cannot_be_drained_stays_in_the_log_and_goes_out_next_time(headrace: Any, receiver: Any) -> None:
    await receiver.stop()
    h = headrace(pipeline(receiver.url, shutdown_timeout="300ms"))
    await h.start(wait=False)
    await until_listening(h)
    await h.until(lambda s: s["sinks"]["out"]["counters"]["matched"] == 50)
    assert await h.stop() == 0
    assert "50 events are not delivered yet" in h.text()
    await receiver.start()
    config = json.loads(h.config.read_text())
    config["sources"] = {}
    h.config.write_text(json.dumps(config))
    await h.start(wait=False)
    await receiver.got(50)
    status = await h.until(lambda s: s["sinks"]["out"]["counters"]["success"] == 50)
    assert status["sinks"]["out"]["counters"]["recovered"] == 50
    assert len(receiver.bodies) == 50


async def test_a_second_process_on_the_same_log_is_told_so(headrace: Any, receiver: Any) -> None:
    h = headrace(pipeline(receiver.url))
    await h.start(wait=False)
    await until_listening(h)
    other = headrace({**json.loads(h.config.read_text()), "name": "other"})
    await other.start(wait=False)
    assert await asyncio.wait_for(other.process.wait(), 20) == 1
    assert f"in use by process {h.process.pid}" in other.text()


async def test_a_sink_that_vanished_with_a_backlog_is_an_orphan_until_it_is_back(headrace: Any, receiver: Any) -> None:
    await receiver.stop()
    made = pipeline(receiver.url, shutdown_timeout="100ms")
    h = headrace(made)
    await h.start(wait=False)
    await until_listening(h)
    await h.until(lambda s: s["sinks"]["out"]["counters"]["matched"] == 50)
    await h.stop()
    config = json.loads(h.config.read_text())
    renamed = json.loads(json.dumps(config).replace('"out"', '"fresh"'))
    h.config.write_text(json.dumps({**renamed, "sources": {}}))
    await h.start(wait=False)
    await until_listening(h)
    status = await h.until(lambda s: s["stream"]["orphans"])
    assert status["stream"]["orphans"]["sink.out"]["events"] == 50
    await h.stop()
    await receiver.start()
    h.config.write_text(json.dumps({**config, "sources": {}}))
    await h.start(wait=False)
    await receiver.got(50)
