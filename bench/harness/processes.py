"""Processes of a run: started in sessions of their own, measured through /proc, ended for sure."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Processes", "Usage", "machine_cpu", "usage"]

TICK = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Of all processes of a session: CPU seconds (of ended children too), peak and present memory in MB."""

    cpu: float
    peak_mb: float
    rss_mb: float


def usage(session: int) -> Usage:
    ticks = peak = rss = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
            fields = text[text.rindex(")") + 2 :].split()
            if int(fields[3]) != session or fields[0] == "Z":
                continue
            ticks += sum(int(field) for field in fields[11:15])
            for line in (stat.parent / "status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak += int(line.split()[1])
                elif line.startswith("VmRSS"):
                    rss += int(line.split()[1])
        except (OSError, ValueError):
            continue  # it has just ended
    return Usage(ticks / TICK, peak / 1024, rss / 1024)


def machine_cpu() -> float:
    """CPU seconds the whole machine has spent at work."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / TICK


class Processes:
    """What a run has started; ``close`` ends all of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        argv: Sequence[str],
        log: str,
        *,
        env: Mapping[str, str] | None = None,
        cpu: int | None = None,
        capture: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a command with its output in ``log``, or its standard output captured."""
        pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
        with (self.directory / log).open("ab") as file:
            process = subprocess.Popen(
                [*pin, *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else file,
                stderr=file,
                cwd=self.directory,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes], sig: int = signal.SIGTERM, wait: float = 5) -> None:
        try:
            os.killpg(process.pid, sig)
            process.wait(wait)
        except ProcessLookupError:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(wait)
        if process in self._running:
            self._running.remove(process)

    def close(self) -> None:
        while self._running:
            self.stop(self._running[-1])
