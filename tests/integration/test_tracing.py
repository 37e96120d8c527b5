"""OpenTelemetry: the way of one event, from whoever sent it to every attempt of a sink."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collector import Collector
from rig import free_port, mosquitto_pub, until

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    one = Collector()
    await one.start()
    yield one
    await one.stop()


def pipeline(url: str, collector: str, sample: float = 1.0, **sink: Any) -> dict[str, Any]:
    return {
        "tracing": {"endpoint": collector, "sample": sample},
        "sources": {"in": {"type": "generate", "devices": 4, "rate": 0, "count": 1}},
        "rules": {"all": {"sql": 'SELECT payload.seq AS seq FROM "#"', "to": "out"}},
        "sinks": {"out": {"type": "http", "url": url, "retry": {"initial": "20ms", "max": "50ms"}, **sink}},
    }


def devices(config: dict[str, Any], port: int) -> dict[str, Any]:
    """The same pipeline, with devices instead of made messages."""
    return {
        **config,
        "sources": {"in": {"type": "mqtt_server", "listen": f"127.0.0.1:{port}"}},
        "rules": {"all": {"sql": 'SELECT clientid, topic, payload FROM "t/#"', "to": "out"}},
    }


@pytest.mark.mosquitto
async def test_a_trace_leads_from_the_device_through_every_attempt_to_the_server(
    headrace: Any, receiver: Any, collector: Collector
) -> None:
    statuses = iter([500, 200])
    receiver.answer = lambda body: next(statuses)
    h = headrace(devices(pipeline(receiver.url, collector.url, sample=0.0), port := free_port()))
    await h.start()
    sent = ("-V", "5", "-D", "publish", "user-property", "traceparent", f"00-{TRACE}-{SPAN}-01")
    await mosquitto_pub(port, "t/1", "hello", *sent)
    await receiver.got(1)
    assert await h.stop() == 0
    receive, rule, first, second = await collector.got(4)
    assert [span.name for span in collector.spans] == ["receive in", "rule all", "deliver out", "deliver out"]
    assert {span.trace for span in collector.spans} == {TRACE}
    assert [receive.parent, rule.parent, first.parent, second.parent] == [SPAN, receive.id, rule.id, rule.id]
    assert receiver.headers[0]["traceparent"] == f"00-{TRACE}-{second.id}-01"
    assert receive.attributes["messaging.destination.name"] == "t/1"
    assert receive.attributes["messaging.client.id"] == "emqx_c"
    assert (first.attributes["http.response.status_code"], first.attributes["error.type"]) == (500, "status")
    assert "500" in first.failed
    assert (second.attributes["http.response.status_code"], second.failed) == (200, "")
    assert (first.attributes["headrace.attempt"], second.attributes["headrace.attempt"]) == (1, 2)
    assert collector.resource["service.name"] == "test-0"
    assert not any("hello" in str(span) for span in collector.spans), "a span tells nothing of the payload"


@pytest.mark.mosquitto
async def test_a_trace_goes_on_after_a_restart(headrace: Any, receiver: Any, collector: Collector) -> None:
    await receiver.stop()
    h = headrace(devices(pipeline(receiver.url, collector.url), port := free_port()))
    await h.start()
    await mosquitto_pub(port, "t/1", "hello")
    await h.until(lambda s: s["sinks"]["out"]["counters"]["attempts"] >= 1)
    await h.kill()
    await receiver.start()
    await h.start()
    await receiver.got(1)
    assert await h.stop() == 0
    trace = receiver.headers[0]["traceparent"].split("-")[1]
    assert any(span.trace == trace and not span.failed for span in collector.named("deliver out"))
    assert not collector.named("receive in") or collector.named("receive in")[0].trace == trace


async def test_a_share_is_traced_and_each_of_these_whole(headrace: Any, receiver: Any, collector: Collector) -> None:
    config = pipeline(receiver.url, collector.url, sample=0.1)
    config["sources"]["in"]["count"] = 1000
    h = headrace(config)
    await h.start(wait=False)
    await receiver.got(1000)
    assert await h.stop() == 0
    traces = {span.trace for span in collector.named("receive in")}
    assert 80 <= len(traces) <= 120  # the gaps are drawn from 0 to 18: their mean over a hundred is 9 ± 0.6
    assert len(collector.spans) == 3 * len(traces)
    assert sum("traceparent" in headers for headers in receiver.headers) == len(traces)


@pytest.mark.mosquitto
async def test_who_brings_a_trace_that_is_not_sampled_is_not_traced_and_it_goes_on(
    headrace: Any, receiver: Any, collector: Collector
) -> None:
    h = headrace(devices(pipeline(receiver.url, collector.url), port := free_port()))
    await h.start()
    for given in (f"00-{TRACE}-{SPAN}-00", "00-none-of-that"):
        await mosquitto_pub(port, "t/1", given, "-V", "5", "-D", "publish", "user-property", "traceparent", given)
    await receiver.got(2)
    assert await h.stop() == 0
    assert receiver.headers[0]["traceparent"] == f"00-{TRACE}-{SPAN}-00"
    assert [span.attributes.get("headrace.attempt") for span in collector.spans] == [None, None, 1]
    assert collector.spans[0].trace in receiver.headers[1]["traceparent"]
    assert TRACE not in receiver.headers[1]["traceparent"]


async def test_a_traceparent_goes_through_without_any_tracing(headrace: Any, receiver: Any) -> None:
    config = devices(pipeline(receiver.url, ""), port := free_port())
    del config["tracing"]
    config["sources"]["in"] = {"type": "http", "listen": f"127.0.0.1:{port}"}
    h = headrace(config)
    await h.start()
    sent = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    url = f"http://127.0.0.1:{port}/in/t/1"
    async with aiohttp.ClientSession() as session, session.post(url, data="hello", headers=sent) as answer:
        assert answer.status == 202
    await receiver.got(1)
    assert receiver.headers[0]["traceparent"] == sent["traceparent"]
    assert await h.stop() == 0


async def test_failures_and_what_is_given_up_are_told(headrace: Any, receiver: Any, collector: Collector) -> None:
    receiver.answer = lambda body: 400
    config = pipeline(receiver.url, collector.url)
    config["rules"]["bad"] = {"sql": 'SELECT 1 / 0 AS x FROM "#"', "to": "out"}
    h = headrace(config)
    await h.start(wait=False)
    await until(h.socket.exists)
    await h.until(lambda s: s["sinks"]["out"]["counters"]["failed"] == 1)
    assert await h.stop() == 0
    await collector.got(5)
    (bad,), (given_up,) = collector.named("rule bad"), collector.named("give up out")
    assert "EvaluationError" in bad.failed
    assert bad.attributes["headrace.outputs"] == 0
    assert given_up.attributes["headrace.outcome"] == "failed"
    assert "400" in given_up.failed


async def test_a_request_that_joins_several_carries_the_first_trace(
    headrace: Any, receiver: Any, collector: Collector
) -> None:
    config = pipeline(receiver.url, collector.url, batch={"size": 10, "every": "5s"})
    config["sources"]["in"]["count"] = 10
    h = headrace(config)
    await h.start(wait=False)
    await receiver.got(1)
    assert await h.stop() == 0
    attempts = collector.named("deliver out")
    assert len(attempts) == 10
    assert receiver.headers[0]["traceparent"].split("-")[2] in {span.id for span in attempts}
    assert len(receiver.json()[0]) == 10


async def test_each_sink_has_attempts_of_its_own(headrace: Any, receiver: Any, collector: Collector) -> None:
    config = pipeline(receiver.url, collector.url)
    config["sinks"]["other"] = config["sinks"]["out"]
    config["rules"]["all"]["to"] = ["out", "other"]
    h = headrace(config)
    await h.start(wait=False)
    await receiver.got(2)
    assert await h.stop() == 0
    (rule,), attempts = collector.named("rule all"), collector.named("deliver out") + collector.named("deliver other")
    assert [span.parent for span in attempts] == [rule.id] * 2
    assert {headers["traceparent"].split("-")[2] for headers in receiver.headers} == {span.id for span in attempts}


async def test_without_a_collector_events_flow_and_a_stop_does_not_wait(headrace: Any, receiver: Any) -> None:
    config = pipeline(receiver.url, f"http://127.0.0.1:{free_port()}/v1/traces")
    config["sources"]["in"]["count"] = 5000
    h = headrace(config)
    await h.start(wait=False)
    await receiver.got(5000)
    began = time.monotonic()
    assert await h.stop() == 0
    assert time.monotonic() - began < 10
    assert "opentelemetry" in h.text()


async def test_the_collectors_headers_are_sent_and_not_shown(
    headrace: Any, receiver: Any, collector: Collector
) -> None:
    config = pipeline(receiver.url, collector.url)
    config["tracing"] |= {"headers": {"Authorization": "Bearer canary-123"}, "service": "plant"}
    h = headrace(config)
    await h.start(wait=False)
    await receiver.got(1)
    assert await h.stop() == 0
    assert collector.headers["Authorization"] == "Bearer canary-123"
    assert collector.resource["service.name"] == "plant"
    assert "canary" not in h.text()


async def test_lint_says_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps(pipeline("http://127.0.0.1:1", "http://127.0.0.1:2/v1/traces")))
    without = "import sys; sys.modules['opentelemetry'] = None; from headrace.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", without, "lint", str(file)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 78
    assert "tracing: OpenTelemetry is not installed: pip install 'headrace[otel]'" in done.stdout + done.stderr
