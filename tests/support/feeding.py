"""A source that gives a pipeline whatever a test puts into a queue."""

from __future__ import annotations

import asyncio
from types import ModuleType

from headrace import Ack, Batch, ComponentConfig, Event, Source, hookimpl


def feeding(queue: asyncio.Queue[list[Event]]) -> ModuleType:
    """A plugin with the source ``feeding``, which reads from the queue."""

    class Feeding(Source[ComponentConfig]):
        """Reads what the test puts."""

        name = "feeding"

        async def read(self) -> tuple[Batch, Ack]:
            return await queue.get(), lambda error: None

    def register_sources() -> list[type[Feeding]]:
        return [Feeding]

    module = ModuleType("feeding")
    module.register_sources = hookimpl(register_sources)  # type: ignore[attr-defined]
    return module
