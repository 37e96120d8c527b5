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
        self._group = group
        self._handler = handler
        self._log = logger
        self.stopped = False
        self._app: Any = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def lag_events(self) -> int:
        """Events appended and not yet handed to the handler."""
        return self._topic.unread

    async def start(self) -> None:
        """Returns when the handler is about to be called for whatever there is."""
        await self._start_app()
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self, timeout: float = 5.0) -> None:
        """Hand over nothing more, wait up to ``timeout`` for what was handed over, and end.

        What is unsettled stays for the next start. What is settled later still counts, until somebody consumes the
        topic again.
        """
        if self.stopped:
            return
        self.stopped = True
        if self._watcher:
            self._watcher.cancel()
        self._app.consumer.halt()
        try:
            await asyncio.wait_for(self._topic.until_settled(), timeout)
        except TimeoutError:
            if self._topic.held:
                self._log.info("%s: %d events handed over are not settled", self._topic.name, self._topic.held)
        await self._stop_app(max(timeout, 1.0))

    async def _start_app(self) -> None:
        app = self._app = self._topic.faust_app(self._group)
        app.agent(app.topic(self._topic.full_name, acks=False, internal=False), name="handler")(self._agent)
        await app.start()
        await app.consumer.running.wait()

    async def _stop_app(self, timeout: float) -> None:
        stopping = asyncio.ensure_future(self._app.stop())
        _, pending = await asyncio.wait([stopping], timeout=timeout)
        if pending:
            self._log.error("%s: the consumer ignores being stopped; it is left behind", self._topic.name)

    async def _watch(self) -> None:
        """Replace an app that crashed, as one does when Kafka is away for too long."""
        while True:
            await self._app.crashed_event.wait()
            self._log.error(
                "%s: the consumer failed and is started again: %s", self._topic.name, self._app.crash_reason
            )
            await self._stop_app(_LONGEST_PAUSE)
            await asyncio.sleep(_FIRST_PAUSE)
            try:
                await self._start_app()
            except Exception as exc:  # noqa: BLE001 - Faust lets any error of the driver through
                self._log.error("%s: the consumer cannot start: %s", self._topic.name, exc)
                await asyncio.sleep(_LONGEST_PAUSE)

    async def _agent(self, stream: Any) -> None:
        taken, done = self._app.consumer.taken, self._app.consumer.done
        # a cancelled agent ends as if it were finished: Faust would restart it and keep the loop from ending
        with suppress(asyncio.CancelledError):
            async for record in stream.noack():
                taken()
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
