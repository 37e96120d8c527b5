"""A consumer: one Faust app with one agent that gives each record to the engine's handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from headrace.stream.topic import Record, Topic

__all__ = ["Consumer", "Handler"]

Handler = Callable[[Record], Awaitable[None]]
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Consumer:
    """Awaits ``handler`` for each record of a topic, in order, one at a time.

    What the handler raises is logged, and the same record is given again after a pause: nothing is acknowledged that
    was not settled, and no exception leaves the agent (Faust would acknowledge the message).
    """

    def __init__(self, topic: Topic, group: str, handler: Handler, logger: logging.Logger) -> None:
        self._topic = topic
        self._handler = handler
        self._log = logger
        self._stopped = False
        self._app = topic.faust_app(group)
        self._app.agent(self._app.topic(topic.full_name, acks=False, internal=False), name="handler")(self._agent)

    @property
    def lag_events(self) -> int:
        """Events appended and not yet handed to the handler."""
        return self._topic.unread

    async def start(self) -> None:
        await self._app.start()
        await self._app.consumer.running.wait()

    async def stop(self, timeout: float = 5.0) -> None:
        """Hand over nothing more, wait up to ``timeout`` for what was handed over, and end.

        What is unsettled stays for the next start. What is settled later still counts, until somebody consumes the
        topic again.
        """
        if self._stopped:
            return
        self._stopped = True
        self._app.consumer.halt()
        try:
            await asyncio.wait_for(self._topic.until_settled(), timeout)
        except TimeoutError:
            self._log.info("%s: %d events handed over are not settled", self._topic.name, self._topic.held)
        stopping = asyncio.ensure_future(self._app.stop())
        _, pending = await asyncio.wait([stopping], timeout=max(timeout, 1.0))
        if pending:
            self._log.error("%s: the consumer ignores being stopped; it is left behind", self._topic.name)

    async def _agent(self, stream: Any) -> None:
        done = self._app.consumer.done
        # a cancelled agent ends as if it were finished: Faust would restart it and keep the loop from ending
        with suppress(asyncio.CancelledError):
            async for record in stream.noack():
                await self._handle(record)
                done()

    async def _handle(self, record: Record) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._handler(record)
            except Exception:  # noqa: BLE001 - whatever it is, the record must neither be lost nor end the agent
                self._log.exception("%s: a batch could not be handled; trying again in %gs", self._topic.name, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
