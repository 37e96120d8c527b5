"""``headrace demo`` shows the main job, ends by itself, and leaves nothing behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli.demo import DEVICES, ROUNDS, report


def test_the_demo_delivers_what_the_rule_passes_and_says_so(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    runtime = tmp_path_factory.mktemp("run")  # where the status socket goes when tmp_path is too long for it
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "headrace.cli", "demo"],
        env={**os.environ, "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    arrived = re.findall(r'POST /alerts {"device":"(\w+)","celsius":([\d.]+),', result.stdout)
    assert all(float(celsius) > 30 for _, celsius in arrived)
    published = len(DEVICES) * ROUNDS
    counts = dict(re.findall(r"(\w+) (\d+)", result.stdout.rpartition("POST")[2]))
    assert (counts["published"], counts["matched"]) == (str(published), str(published))
    assert counts["passed"] == counts["delivered"] == counts["got"] == str(len(arrived))
    assert 0 < len(arrived) < published
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("success", "arrived"), [(39, 40), (40, 39), (40, 41)])
def test_counts_that_do_not_add_up_are_a_failure(success: int, arrived: int, capsys: pytest.CaptureFixture[str]):
    status = {
        "rules": {"too_warm": {"counters": {"matched": 100, "passed": 40, "failed.no_result": 60}}},
        "sinks": {"alerts": {"counters": {"success": success, "failed": 0, "queuing": 0, "inflight": 40 - success}}},
    }
    assert report(status, 100, arrived) == 1
    assert "events are missing" in capsys.readouterr().out
