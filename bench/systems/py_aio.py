"""The script a Python user would write: aiomqtt and aiohttp, 64 workers. ``AIO_PYTHON`` names a Python with both."""

from __future__ import annotations

import os
from pathlib import Path

from harness.run import Job

NAME = "aiomqtt-aiohttp"
RULES = {"pass", "filter30", "none", "rules", "batch"}
FEEDS = {"broker", "direct"}

_PROGRAM = Path(__file__).resolve().parent.parent / "programs" / "aio.py"


def configure(job: Job) -> None:
    """It takes arguments only."""


def command(job: Job) -> tuple[list[str], dict[str, str]]:
    python = os.environ.get("AIO_PYTHON", "python3")
    return [python, str(_PROGRAM), str(job.mqtt_port), job.url, job.rule, str(job.rules), job.client_id], {}
