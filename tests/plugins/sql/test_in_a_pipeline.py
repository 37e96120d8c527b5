"""Queries in a running pipeline."""

import json
from pathlib import Path

from headrace.testing.pipelines import run_pipeline

CONFIG = """
sources: {devices: {type: generate, rate: 0, count: 1}}
rules: {my_rule: {sql: 'SELECT metadata.rule_id AS rule FROM "#"', to: out}}
sinks: {out: {type: file, path: "%s"}}
"""


async def test_the_id_of_a_rule_is_its_name(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    async with run_pipeline(CONFIG % out) as pipeline:
        await pipeline.until(lambda status: status["sinks"]["out"]["counters"]["success"] == 1)
    assert json.loads(out.read_text()) == {"rule": "my_rule"}
