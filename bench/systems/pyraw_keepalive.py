"""``pyraw`` without pipelining: 64 keep-alive connections, one request in flight on each."""

from __future__ import annotations

from harness.run import Job

from systems import pyraw
from systems.pyraw import configure

__all__ = ["FEEDS", "NAME", "RULES", "command", "configure"]

NAME = "pyraw-keepalive"
RULES = {"pass", "filter30", "none"}
FEEDS = {"broker", "direct"}


def command(job: Job) -> tuple[list[str], dict[str, str]]:
    return pyraw.command(job, connections=64, depth=1)
