"""Queries in a running pipeline."""

import json
import time
from pathlib import Path

from headrace.config import check
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


def _seconds(rules: int, directory: Path) -> float:
    """CPU time of reading and checking that many rules."""
    query = 'SELECT payload.t * 1.8 AS f FROM "site/{0}/temp" WHERE payload.id = {0} AND payload.t > 30'
    file = directory / f"{rules}.yaml"
    lines = [f"  r{n}: {{sql: '{query.format(n)}', to: out}}\n" for n in range(rules)]
    file.write_text("sinks: {out: {type: console}}\nrules:\n" + "".join(lines))
    begin = time.process_time()
    assert check([file]).spec is not None
    return time.process_time() - begin


def test_many_rules_load_in_proportion(tmp_path: Path) -> None:
    """A rule takes about a millisecond, so ten thousand take less than ten seconds: here, four times as many."""
    _seconds(10, tmp_path)
    assert _seconds(1000, tmp_path) < 10 * _seconds(250, tmp_path)
