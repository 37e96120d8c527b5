"""A component's place, made by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headrace.components import Context

__all__ = ["make_context"]


def make_context(
    name: str = "test",
    *,
    connector: Any = None,
    filters: tuple[str, ...] = (),
    functions: Mapping[str, Callable[..., Any]] | None = None,
    state_dir: Path | None = None,
) -> Context:
    """A ``Context`` with its own logger, metrics and status, as the engine would give one."""
    return Context(
        name,
        pipeline="test",
        log=logging.getLogger(f"headrace.test.{name}"),
        state_dir=state_dir,
        filters=filters,
        connector=connector,
        functions=functions or {},
    )
