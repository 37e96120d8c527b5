"""What running a command gives, and a configuration to run it on."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

GOOD = """
name: plant
sources: {g: {type: generate, rate: 0, count: 3}}
rules: {r: {transforms: [{type: sql, query: 'SELECT clientid, payload.seq AS seq FROM "#"'}], to: out}}
sinks: {out: {type: console}}
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


Headrace = Callable[..., Result]


def start(*argv: str, program: Sequence[str] = ("-m", "headrace.cli"), **options: Any) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, *program, *argv],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def wait_for(condition: Callable[[], Any], timeout: float = 20) -> Any:
    """The first value of ``condition`` that is true."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"it did not happen in time: {value!r}"
        time.sleep(0.02)
    return value
