"""The ceiling for pure Python: one thread, one epoll, one pipelined HTTP connection. No retry, no reconnect."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.run import Job

NAME = "pyraw-pipelined"
RULES = {"pass", "filter30", "none", "rules", "batch"}
FEEDS = {"broker", "direct"}

_PROGRAM = Path(__file__).resolve().parent.parent / "programs" / "pyraw.py"


def configure(job: Job) -> None:
    """It takes arguments only."""


def command(job: Job, connections: int = 1, depth: int = 256) -> tuple[list[str], dict[str, str]]:
    rule, batch = ("pass", 100) if job.rule == "batch" else (job.rule, 1)
    numbers = [str(number) for number in (connections, depth, batch, job.rules)]
    return [sys.executable, str(_PROGRAM), str(job.mqtt_port), str(job.http_port), rule, *numbers], {}
