"""Programs in the jq language, by the package ``jq``, in a process that can be ended when it takes too long."""

from __future__ import annotations

import atexit
import importlib.util
import os
import select
import struct
import subprocess
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from headrace_plugins.sql.functions.arguments import integer, string
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.values import MAX_BYTES, decode_json, json_text

_TIMEOUT: Final = 1000
_MAX_TIMEOUT: Final = 10_000
_TO_COMPILE: Final = 1000
_WORKER: Final = Path(__file__).with_name("jq_worker.py")


class _Worker:
    """The process, begun at the first program. Whoever asks waits; a program that takes too long ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, program: str, text: str, milliseconds: int) -> str:
        """The results as a JSON array; ValueError if there is an error, or no answer in time."""
        data = b"".join(struct.pack(">I", len(part)) + part for part in (program.encode(), text.encode()))
        with self._lock:
            try:
                process = self._running()
                end = time.monotonic() + milliseconds / 1000
                _write(process, data, end)
                size = struct.unpack(">xI", head := _read(process, 5, end))[0]
                answer = _read(process, size, end).decode()
            except (TimeoutError, OSError) as exc:
                self.close()
                late = isinstance(exc, TimeoutError)
                raise ValueError(f"more than {milliseconds} ms" if late else "the program ended its process") from None
        if head[:1] == b"-":
            raise ValueError(answer)
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(  # noqa: S603 - our own file, by our own interpreter
                [sys.executable, "-I", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                bufsize=0,
            )
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
        return self._process

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process:
                self._process = None


def _wait(fd: int, what: int, end: float) -> None:
    poll = select.poll()
    poll.register(fd, what)
    if not poll.poll(max(0, end - time.monotonic()) * 1000):
        raise TimeoutError


def _write(process: subprocess.Popen[bytes], data: bytes, end: float) -> None:
    assert process.stdin is not None
    fd, rest = process.stdin.fileno(), memoryview(data)
    while rest:
        _wait(fd, select.POLLOUT, end)
        rest = rest[os.write(fd, rest) :]


def _read(process: subprocess.Popen[bytes], size: int, end: float) -> bytes:
    assert process.stdout is not None
    fd, parts = process.stdout.fileno(), bytearray()
    while len(parts) < size:
        _wait(fd, select.POLLIN, end)
        part = os.read(fd, size - len(parts))
        if not part:
            raise BrokenPipeError
        parts += part
    return bytes(parts)


_worker: Final = _Worker()
atexit.register(_worker.close)


@lru_cache(maxsize=1000)
def _checked(program: str) -> str:
    """The program, if it is one."""
    if importlib.util.find_spec("jq") is None:
        raise ValueError("this needs the package jq: pip install 'headrace[jq]'")
    if len(program) > MAX_BYTES:
        raise ValueError(f"a program of more than {MAX_BYTES} characters")
    try:
        _worker.ask(program, "", _TO_COMPILE)
    except ValueError as exc:
        raise ValueError(f"{program!r} is no jq program: {exc}") from None
    return program


def _check(literals: dict[int, Any]) -> None:
    if isinstance(literals.get(0), str):
        _checked(literals[0])


@function("jq", kind="list", check=_check)
def jq_(program: Any, value: Any, timeout: Any = _TIMEOUT) -> list[Any]:
    """All results of a program on a JSON text or on a value. ``timeout``: milliseconds, 1000 if not given."""
    if not 0 < integer(timeout) <= _MAX_TIMEOUT:
        raise ValueError(f"the time limit is 1 to {_MAX_TIMEOUT} ms")
    text = value if isinstance(value, str) else json_text(value)
    if not text.strip():
        raise ValueError("the input is empty, and no JSON")
    results: list[Any] = decode_json(_worker.ask(_checked(string(program)), text, timeout))
    return results
