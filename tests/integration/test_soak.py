"""Minutes of faults in turn: nothing lost, order kept, memory flat. ``make soak``; SOAK_SECONDS sets how long."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from typing import Any

import pytest

from rig import check_order

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
RATE = 1000


@pytest.mark.soak
async def test_faults_in_turn(headrace: Any, receiver: Any, devices: Any, free_port: int) -> None:
    h = headrace(
        {
            "sources": {"in": {"type": "mqtt_server", "listen": f"127.0.0.1:{free_port}"}},
            "rules": {"all": {"sql": 'SELECT * FROM "t/#"', "to": "out"}},
            "sinks": {"out": {"type": "http", "url": receiver.url, "body": "${payload}"}},
        }
    )
    await h.start()
    device = devices(free_port)
    await device.connect()
    total = int(SECONDS * RATE)
    publishing = asyncio.ensure_future(device.publish(total, rate=RATE))
    chance = random.Random(0)
    most = 0
    while not publishing.done():
        fault = chance.choice(["kill", "down", "503", "slow"])
        if fault == "kill":
            await h.kill()
            await h.start()
        elif fault == "down":
            await receiver.stop()
            await asyncio.sleep(5)
            await receiver.start()
        elif fault == "503":
            receiver.answer = lambda body: 503
            await asyncio.sleep(5)
            receiver.answer = lambda body: 200
        else:
            receiver.answer = lambda body: None if json.loads(body)["seq"] % 97 == 0 else 200
            await asyncio.sleep(5)
            receiver.answer = lambda body: 200
            receiver.release()
        until = time.monotonic() + 10
        while time.monotonic() < until and not publishing.done():
            most = max(most, h.rss())
            await asyncio.sleep(0.2)
    await publishing
    await receiver.got(total, 120)
    assert len(check_order(receiver.json(), duplicates=True)) == total
    assert most < 200 << 20
