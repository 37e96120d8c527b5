"""The configuration of a running pipeline: read again on request, or when a file changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.config import Checked, InvalidConfig, Problem, check
from headrace.config.files import expand
from headrace.engine import Pipeline, Plan
from headrace.errors import HeadraceError

__all__ = ["Live", "Origin"]

EVERY = 0.5
"""Seconds between two looks at the files; what looks the same twice is read."""
_Look = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Origin:
    """What a pipeline was started with."""

    paths: Sequence[Path | str] = ()
    overrides: Sequence[str] = ()


class Live:
    """A pipeline and the files that describe it."""

    def __init__(self, pipeline: Pipeline, origin: Origin) -> None:
        self.pipeline = pipeline
        self.origin = origin

    async def reload(self, *, dry_run: bool = False) -> tuple[Plan, list[Problem]]:
        """Read the files again and go on with what they say. HeadraceError says why nothing was changed.

        Returns what was changed (``dry_run``: would be), and the warnings.
        """
        pipeline = self.pipeline
        try:
            checked = await self._read()
            if checked.spec is None:
                raise InvalidConfig(p for p in checked.problems if p.severity == "error")
            plan = pipeline.plan(checked.spec) if dry_run else await pipeline.apply(checked.spec)
        except HeadraceError as exc:
            if not dry_run:
                pipeline.config.refused(str(exc))
                pipeline.log.error("the configuration was not applied; the one before goes on: %s", exc)
            raise
        if not dry_run:
            pipeline.config.accepted()
            pipeline.log.info("configuration %d: %s", pipeline.config.generation, _told(plan))
        return plan, checked.problems

    async def answer(self, *, dry_run: bool = False) -> dict[str, Any]:
        """``reload`` for those who ask from outside."""
        plan, warnings = await self.reload(dry_run=dry_run)
        return {
            "generation": self.pipeline.config.generation,
            "changed": plan.snapshot(),
            "warnings": [str(problem) for problem in warnings],
        }

    async def _read(self) -> Checked:
        if not self.origin.paths:
            raise HeadraceError("this pipeline was not started from a file")
        # elsewhere: reading YAML takes time, and events go on
        return await asyncio.to_thread(check, self.origin.paths, self.origin.overrides, registry=self.pipeline.registry)

    async def watch(self) -> None:
        """Reload whenever a file of the configuration has changed. Ends by being cancelled."""
        patterns = (await self._read()).patterns
        read: _Look | None = None  # what was seen before the start may not be what was read then
        seen = before = await asyncio.to_thread(_look, patterns)
        while True:
            if seen != read and seen == before:  # something new, and not still being written
                read = seen
                with contextlib.suppress(HeadraceError):  # it is in the log and in the status
                    await self.reload()
                patterns = (await self._read()).patterns
            await asyncio.sleep(EVERY)
            before, seen = seen, await asyncio.to_thread(_look, patterns)


def _look(patterns: Sequence[str]) -> _Look:
    found = []
    for path in dict.fromkeys(each for pattern in patterns for each in expand(pattern)):
        try:
            now = os.stat(path)
        except OSError:
            continue
        found.append((path, now.st_mtime_ns, now.st_size, now.st_ino))
    return tuple(found)


def _told(plan: Plan) -> str:
    shown = plan.snapshot()
    parts = [f"{kind} {how} {', '.join(names)}" for kind, ways in shown.items() for how, names in ways.items()]
    return "; ".join(parts) or "nothing changed"
