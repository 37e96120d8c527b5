"""The benchmarks still run; here each once, and untimed."""

import subprocess
import sys

from docblocks import ROOT


def test_the_benchmarks_run():
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-disable", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=ROOT / "bench" / "micro", capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
