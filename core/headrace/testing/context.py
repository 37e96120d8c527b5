"""A component's place and an event, made by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headrace.components import Context
from headrace.events import Event, new_id

__all__ = ["make_context", "make_event"]


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


def make_event(payload: str | bytes, *, topic: str = "t/1", clientid: str = "c1") -> Event:
    """A published message as a source gives it."""
    id = new_id()
    return Event(
        {"event": "message.publish", "id": id, "clientid": clientid, "topic": topic, "payload": payload, "qos": 1},
        id=id,
        key=clientid,
    )
