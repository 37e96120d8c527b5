"""The sink inside a whole pipeline: what the engine makes of its verdicts."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from typing import Any

import pytest

from headrace.testing.pipelines import RunningPipeline, run_pipeline

SQL = "SELECT clientid, payload.seq AS seq"


def pipeline(server: Any, sink: str = "", count: int = 1, devices: int = 1, sql: str = SQL) -> Any:
    return run_pipeline(f"""
sources: {{g: {{type: generate, devices: {devices}, rate: 5000, count: {count}, payload: '{{"seq": ${{seq}}}}'}}}}
rules: {{all: {{sql: '{sql} FROM "#"', to: out}}}}
sinks: {{out: {{type: http, url: "{server.url}", retry: {{initial: 10ms, max: 5s}}, {sink}}}}}
""")


async def settled(running: RunningPipeline, n: int, timeout: float = 20) -> dict[str, int]:
    def done(status: Any) -> bool:
        counters = status["sinks"]["out"]["counters"]
        return bool(counters["success"] + counters["failed"] + counters["dropped"] == n)

    counters: dict[str, int] = (await running.until(done, timeout))["sinks"]["out"]["counters"]
    return counters


async def test_503_is_tried_again_with_the_same_id(server: Any) -> None:
    server.script = [server.answer(503), server.answer(503)]
    async with pipeline(server) as running:
        counters = await settled(running, 1)
    assert (counters["success"], counters["failed"]) == (1, 0)
    assert len(server.seen) == 3
    assert len({seen.header("idempotency-key") for seen in server.seen}) == 1


@pytest.mark.parametrize("status", [302, 400, 401, 404, 501])
async def test_some_statuses_are_given_up_at_once(server: Any, status: int) -> None:
    server.script = [server.answer(status)]
    async with pipeline(server, count=3) as running:
        counters = await settled(running, 3)
    assert (counters["success"], counters["failed"], counters["retried"]) == (2, 1, 0)
    assert len(server.seen) == 3


async def test_a_status_to_drop_on_is_not_tried_again(server: Any) -> None:
    server.script = [server.answer(503)]
    async with pipeline(server, "drop_on: [503]", count=2) as running:
        counters = await settled(running, 2)
    assert (counters["success"], counters["failed"]) == (1, 1)
    assert len(server.seen) == 2


async def test_retry_after_pauses_the_sink(server: Any) -> None:
    server.script = [server.answer(429, b"", "Retry-After: 1")]
    async with pipeline(server, count=20, devices=20) as running:
        counters = await settled(running, 20)
    assert counters["success"] == 20
    times = sorted(seen.at for seen in server.seen)
    assert times[-1] - times[0] >= 0.9


async def test_a_connection_closed_before_its_answer_costs_no_event(server: Any) -> None:
    server.script = [server.close(), server.reset(), server.answer(200, b"half", "Content-Length: 9", close=True)]
    async with pipeline(server, count=5) as running:
        counters = await settled(running, 5)
    assert counters["success"] == 5


async def test_a_device_is_heard_in_order_whatever_happens_to_its_events(server: Any) -> None:
    chance = random.Random(7)
    heard: dict[str, list[int]] = defaultdict(list)

    def respond(seen: Any) -> Any:
        kind = chance.choice(["ok"] * 12 + ["slow", "busy", "close"])
        if kind in ("ok", "slow"):
            row = json.loads(seen.body)
            heard[row["clientid"]].append(row["seq"])
        delay = chance.random() / 100
        if kind == "slow":
            return server.answer(wait=lambda: asyncio.sleep(delay))
        return {"ok": server.answer(), "busy": server.answer(503), "close": server.close()}[kind]

    server.respond = respond
    async with pipeline(server, "pipelining: 4, pool_size: 4", count=300, devices=10) as running:
        counters = await settled(running, 300, 60)
    assert counters["success"] == 300
    assert {len(sequence) for sequence in heard.values()} == {30}
    assert all(sequence == sorted(sequence) for sequence in heard.values())
    assert server.most_open <= 4


async def test_batches_carry_every_event_once(server: Any) -> None:
    async with pipeline(server, "batch: {size: 20, every: 50ms, as: ndjson}", count=200, devices=10) as running:
        counters = await settled(running, 200)
    assert counters["success"] == 200
    rows = [json.loads(line) for seen in server.seen for line in seen.body.splitlines()]
    assert len(rows) == len({(row["clientid"], row["seq"]) for row in rows}) == 200
    assert len(server.seen) < 100


@pytest.mark.parametrize("form", ["array", "ndjson", "lines"])
async def test_a_batch_has_no_more_bytes_than_it_may(server: Any, form: str) -> None:
    async with pipeline(server, f"batch: {{size: 100, bytes: 256B, every: 50ms, as: {form}}}", 200, 10) as running:
        counters = await settled(running, 200)
    assert counters["success"] == 200
    sizes = [len(seen.body) for seen in server.seen]
    assert max(sizes) <= 256
    assert sum(sizes) / len(sizes) > 128, "requests that are hardly filled"


async def test_a_device_whose_events_go_to_different_places_is_heard_in_order(server: Any) -> None:
    server.respond = lambda seen: server.answer(wait=lambda: asyncio.sleep(0.01 if seen.target == "/0" else 0))
    sink = 'path: "/${even}", batch: {size: 50, every: 20ms}'
    async with pipeline(server, sink, 40, sql="SELECT payload.seq AS seq, payload.seq mod 2 AS even") as running:
        counters = await settled(running, 40)
    assert counters["success"] == 40
    assert [row["seq"] for seen in server.seen for row in json.loads(seen.body)] == list(range(40))


async def test_the_one_to_blame_in_a_batch_is_found(server: Any) -> None:
    server.respond = lambda seen: server.answer(400 if b'"seq":7}' in seen.body else 200)
    async with pipeline(server, "batch: {size: 20, every: 20ms}", count=40) as running:
        rows = await settled(running, 40)
    poisoned = [seen for seen in server.seen if b'"seq":7}' in seen.body]
    assert (rows["success"], rows["failed"]) == (39, 1)
    assert len(json.loads(poisoned[-1].body)) == 1


async def test_the_error_shown_has_the_answer_and_no_secret(server: Any) -> None:
    server.default = server.answer(422, b"no such device")
    async with pipeline(server, "path: '/in?token=s3cret'") as running:
        await settled(running, 1)
        error = running.status()["sinks"]["out"]["last_error"]
    assert "422" in error
    assert "s3cret" not in error


@pytest.mark.parametrize("sink", ["", "batch: {size: 2}"], ids=["alone", "joined"])
async def test_the_delivery_log_says_what_the_server_said(server: Any, sink: str) -> None:
    server.script = [server.answer(503, b"busy"), server.answer(202, b"your key is s3cret-key"), server.answer(204)]
    headers = "headers: {X-Api-Key: s3cret-key}"
    async with pipeline(server, ", ".join(filter(None, [headers, sink])), count=2) as running:
        await settled(running, 2)
        entries = running.pipeline.sinks["out"].journal.entries()
    log = [(entry["outcome"], entry["attempt"], entry["status"], entry["excerpt"]) for entry in entries]
    assert log[0] == ("5xx", 1, 503, "the server answered 503 Service Unavailable: busy")
    assert log[-1] == ("delivered", 2, 202, "your key is ***") or log[-1] == ("delivered", 1, 204, "")
    assert ("delivered", 2, 202, "your key is ***") in log
    assert all(0 < entry["seconds"] < 10 for entry in entries)
