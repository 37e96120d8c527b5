"""kill -9 under sources that keep a place, or have answered: nothing that was theirs to keep is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from rig import until

EVERY = {"all": {"sql": 'SELECT payload.n AS n FROM "#"', "to": "out"}}


def numbers(file: Path) -> list[int]:
    """Whole lines of the file sink; the last may be torn by the kill, and is mended by the next start."""
    return [json.loads(line)["n"] for line in file.read_text().splitlines(True) if line.endswith("\n")]


async def test_what_a_post_was_answered_survives(headrace: Callable[..., Any], free_port: int, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    sources = {"web": {"type": "http", "listen": f"127.0.0.1:{free_port}"}}
    process = headrace({"sources": sources, "rules": EVERY, "sinks": {"out": {"type": "file", "path": str(out)}}})
    await process.start()
    answered: set[int] = set()
    url = f"http://127.0.0.1:{free_port}/in/t/1"

    async def post(session: aiohttp.ClientSession, first: int) -> None:
        for n in range(first, 3000, 4):
            done = False
            while not done:
                try:
                    async with session.post(url, json={"n": n}) as answer:
                        done = answer.status == 202
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.02)
            answered.add(n)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
        posting = [asyncio.create_task(post(session, n)) for n in range(4)]
        for part in (500, 1500):
            await until(lambda part=part: len(answered) > part, 30, "answers")
            await process.kill()
            await process.start()
        await asyncio.gather(*posting)
    await until(lambda: set(numbers(out)) >= answered, 20, "all that was answered")
    assert answered == set(range(3000))
    assert await process.stop() == 0


async def test_a_file_goes_on_where_it_was(headrace: Callable[..., Any], tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f'{{"n": {n}}}\n' for n in range(60_000)))
    sources = {"lines": {"type": "file", "path": str(source), "poll": "10ms"}}
    process = headrace({"sources": sources, "rules": EVERY, "sinks": {"out": {"type": "file", "path": str(out)}}})
    await process.start()
    for part in (5_000, 30_000):
        await until(lambda part=part: out.exists() and out.read_text().count("\n") > part, 30, "lines")
        await process.kill()
        await process.start()
    source.rename(tmp_path / "in.jsonl.1")
    source.write_text("".join(f'{{"n": {n}}}\n' for n in range(60_000, 61_000)))
    await until(lambda: out.read_text().count("\n") >= 61_000 and 60_999 in numbers(out), 30, "the last line")
    found = numbers(out)
    assert set(found) == set(range(61_000))
    assert len(found) < 61_000 + 2 * 20_000, "a restart goes on, it does not begin anew"
    assert await process.stop() == 0
