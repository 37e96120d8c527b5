"""The one sentence that says why a pipeline does not work."""

from pathlib import Path

from headrace.testing.pipelines import run_pipeline

CONFIG = """
sources: {{ticks: {{type: generate, rate: 100}}}}
rules: {{all: {{sql: SELECT * FROM "#", to: out}}}}
sinks: {{out: {{type: file, path: "{0}/out.jsonl"}}}}
stream: {{url: "embedded://{0}/log", min_free_disk: {1}}}
"""


async def test_a_disk_without_room_is_the_reason_and_no_sink_is_blamed(tmp_path: Path) -> None:
    async with run_pipeline(CONFIG.format(tmp_path, "900TB")) as pipeline:
        status = await pipeline.until(lambda status: status["state"] == "degraded")
    assert status["reason"].startswith(f"{tmp_path}/log: only ")
    assert status["reason"].endswith("free on the disk, min_free_disk is 900TB; the rules and the sources wait")
    assert status["stream"]["blocked_by"] == "stream"
    assert status["sources"]["ticks"]["counters"]["appended"] == 0
