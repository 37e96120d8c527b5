"""Several who change one configuration at the same time: what the files say last is what runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import headrace.live
from headrace.config import check
from headrace.engine import Pipeline
from headrace.live import Live, Origin

PLANT = """\
name: plant
shutdown_timeout: 0s
stream: {url: "embedded://memory"}
rules: {a: {sql: 'SELECT 1 AS x FROM "t"', to: out}}
sinks: {out: {type: console}}
"""


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT)
    checked = check([file])
    assert checked.spec is not None
    pipeline = Pipeline(checked.spec, checked.registry)
    await pipeline.start()
    yield Live(pipeline, Origin([file]))
    await pipeline.stop(0)


def rule(live: Live) -> str:
    return str(live.pipeline.spec.rules["a"].transforms[0].config)


async def test_who_read_the_file_before_a_change_does_not_undo_it(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    has_read, goes_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(*paths: Any, **more: Any) -> Any:
        monkeypatch.setattr(headrace.live, "check", check)  # the next ones are as quick as ever
        found = check(*paths, **more)
        loop.call_soon_threadsafe(has_read.set)
        goes_on.wait(20)
        return found

    monkeypatch.setattr(headrace.live, "check", slow)
    signalled = asyncio.create_task(live.reload())
    await has_read.wait()
    fresh = {"sql": 'SELECT 2 AS x FROM "t"', "to": "out"}
    changed = asyncio.create_task(live.rewrite(lambda edit: [edit.put("rules", "a", fresh)]))
    await asyncio.wait({changed}, timeout=0.5)  # it would be done by now if it did not wait for the other
    goes_on.set()
    await asyncio.gather(signalled, changed)
    assert "SELECT 2" in Path(live.origin.paths[0]).read_text()
    assert "SELECT 2" in rule(live)


async def test_changes_at_the_same_time_are_all_made(live: Live) -> None:
    async def add(name: str) -> None:
        await live.rewrite(lambda edit: [edit.put("sinks", name, {"type": "console"})])

    names = [f"s{n}" for n in range(10)]
    await asyncio.gather(*map(add, names), live.reload(), live.reload())
    assert set(live.pipeline.spec.sinks) == {"out", *names}
    text = Path(live.origin.paths[0]).read_text()
    assert all(f" {name}: {{type: console}}" in text for name in names)
