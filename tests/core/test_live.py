"""Several who change one configuration at the same time: what the files say last is what runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import headrace.live
from headrace import Ack, Batch, ComponentConfig, Context, HeadraceError, Source, hookimpl
from headrace.config import check
from headrace.engine import Pipeline
from headrace.live import Live, Origin
from headrace.registry import Registry

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


class Fickle(Source[ComponentConfig]):
    """A source that does not follow the topics of the rules, and can be made once."""

    name = "fickle"
    made = 0

    def __init__(self, config: ComponentConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        Fickle.made += 1
        if Fickle.made > 1:
            raise RuntimeError("not again")

    async def read(self) -> tuple[Batch, Ack]:
        await asyncio.Event().wait()
        raise AssertionError

    async def refilter(self, filters: tuple[str, ...]) -> bool:
        return False


async def test_a_part_that_does_not_follow_says_so_and_the_rest_of_the_change_stands(tmp_path: Path) -> None:
    class Plugin:
        @hookimpl
        def register_sources(self) -> list[type[Fickle]]:
            return [Fickle]

    registry = Registry.discover()
    registry.register(Plugin())
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT + "sources: {in: {type: fickle}}\n")
    checked = check([file], registry=registry)
    assert checked.spec is not None, checked.problems
    pipeline = Pipeline(checked.spec, checked.registry)
    await pipeline.start()
    live = Live(pipeline, Origin([file]))
    file.write_text(file.read_text().replace('"t"', '"other"'))
    with pytest.raises(HeadraceError, match=r"the change was made, but .*not again"):
        await live.reload()
    told = pipeline.snapshot()
    assert (told["config"]["generation"], told["config"]["error"]) == (2, None)
    assert pipeline.spec.rules["a"] == check([file], registry=registry).spec.rules["a"]  # type: ignore[union-attr]
    assert "not again" in told["sources"]["in"]["last_error"]
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
