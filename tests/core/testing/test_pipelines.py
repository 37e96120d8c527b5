"""A pipeline inside a test, with the real engine."""

from pathlib import Path
from types import ModuleType

import pytest

from headrace import Batch, ComponentConfig, Done, Sink, hookimpl
from headrace.errors import ConfigError
from headrace.testing.pipelines import run_pipeline

CONFIG = """
name: test
sources: {devices: {type: generate, devices: 1, rate: 0, count: 300}}
rules: {warm: {sql: 'SELECT payload.seq AS seq FROM "#" WHERE payload.seq >= 100', to: out}}
sinks: {out: {type: keep}}
"""

kept: list[int] = []


class Keep(Sink[ComponentConfig]):
    """Keeps the numbers it gets."""

    name = "keep"

    async def write(self, batch: Batch, done: Done) -> None:
        kept.extend(event["seq"] for event in batch)


def plugin() -> ModuleType:
    module = ModuleType("keeper")

    @hookimpl
    def register_sinks() -> list[type[Keep]]:
        return [Keep]

    vars(module)["register_sinks"] = register_sinks
    return module


@pytest.mark.parametrize("durable", [False, True])
async def test_a_configuration_runs_with_a_plugin_of_the_test(durable: bool, tmp_path: Path):
    kept.clear()
    async with run_pipeline(CONFIG, plugins=[plugin()], directory=tmp_path if durable else None) as pipeline:
        status = await pipeline.until(lambda s: bool(s["sinks"]["out"]["counters"]["success"] == 200))
    assert sorted(kept) == list(range(100, 300))
    assert status["rules"]["warm"]["counters"]["failed.no_result"] == 100
    assert any(tmp_path.iterdir()) == durable


async def test_waiting_too_long_shows_the_status():
    async with run_pipeline(CONFIG, plugins=[plugin()]) as pipeline:
        with pytest.raises(TimeoutError, match="'sinks'"):
            await pipeline.until(lambda _: False, timeout=0.05)


async def test_a_wrong_configuration_is_told_like_on_the_command_line():
    with pytest.raises(ConfigError, match="did you mean 'console'"):
        async with run_pipeline("sinks: {out: {type: consol}}"):
            pass
