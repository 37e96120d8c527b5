"""Every counter is on the page, in the part of its component, and says the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from headrace.config.model import PipelineSpec
from headrace.engine.meanings import meanings
from headrace.registry import Kind, Registry
from headrace.testing.pipelines import run_pipeline

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
PARTS = {part.partition("\n")[0].lower(): part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)}
CONFIG = """
sources:
  ticks: {type: generate, rate: 50}
  devices: {type: mqtt_server, listen: "127.0.0.1:0"}
rules:
  all: {sql: SELECT * FROM "#", to: [web, files]}
sinks:
  web: {type: http, url: "http://127.0.0.1:1", retry: {on: [timeout]}}
  files: {type: file, path: "%s"}
"""


def missing(kind: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if f"`{name}`" not in PARTS[kind]]


def test_the_page_explains_each_counter_as_the_dashboard_and_prometheus_do() -> None:
    registry = Registry.discover()
    kinds: tuple[Kind, ...] = ("source", "connector", "sink")
    plugins = {f"{kind}s": [registry.find(kind, name).counts for name in registry.names(kind)] for kind in kinds}
    for kind, texts in meanings(PipelineSpec("none")).items():
        for name, text in chain(texts.items(), *(counts.items() for counts in plugins.get(kind, ()))):
            assert f"| `{name}` | {text} |" in PAGE, kind


async def test_the_page_explains_what_a_running_pipeline_shows(tmp_path: Path) -> None:
    async with run_pipeline(CONFIG % (tmp_path / "events.jsonl")) as pipeline:
        status = await pipeline.until(
            lambda s: (
                s["connectors"]["web"]["counters"].get("connect_failed") and s["sinks"]["files"]["counters"]["success"]
            )
        )
    shown = {kind: {c for part in status[kind].values() for c in part["counters"]} for kind in PARTS if kind in status}
    assert shown.keys() == {"sources", "connectors", "rules", "sinks"}
    assert not any(missing(kind, names) for kind, names in shown.items()), shown
    texts = meanings(pipeline.pipeline.spec)
    assert not [(kind, name) for kind, names in shown.items() for name in names - texts[kind].keys()]
    stream = status["stream"]
    names = {*stream, *stream["dead_letters"], *(name for topic in stream["topics"].values() for name in topic)}
    assert missing("the status document", names) == []
