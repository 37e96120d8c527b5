"""Every counter is on the page, in the part of its component."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from headrace.engine.tally import RULE, SINK, SOURCE
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


@pytest.mark.parametrize(("kind", "names"), [("rules", RULE), ("sinks", SINK), ("sources", SOURCE)])
def test_the_page_explains_the_counters_of_the_engine(kind: str, names: Iterable[str]) -> None:
    assert missing(kind, names) == []


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
    stream = status["stream"]
    names = {*stream, *stream["dead_letters"], *(name for topic in stream["topics"].values() for name in topic)}
    assert missing("the status document", names) == []
