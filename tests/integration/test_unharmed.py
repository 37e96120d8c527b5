"""What is wrong with one rule, one payload or one sink is counted and reported there, and harms nothing else."""

from __future__ import annotations

from typing import Any

from rig import mosquitto_pub, until


async def test_a_bad_rule_a_bad_payload_and_a_wrong_url(headrace: Any, receiver: Any, free_port: int) -> None:
    h = headrace(
        {
            "sources": {"in": {"type": "mqtt_server", "listen": f"127.0.0.1:{free_port}"}},
            "rules": {
                "good": {"sql": 'SELECT * FROM "t/#"', "to": ["good", "nobody", "elsewhere"]},
                "function": {"sql": 'SELECT abs(payload.word) AS x FROM "t/#"', "to": "good"},
                "json": {"sql": 'SELECT payload.n + 1 AS n FROM "t/#"', "to": "good"},
            },
            "connectors": {
                "up": {"type": "http", "url": receiver.url},
                "down": {"type": "http", "url": "http://127.0.0.1:1"},
                "unknown": {"type": "http", "url": "http://no-such-host.invalid"},
            },
            "sinks": {
                "good": {"type": "http", "connector": "up"},
                "nobody": {"type": "http", "connector": "down"},
                "elsewhere": {"type": "http", "connector": "unknown"},
            },
        }
    )
    await h.start(wait=False)
    await until(h.socket.exists)
    await h.until(lambda s: s["sources"]["in"]["state"] == "running")
    await mosquitto_pub(free_port, "t/1", "not JSON")
    await mosquitto_pub(free_port, "t/2", '{"n": 3, "word": 5}')
    await mosquitto_pub(free_port, "t/3", '{"n": 1, "word": "x"}')

    status = await h.until(lambda s: s["sinks"]["good"]["counters"]["success"] == 6 and s["sinks"]["nobody"]["reason"])
    counts = {name: rule["counters"] for name, rule in status["rules"].items()}
    assert {name: (c["matched"], c["passed"], c["failed.exception"]) for name, c in counts.items()} == {
        "good": (3, 3, 0),
        "function": (3, 1, 2),
        "json": (3, 2, 1),
    }
    assert "abs" in status["rules"]["function"]["last_error"]
    assert "JSON" in status["rules"]["json"]["last_error"]
    assert status["rules"]["good"]["last_error"] is None
    for sink, reason in (("nobody", "refused"), ("elsewhere", "no-such-host.invalid")):
        status = await h.until(lambda s, sink=sink, reason=reason: reason in (s["sinks"][sink]["reason"] or ""))
        assert status["sinks"][sink]["state"] == "degraded"
        assert status["sinks"][sink]["counters"]["queuing"] + status["sinks"][sink]["counters"]["inflight"] == 3
    assert status["sinks"]["good"]["state"] == "running"
