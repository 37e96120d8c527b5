"""What a running pipeline can be asked by name, over its status socket or whatever else: JSON in, JSON out."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from headrace.engine.dead_letters import DeadLetters, Which
from headrace.engine.rates import SPANS
from headrace.errors import HeadraceError
from headrace.stream import Kept

if TYPE_CHECKING:
    from headrace.engine.pipeline import Pipeline

__all__ = ["CALLS", "call", "letter"]


async def call(pipeline: Pipeline, name: str, arguments: Mapping[str, Any]) -> Any:
    """The answer to one call. HeadraceError if it cannot be done, or is none."""
    try:
        return await CALLS[name](pipeline, arguments)
    except (KeyError, TypeError, ValueError) as exc:
        raise HeadraceError(f"{name!r} is no call, or has wrong arguments: {exc}") from exc


def letter(kept: Kept) -> dict[str, Any]:
    """A dead letter for people: its number, when it was given up, and what is in it."""
    return {"offset": kept.offset, "at": kept.event.timestamp, **kept.event.columns}


def _letters(pipeline: Pipeline) -> DeadLetters:
    if pipeline.dead_letters is None:
        raise HeadraceError("the pipeline is not up yet")
    return pipeline.dead_letters


async def _status(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Any:
    return pipeline.snapshot()


async def _dlq_ls(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Any:
    limit, skip = int(arguments["limit"]), int(arguments.get("skip", 0))
    found = await _letters(pipeline).find(Which(**arguments["which"]), limit, skip)
    return [letter(kept) for kept in found]


async def _dlq_replay(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Any:
    done = await _letters(pipeline).replay(Which(**arguments["which"]), pipeline.give, arguments.get("columns"))
    return dataclasses.asdict(done)


async def _dlq_purge(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Any:
    return {"purged": await _letters(pipeline).purge(Which(**arguments["which"]))}


async def _orphans_purge(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Any:
    await pipeline.purge(str(arguments["topic"]))
    return {}


async def _deliveries(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Any:
    runner = pipeline.sinks.get(arguments["sink"])
    if runner is None:
        raise HeadraceError(f"there is no sink {arguments['sink']!r} running; there is {', '.join(pipeline.sinks)}")
    return runner.journal.entries(int(arguments["limit"]), failures=bool(arguments.get("failures")))


async def _history(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Any:
    """How fast the counters of a source, rule or sink grew, or those of all together; oldest first."""
    kind, name, span = arguments.get("kind"), arguments.get("name"), arguments.get("span", "1h")
    if span not in SPANS:
        raise HeadraceError(f"span: one of {', '.join(SPANS)}")
    if kind is None:
        return pipeline.parts.totals.history(span)
    watched = pipeline.parts.watched()[kind].get(str(name))
    if watched is None:
        raise HeadraceError(f"there is no {kind[:-1]} {name!r} running")
    return watched.history(span)


CALLS: Final[Mapping[str, Callable[[Pipeline, Mapping[str, Any]], Awaitable[Any]]]] = {
    "status": _status,
    "dlq.ls": _dlq_ls,
    "dlq.replay": _dlq_replay,
    "dlq.purge": _dlq_purge,
    "orphans.purge": _orphans_purge,
    "deliveries": _deliveries,
    "history": _history,
}
