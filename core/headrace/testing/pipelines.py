"""A whole pipeline inside a test: the real engine, stream and plugins, from the text of a configuration.

    async with run_pipeline(text, plugins=[my_plugin]) as pipeline:
        await pipeline.until(lambda status: status["sinks"]["out"]["counters"]["success"] == 10)

Kept apart from ``headrace.testing``, since the engine takes half a second to import.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from headrace.config import load
from headrace.config.model import PipelineSpec
from headrace.engine import Pipeline
from headrace.registry import Registry
from headrace.testing.conservation import check_conservation

__all__ = ["RunningPipeline", "run_pipeline"]

Status = dict[str, Any]


class RunningPipeline:
    """What a test may ask of a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def status(self) -> Status:
        """What ``headrace status -o json`` would print. AssertionError if an event is not accounted for."""
        status: Status = self.pipeline.snapshot()
        check_conservation(status)
        return status

    async def until(self, condition: Callable[[Status], bool], timeout: float = 10.0) -> Status:
        """Wait until the status is as wanted; returns it. TimeoutError, with the status, if that takes too long."""
        deadline = time.monotonic() + timeout
        while not condition(status := self.status()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout} s: {status}")
            await asyncio.sleep(0.01)
        return status


@contextlib.asynccontextmanager
async def run_pipeline(
    config: str, *, plugins: Iterable[object] = (), directory: Path | None = None
) -> AsyncIterator[RunningPipeline]:
    """Run a configuration inside the ``async with`` block.

    ``plugins``: modules or objects with hooks, beside the installed ones. ``directory``: where the stream keeps its
    log, for what must survive; without it, and without a ``stream:`` in the text, it is in memory.
    """
    registry = Registry.discover()
    for plugin in plugins:
        registry.register(plugin)
    pipeline = Pipeline(_load(config, directory, registry), registry)
    try:
        await pipeline.start()
        yield RunningPipeline(pipeline)
    finally:
        await pipeline.stop()


def _load(config: str, directory: Path | None, registry: Registry) -> PipelineSpec:
    with tempfile.TemporaryDirectory(prefix="headrace-test-") as temporary:
        file = Path(temporary, "pipeline.yaml")
        file.write_text(config)
        return load([file], _stream(config, directory), registry=registry)


def _stream(config: str, directory: Path | None) -> list[str]:
    if directory is not None:
        return [f"stream.url=embedded://{directory.resolve()}"]
    given = any(line.startswith("stream:") for line in config.splitlines())
    return [] if given else ["stream.url=embedded://memory"]
