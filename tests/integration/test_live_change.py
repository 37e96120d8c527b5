"""Changing a running pipeline: by signal, by command, by saving the file; over MQTT, and under load."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
from typing import Any

import aiohttp
import pytest

from rig import until


def pipeline(url: str, **more: Any) -> dict[str, Any]:
    return {
        "sources": {"in": {"type": "generate", "devices": 4, "rate": 2000}},
        "rules": {"steady": {"sql": 'SELECT payload.device AS d, payload.seq AS n FROM "#"', "to": "out"}},
        "sinks": {"out": {"type": "http", "url": url}},
        **more,
    }


def rewrite(h: Any, **parts: Any) -> None:
    config = json.loads(h.config.read_text())
    fresh = h.config.with_suffix(".new")
    fresh.write_text(json.dumps({**config, **parts}))
    os.replace(fresh, h.config)


async def headrace_command(h: Any, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "headrace.cli", *words, str(h.config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "XDG_RUNTIME_DIR": str(h.directory)},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_signal_a_command_and_a_file_change_what_runs(headrace: Any, receiver: Any) -> None:
    h = headrace(pipeline(receiver.url, sources={"in": {"type": "generate", "rate": 100}}))
    await h.start(wait=True)
    rules = json.loads(h.config.read_text())["rules"]
    rewrite(h, rules={**rules, "second": {"sql": 'SELECT 2 AS rule FROM "#"', "to": "out"}})
    h.process.send_signal(signal.SIGHUP)
    await h.until(lambda s: "second" in s["rules"] and s["config"]["generation"] == 2)
    rewrite(h, rules=rules)
    assert await headrace_command(h, "reload", "--dry-run") == (0, "rules removed: second\n", "")
    assert "second" in (await h.status())["rules"]
    assert await headrace_command(h, "reload") == (0, "rules removed: second\n", "")
    assert "second" not in (await h.status())["rules"]
    assert await headrace_command(h, "reload") == (0, "nothing changed\n", "")
    rewrite(h, rules={"steady": {"sql": "SELECT FROM", "to": "out"}})
    code, out, err = await headrace_command(h, "reload")
    assert (code, out) == (1, "")
    assert "pipeline.json:1:" in err
    code, out, _ = await headrace_command(h, "status")
    assert code == 0
    assert "was not applied, the one before goes on:\n  " in out
    assert "rules.steady.sql.query" in out
    before = (await h.status())["sinks"]["out"]["counters"]["success"]
    await h.until(lambda s: s["sinks"]["out"]["counters"]["success"] > before)
    rewrite(h, rules=rules)
    await headrace_command(h, "reload")
    assert (await h.status())["config"]["error"] is None
    assert await h.stop() == 0


async def test_a_watched_file_is_read_when_it_changes(headrace: Any, receiver: Any) -> None:
    h = headrace(pipeline(receiver.url, sources={"in": {"type": "generate", "rate": 100}}, include=["more"]))
    (h.directory / "more").mkdir()
    (h.directory / "more" / "none.yaml").touch()
    await h.start("--watch")
    (h.directory / "more" / "a.yaml").write_text('rules: {a: {sql: SELECT 2 AS rule FROM "#", to: out}}')
    await h.until(lambda s: "a" in s["rules"])
    (h.directory / "more" / "a.yaml").write_text("rules: {a: 5}")
    status = await h.until(lambda s: s["config"]["error"])
    assert "a.yaml:1:" in status["config"]["error"]
    assert "a" in status["rules"]
    (h.directory / "more" / "a.yaml").unlink()
    await h.until(lambda s: "a" not in s["rules"] and s["config"]["error"] is None)
    assert await h.stop() == 0


@pytest.mark.skipif(not shutil.which("mosquitto") and not os.path.exists("/usr/sbin/mosquitto"), reason="no Mosquitto")
@pytest.mark.mosquitto
async def test_a_new_topic_is_subscribed_without_a_new_connection(
    headrace: Any, receiver: Any, mosquitto: Any, devices: Any
) -> None:
    broker = await mosquitto()
    sensors = devices(broker.port)
    await sensors.connect()
    h = headrace(
        pipeline(
            receiver.url,
            sources={"in": {"type": "mqtt", "url": broker.url}},
            rules={"steady": {"sql": 'SELECT payload.seq AS n FROM "t/#"', "to": "out"}},
        )
    )
    await h.start()
    publishing = asyncio.ensure_future(sensors.publish(600, 300, qos=0))
    rules = json.loads(h.config.read_text())["rules"]
    rewrite(h, rules={**rules, "other": {"sql": 'SELECT topic FROM "u/#"', "to": "out"}})
    h.process.send_signal(signal.SIGHUP)
    await h.until(lambda s: s["config"]["generation"] == 2)
    client = sensors.clients[0]
    client.publish("u/1", "{}", 1, retain=True)  # it comes also if the subscription is later
    await until(lambda: b'{"topic":"u/1"}' in receiver.bodies, 10)
    rewrite(h, rules=rules)
    h.process.send_signal(signal.SIGHUP)
    await h.until(lambda s: s["config"]["generation"] == 3)
    await publishing
    await until(lambda: len([b for b in receiver.json() if "n" in b]) == 600, 10)
    assert h.text().count("connected to") == 1
    assert await h.stop() == 0


async def test_no_other_rule_pauses_while_rules_and_sinks_change(headrace: Any, receiver: Any) -> None:
    h = headrace(pipeline(receiver.url))
    await h.start()
    await receiver.got(1000)
    config = json.loads(h.config.read_text())
    other = {f"r{n}": {"sql": f'SELECT 1 AS x FROM "#" WHERE payload.device = -{n + 1}', "to": "b"} for n in range(50)}
    began = len(receiver.at)
    for n in range(10):
        rewrite(
            h,
            rules={**config["rules"], **dict(itertools.islice(other.items(), 40 + n))},
            sinks={**config["sinks"], "b": {"type": "http", "url": receiver.url, "inflight": 10 + n}},
        )
        code, _, err = await headrace_command(h, "reload")
        assert code == 0, err
    gaps = [later - sooner for sooner, later in itertools.pairwise(receiver.at[began:])]
    worst = max(gaps)
    print(f"10 changes of 50 rules and a sink under 2,000/s: longest pause {worst * 1000:.0f} ms of {len(gaps)} gaps")
    assert worst < 0.5
    status = await h.status()
    assert status["rules"]["steady"]["counters"]["failed"] == 0
    assert await h.stop() == 0
    seen = [body["n"] for body in receiver.json() if body.get("d") == 0]
    assert seen == list(range(len(seen)))


async def test_one_sink_never_answers_and_neither_the_others_nor_a_new_one_notice(headrace: Any, receiver: Any) -> None:
    receiver.answer = lambda body: None if b"silent" in body else 200
    rule = {"sql": 'SELECT payload.seq AS n FROM "#"'}
    sinks = {
        "silent": {"type": "http", "url": receiver.url, "body": {"from": "silent"}},
        "steady": {"type": "http", "url": receiver.url, "body": {"from": "steady", "n": "${n}"}},
    }
    h = headrace(pipeline(receiver.url, sinks=sinks, rules={"all": {**rule, "to": ["silent", "steady"]}}))
    await h.start()
    await receiver.got(4000)  # at the pace of the source: the one that hangs holds 100 and a file that grows
    counters = {name: part["counters"] for name, part in (await h.status())["sinks"].items()}
    assert counters["silent"]["success"] == 0
    assert counters["silent"]["queuing"] > 3000
    assert counters["steady"]["queuing"] + counters["steady"]["inflight"] < 1000
    sinks["new"] = {"type": "http", "url": receiver.url, "body": {"from": "new"}}
    rewrite(h, sinks=sinks, rules={"all": {**rule, "to": ["silent", "steady", "new"]}})
    assert (await headrace_command(h, "reload"))[0] == 0
    await until(lambda: any(b'"new"' in body for body in receiver.bodies[4000:]), 2)
    await h.kill()


@pytest.mark.soak
async def test_a_thousand_changes_over_the_api_leave_memory_flat_and_other_rules_alone(
    headrace: Any, receiver: Any, free_port: int
) -> None:
    rule = {"sql": 'SELECT 0 AS x FROM "#" WHERE payload.device = -1', "to": "out"}
    config = pipeline(receiver.url, api={"listen": f"127.0.0.1:{free_port}"})
    config["rules"]["other"] = rule
    h = headrace(config)
    await h.start()
    await receiver.got(1000)
    waits: list[float] = []

    async def change(api: aiohttp.ClientSession, first: int, last: int) -> None:
        for n in range(first, last):
            sql = f'SELECT {n} AS x FROM "#" WHERE payload.device = -{n}'
            begun = asyncio.get_running_loop().time()
            async with api.put("/api/v1/rules/other", json={**rule, "sql": sql}) as answer:
                assert answer.status == 200, await answer.text()
            waits.append(asyncio.get_running_loop().time() - begun)

    async with aiohttp.ClientSession(f"http://127.0.0.1:{free_port}") as api:
        await change(api, 1, 200)  # whatever is made once is made now
        before, began = h.rss(), len(receiver.at)
        await change(api, 200, 1200)
    after, gaps = h.rss(), sorted(b - a for a, b in itertools.pairwise(receiver.at[began:]))
    print(
        f"1,000 changes over HTTP under 2,000/s: {sorted(waits)[len(waits) // 2] * 1000:.0f} ms each (median), memory "
        f"{before >> 20} → {after >> 20} MiB, longest of {len(gaps)} gaps between requests {gaps[-1] * 1000:.0f} ms, "
        f"the 99.9th percentile {gaps[len(gaps) * 999 // 1000] * 1000:.0f} ms"
    )
    assert after - before < 10 << 20
    assert gaps[-1] < 0.5
    status = await h.status()
    assert status["config"]["generation"] == 1200
    assert status["rules"]["steady"]["counters"]["failed"] == 0
    assert await h.stop() == 0
    seen = [body["n"] for body in receiver.json() if body.get("d") == 0]
    assert seen == list(range(len(seen)))
