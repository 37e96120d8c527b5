"""The process that runs jq programs: a program may never end, and only a process can be ended.

It is run by its path (``programs`` does so), with an empty environment. A request is two texts, the program and its
input, each behind its length in four bytes; a program without an input is only compiled. The answer is a status byte
and a text: ``+`` a JSON array of all results, ``-`` an error.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import resource
import struct
import sys
from typing import Any, BinaryIO

_MAX_MEMORY = 512 << 20
_MAX_RESULTS = 10_000
_MAX_SIZE = 16 << 20


def main() -> None:
    """Answer until the other side is gone."""
    compiled = functools.lru_cache(maxsize=200)(importlib.import_module("jq").compile)
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # no program can open a file
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(EOFError):
        while True:
            program, value = _text(requests), _text(requests)
            try:
                status, answer = b"+", _run(compiled(program), value)
            except (ValueError, RecursionError, MemoryError) as exc:
                status, answer = b"-", str(exc) or type(exc).__name__
            data = answer.encode("utf-8", "replace")
            answers.write(status + struct.pack(">I", len(data)) + data)
            answers.flush()


def _text(stream: BinaryIO) -> str:
    head = stream.read(4)
    if len(head) < 4:
        raise EOFError
    return stream.read(struct.unpack(">I", head)[0]).decode()


def _run(program: Any, text: str) -> str:
    results: list[str] = []
    size = 0
    for result in program.input_text(text) if text else ():
        results.append(json.dumps(result, ensure_ascii=False, separators=(",", ":")))
        size += len(results[-1])
        if len(results) > _MAX_RESULTS or size > _MAX_SIZE:
            raise ValueError(f"more than {_MAX_RESULTS} results, or {_MAX_SIZE} characters")
    return f"[{','.join(results)}]"


if __name__ == "__main__":
    main()
