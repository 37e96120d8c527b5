"""The configuration of a running pipeline: read again on request, or when a file changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.config import Checked, InvalidConfig, Problem, check, files
from headrace.config.edit import Edit, Replaced
from headrace.config.files import expand
from headrace.config.model import PipelineSpec
from headrace.config.problems import Problems
from headrace.engine import Pipeline, Plan
from headrace.errors import HeadraceError

__all__ = ["Live", "Origin"]

NO_FILE = "this pipeline was not started from a file"
EVERY = 0.5
"""Seconds between two looks at the files; what looks the same twice is read."""
_Look = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Origin:
    """What a pipeline was started with."""

    paths: Sequence[Path | str] = ()
    overrides: Sequence[str] = ()
    read_only: bool = False
    """Nobody may change the files through us."""


class Live:
    """A pipeline and the files that describe it."""

    def __init__(self, pipeline: Pipeline, origin: Origin) -> None:
        self.pipeline = pipeline
        self.origin = origin
        self._busy = asyncio.Lock()
        """Held from the reading of the files until what they say runs: whoever reads later must not be overtaken."""

    @property
    def read_only(self) -> bool:
        """Is the configuration only changed by its files?"""
        api = self.pipeline.spec.api
        return self.origin.read_only or (api is not None and api.read_only)

    async def reload(self, *, dry_run: bool = False) -> tuple[Plan, list[Problem]]:
        """Read the files again and go on with what they say. HeadraceError says why nothing was changed.

        Returns what was changed (``dry_run``: would be), and the warnings.
        """
        async with self._busy:
            return await self._reload(dry_run)

    async def _reload(self, dry_run: bool = False) -> tuple[Plan, list[Problem]]:
        pipeline = self.pipeline
        running = pipeline.config.generation
        try:
            checked = await self._read()
            spec = _spec(checked)
            plan = pipeline.plan(spec) if dry_run else await pipeline.apply(spec)
        except HeadraceError as exc:
            if pipeline.config.generation != running:  # it runs, but for a part whose status says why it does not
                pipeline.config.accepted()
                pipeline.log.error("configuration %d: %s", pipeline.config.generation, exc)
            elif not dry_run:
                pipeline.config.refused(str(exc))
                pipeline.log.error("the configuration was not applied; the one before goes on: %s", exc)
            raise
        if not dry_run:
            pipeline.config.accepted()
            pipeline.log.info("configuration %d: %s", pipeline.config.generation, _told(plan))
        return plan, checked.problems

    async def answer(self, *, dry_run: bool = False) -> dict[str, Any]:
        """``reload`` for those who ask from outside."""
        return self._answer(*await self.reload(dry_run=dry_run))

    def _answer(self, plan: Plan, warnings: Sequence[Problem]) -> dict[str, Any]:
        return {
            "generation": self.pipeline.config.generation,
            "changed": plan.snapshot(),
            "warnings": [str(problem) for problem in warnings],
        }

    async def edit(self) -> Edit:
        """The files as they are now, to look at or to make another text of one."""
        return await asyncio.to_thread(lambda: Edit(self._patterns(), self.pipeline.registry))

    async def rewritten(self, texts: Mapping[Path, str]) -> dict[str, Any]:
        """What it would change if files had these texts. HeadraceError says why they cannot have them."""
        checked = await self._read({str(path): text for path, text in texts.items()})
        return self._answer(self.pipeline.plan(_spec(checked)), checked.problems)

    async def rewrite(self, change: Callable[[Edit], Iterable[tuple[Path, str]]]) -> dict[str, Any]:
        """Change files and go on with them; they stay as they were if that cannot be. Answers as ``answer`` does."""
        async with self._busy:
            edit = await self.edit()
            texts = dict(await asyncio.to_thread(change, edit))
            await self.rewritten(texts)
            running, replaced = self.pipeline.config.generation, list[Replaced]()
            try:
                for path, text in texts.items():
                    replaced.append(await asyncio.to_thread(Replaced, path, text, edit.read[path]))
                return self._answer(*await self._reload())
            except BaseException:
                if running == self.pipeline.config.generation:
                    for file in replaced:
                        await asyncio.to_thread(file.undo)
                raise

    async def _read(self, texts: Mapping[str, str] | None = None) -> Checked:
        if not self.origin.paths:
            raise HeadraceError(NO_FILE)
        # elsewhere: reading YAML takes time, and events go on
        return await asyncio.to_thread(
            check, self.origin.paths, self.origin.overrides, registry=self.pipeline.registry, texts=texts
        )

    def _patterns(self) -> list[str]:
        """What the configuration is read from now, includes among it; nothing is checked, which may take seconds."""
        if not self.origin.paths:
            raise HeadraceError(NO_FILE)
        patterns: list[str] = []
        files.read(self.origin.paths, self.origin.overrides, os.environ, Problems(), patterns)
        return patterns

    async def watch(self) -> None:
        """Reload whenever a file of the configuration has changed. Ends by being cancelled."""
        patterns = await asyncio.to_thread(self._patterns)
        read: _Look | None = None  # what was seen before the start may not be what was read then
        seen = before = await asyncio.to_thread(_look, patterns)
        while True:
            if seen != read and seen == before:  # something new, and not still being written
                read = seen
                with contextlib.suppress(HeadraceError):  # it is in the log and in the status
                    await self.reload()
                patterns = await asyncio.to_thread(self._patterns)
            await asyncio.sleep(EVERY)
            before, seen = seen, await asyncio.to_thread(_look, patterns)


def _spec(checked: Checked) -> PipelineSpec:
    if checked.spec is None:
        raise InvalidConfig(p for p in checked.problems if p.severity == "error")
    return checked.spec


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
