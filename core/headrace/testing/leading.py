"""A component led by hand as the engine leads it: opened and closed, given a batch, each within a limit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from headrace.components import Component, Receipt, Sink
from headrace.events import Event

__all__ = ["PATIENCE", "opened", "turns", "write"]

PATIENCE = 10.0
"""Seconds within which everything here must be over."""


@contextlib.asynccontextmanager
async def opened(component: Component[Any]) -> AsyncIterator[None]:
    """The life the engine gives a component, with a limit on either end."""
    try:
        async with asyncio.timeout(PATIENCE):
            await component.open()
        yield
    finally:
        async with asyncio.timeout(PATIENCE):
            await component.close()


async def write(sink: Sink[Any], batch: Sequence[Event]) -> list[Exception | None]:
    """One ``write`` as the engine sees it: the verdict on each event, settled at most once and not after the end."""
    verdicts: dict[int, Exception | None] = {}
    ended = False

    def done(i: int, error: Exception | None, receipt: Receipt | None = None) -> None:
        assert not ended, f"event {i} was settled after write had ended"
        assert 0 <= i < len(batch), f"there is no event {i}"
        assert i not in verdicts, f"event {i} was settled twice"
        verdicts[i] = error

    rest: Exception | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            await sink.write(batch, done)
    except Exception as exc:  # noqa: BLE001 - raising settles the rest with that error, whatever it is
        rest = exc
    ended = True
    if isinstance(rest, AssertionError):
        raise rest
    return [verdicts.get(i, rest) for i in range(len(batch))]


async def turns(n: int = 10) -> None:
    """Let what is under way go on, for some turns of the loop."""
    for _ in range(n):
        await asyncio.sleep(0)
