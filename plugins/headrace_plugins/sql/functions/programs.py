"""Programs in the jq language, by the package ``jq``."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Any, Final

from headrace_plugins.sql.functions.arguments import integer, string
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.functions.extras import needs
from headrace_plugins.sql.values import json_text

_MAX_RESULTS: Final = 10_000
_TIMEOUT: Final = 10_000
_ENVIRONMENT: Final = re.compile(r"(?<![.\w])env\b|\$ENV|(?<![.\w])input")


@lru_cache(maxsize=200)
def _compiled(program: str) -> Any:
    if _ENVIRONMENT.search(program):
        raise ValueError("env, $ENV and input are not available to a rule")
    jq = needs("jq", "jq")
    try:
        return jq.compile(program)
    except ValueError as exc:
        raise ValueError(f"{program!r} is no jq program: {exc}") from None


def _check(literals: dict[int, Any]) -> None:
    if isinstance(literals.get(0), str):
        _compiled(literals[0])


@function("jq", kind="list", check=_check)
def jq_(program: Any, value: Any, timeout: Any = _TIMEOUT) -> list[Any]:
    """All results of a program on a JSON text or on a value. ``timeout``: milliseconds, looked at between results."""
    compiled = _compiled(string(program))
    end = time.monotonic() + integer(timeout) / 1000
    results: list[Any] = []
    for result in compiled.input_text(value if isinstance(value, str) else json_text(value)):
        results.append(result)
        if len(results) > _MAX_RESULTS:
            raise ValueError(f"more than {_MAX_RESULTS} results")
        if time.monotonic() > end:
            raise ValueError(f"more than {timeout} ms")
    return results
