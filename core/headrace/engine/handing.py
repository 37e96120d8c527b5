"""What a sink gave up goes to its outlet, again and again until it is safe there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from headrace.engine.dead_letters import Outlet
from headrace.engine.retry import Failure, describe
from headrace.lanes import Item

__all__ = ["HandOver"]

_AGAIN = 1.0


class HandOver:
    """``safe`` is called once for each event, when nothing can lose it any more. ``waiting``: how many are not safe."""

    def __init__(self, outlet: Outlet, log: logging.Logger, safe: Callable[[Item, Failure], None]) -> None:
        self.waiting = 0
        self._outlet = outlet
        self._log = log
        self._safe = safe

    def give(self, item: Item, failure: Failure, error: Exception) -> None:
        """Hand this event over."""
        self.waiting += 1
        self._try(item, failure, error)

    def _try(self, item: Item, failure: Failure, error: Exception) -> None:
        kept = self._outlet(item, failure, error)
        if kept is None:
            self._done(item, failure)
        else:
            kept.add_done_callback(lambda future: self._tried(future, item, failure, error))

    def _tried(self, future: asyncio.Future[None], item: Item, failure: Failure, error: Exception) -> None:
        if future.cancelled():
            return
        problem = future.exception()
        if problem is None:
            self._done(item, failure)
            return
        self._log.error("cannot keep the dead letter of %s: %s; trying again", item.event.id, describe(problem))
        asyncio.get_running_loop().call_later(_AGAIN, self._try, item, failure, error)

    def _done(self, item: Item, failure: Failure) -> None:
        self.waiting -= 1
        self._safe(item, failure)
