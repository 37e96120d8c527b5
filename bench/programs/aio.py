"""A realistic asyncio script: aiomqtt receives, 64 workers post with aiohttp.

argv: mqtt_port url rule rules client_id
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
import aiomqtt

PORT, URL, RULE, RULES, CLIENT_ID = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
HEADERS = {"Content-Type": "application/json"}


async def worker(queue: asyncio.Queue[bytes], session: aiohttp.ClientSession) -> None:
    while True:
        body = await queue.get()
        if RULE == "batch":
            rows = [body]
            while len(rows) < 100 and not queue.empty():
                rows.append(queue.get_nowait())
            body = b"[" + b",".join(rows) + b"]"
        try:
            async with session.post(URL, data=body, headers=HEADERS) as answer:
                await answer.read()
        except aiohttp.ClientError as exc:
            print("post failed", exc, flush=True)


def apply(payload: bytes, topic: str) -> bytes | None:
    """What the rule makes of a message, or None."""
    if RULE in ("pass", "batch"):
        return payload
    value = json.loads(payload)
    row = {"id": value["id"], "seq": value["seq"], "ts": value["ts"]}
    if RULE == "rules":
        for i in range(RULES):
            if value["id"] == i:
                return json.dumps({"rule": i, "temp": value["temp"], **row}).encode()
        return None
    if value["temp"] <= (30 if RULE == "filter30" else 1000):
        return None
    return json.dumps({"tf": value["temp"] * 1.8 + 32, "topic": topic, **row}).encode()


async def main() -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue(1000)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
        tasks = [asyncio.create_task(worker(queue, session)) for _ in range(64)]
        async with aiomqtt.Client("127.0.0.1", PORT, identifier=CLIENT_ID, clean_session=False) as client:
            await client.subscribe("t/#", qos=1)
            async for message in client.messages:
                body = apply(message.payload, message.topic.value)
                if body is not None:
                    await queue.put(body)
        await asyncio.gather(*tasks)


asyncio.run(main())
