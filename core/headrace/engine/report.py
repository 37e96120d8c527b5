"""What people see of a running pipeline: its state in one sentence, and the status document."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from headrace.metrics import Metrics, State, Status
from headrace.units import format_size, rough_size

if TYPE_CHECKING:
    from headrace.engine.pipeline import Pipeline

__all__ = ["part", "snapshot", "state", "statuses"]


def state(pipeline: Pipeline) -> tuple[State, str]:
    """The state of the whole, and the one sentence why it is not running."""
    if pipeline.status.state != "running":
        return pipeline.status.state, pipeline.status.reason
    if (blocked := pipeline.blocked_by) is not None:
        return "degraded", _blocked_reason(pipeline, blocked)
    for kind, parts in statuses(pipeline).items():
        for name, status in parts.items():
            if status.state in ("connecting", "degraded") or (status.state == "stopped" and status.last_error):
                return "degraded", f"{kind[:-1]} {name}: {status.reason or status.state}"
    return "running", ""


def _blocked_reason(pipeline: Pipeline, name: str) -> str:
    if trouble := pipeline.stream.trouble():
        return f"{trouble}; the rules and the sources wait"
    topic, runner = pipeline.topics.get(name), pipeline.sinks.get(name)
    if topic is None or runner is None:
        return "the stream does not take events; the rules and the sources wait"
    reason, held, most = runner.status.reason, rough_size(topic.unsettled_bytes), format_size(topic.options.max_bytes)
    return f"sink {name} is full ({topic.unsettled} events, {held} of {most}) and holds the rules and the sources" + (
        f": {reason}" if reason else ""
    )


def statuses(pipeline: Pipeline) -> dict[str, dict[str, Status]]:
    """Of every part that is configured, in the order of the configuration."""
    spec, idle = pipeline.spec, pipeline.idle
    running: dict[str, dict[str, Status]] = {
        "sources": {name: pump.status for name, pump in pipeline.sources.items()},
        "connectors": {name.removeprefix("inline:"): c.ctx.status for name, c in pipeline.connectors.items()},
        "rules": pipeline.rule_status,
        "sinks": {name: runner.status for name, runner in pipeline.sinks.items()},
    }
    names: dict[str, Iterable[str]] = {
        "sources": spec.sources,
        "connectors": spec.connectors | spec.inline_connectors,
        "rules": spec.rules,
        "sinks": spec.sinks,
    }
    found: dict[str, dict[str, Status]] = {}
    for kind, wanted in names.items():
        known = running[kind] | idle.get(kind, {})
        found[kind] = {name: known[name] for name in wanted if name in known}
    return found


def snapshot(pipeline: Pipeline) -> dict[str, Any]:
    """The status document: per component its state, reason, since, last error and counters."""
    now, reason = state(pipeline)
    document: dict[str, Any] = {
        "name": pipeline.spec.name,
        "state": now,
        "reason": reason,
        "since": pipeline.status.since,
        "config": pipeline.config.snapshot(),
    }
    counters = _counters(pipeline)
    for kind, parts in statuses(pipeline).items():
        document[kind] = {
            name: {**status.snapshot(), "counters": counters[kind](name)} for name, status in parts.items()
        }
    for kind, tallies in pipeline.parts.watched().items():
        for name, tally in tallies.items():
            if name in document[kind]:
                document[kind][name] |= {"last_event_at": tally.rate.grew_at, "rates": tally.rates()}
    for name, runner in pipeline.sinks.items():
        document["sinks"][name] |= {"flow": runner.flow(), "histograms": runner.tally.histograms()}
    document["stream"] = _stream(pipeline)
    return document


def _counters(pipeline: Pipeline) -> dict[str, Callable[[str], dict[str, int | float]]]:
    """Of a part of each kind, by its name."""
    parts, none = pipeline.parts, Metrics()

    def connector(name: str) -> dict[str, int | float]:
        return (parts.connectors.get(name) or parts.connectors.get(f"inline:{name}") or none).snapshot()

    return {
        "sources": lambda name: parts.sources[name].metrics.snapshot() if name in parts.sources else {},
        "connectors": connector,
        "rules": lambda name: parts.rules[name].snapshot(),
        "sinks": lambda name: parts.sinks[name].metrics.snapshot() if name in parts.sinks else {},
    }


def part(pipeline: Pipeline, kind: str, name: str) -> dict[str, Any] | None:
    """Of one part what the status document has, and what else there is to tell of it; None if there is none."""
    shown: dict[str, Any] | None = snapshot(pipeline)[kind].get(name)
    return shown if shown is None else {**shown, "facts": statuses(pipeline)[kind][name].facts}


def _stream(pipeline: Pipeline) -> dict[str, Any]:
    topics = {f"sink.{name}": topic for name, topic in pipeline.topics.items()}
    letters = pipeline.dead_letters
    orphans = {name: part for name, part in pipeline.stream.orphans().items() if name not in topics}
    if pipeline.started:
        topics = {"events": pipeline.events, **topics}
    return {
        "topics": {
            name: {"unsettled": topic.unsettled, "bytes": topic.unsettled_bytes, "max_bytes": topic.options.max_bytes,
                   "oldest": topic.oldest, "corrupt": topic.corrupt}
            for name, topic in topics.items()
        },
        "dead_letters": letters.metrics.snapshot() if letters else {},
        "orphans": {name: {"events": events, "bytes": size} for name, (events, size) in orphans.items()},
        "blocked_by": pipeline.blocked_by,
    }  # fmt: skip
