"""Opening a component until it works: a peer that is away never stops the start."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.components import Component
from headrace.engine.retry import describe

__all__ = ["FIRST", "LONGEST", "close", "open_until_up"]

FIRST, LONGEST = 0.2, 10.0
"""Seconds between two attempts."""


async def open_until_up(component: Component[Any]) -> None:
    """Call ``open`` until it succeeds, with back-off; the status says why it has not."""
    status, log = component.ctx.status, component.ctx.log
    pause = FIRST
    while True:
        before = status.state
        try:
            await component.open()
        except Exception as exc:  # noqa: BLE001 - a component may raise anything, and is tried again
            reason = describe(exc)
            if status.reason != reason or status.state != "connecting":
                log.warning("not up yet: %s", reason)
            status.error(reason)
            status.set("connecting", reason)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST)
        else:
            if status.state == before != "running" and status.set("running"):  # unless it said itself how it is
                log.info("running")
            return


async def close(component: Component[Any]) -> None:
    """Call ``close`` once; what it raises is logged."""
    try:
        await component.close()
    except Exception:
        component.ctx.log.exception("close failed")
    component.ctx.status.set("stopped")
