"""What each counter counts, in a sentence: for the dashboard, for Prometheus and for the docs page "Metrics".

Counters of the engine are here; those of a plugin stand in ``counts`` of its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from headrace.components import Component
from headrace.config.model import PipelineSpec

__all__ = ["RULE", "SINK", "SOURCE", "meanings"]

SOURCE: Final = {
    "received": "events the source has read",
    "appended": "events the stream has",
    "rejected": "events not taken in; the sum of those below",
    "pending": "events on their way into the stream now",
    "rejected.no_rule": "events that no rule reads",
    "rejected.too_large": "events larger than max_event_bytes",
    "rejected.stream": "events the stream could not take; the sender was not acknowledged",
}
RULE: Final = {
    "matched": "events the FROM clause selected",
    "passed": "events that gave at least one result",
    "failed": "events that gave none: failed.exception and failed.no_result together",
    "failed.exception": "events that could not be computed",
    "failed.no_result": "events filtered out: WHERE was not true, or there was nothing in FOREACH",
    "actions.total": "results handed to sinks, per result and sink; recovered ones included",
    "actions.success": "results that were delivered",
    "actions.failed": "results that were not delivered; the sum of those below",
    "actions.failed.out_of_service": "results not delivered since the peer was away",
    "actions.failed.unknown": "results not delivered for any other reason",
    "actions.discarded": "results for a disabled sink",
}
SINK: Final = {
    "matched": "events given to it: by rules, by another sink, or from the dead letters",
    "recovered": "unsettled events found in the stream at start, or at the last reset",
    "replayed": "those of matched that came from the dead letters",
    "success": "events whose delivery the peer confirmed",
    "failed": "events given up: dead-lettered, dropped by on_error, or given to another sink",
    "retried": "events settled after more than one attempt",
    "retried.success": "events delivered after more than one attempt",
    "retried.failed": "events given up after more than one attempt",
    "late_reply": "events whose answer came after their ttl",
    "dropped": "events not sent; the sum of those below",
    "dropped.expired": "events older than ttl before they could be sent",
    "dropped.queue_full": "events for which the buffer had no room",
    "dropped.resource_stopped": "events for a connector that is disabled",
    "dropped.resource_not_found": "events for a connector that was gone",
    "dropped.other": "events not sent for another reason",
    "attempts": "attempts begun; each ends as success, late_reply or one of errors",
    "errors": "attempts that failed, whatever became of their events; the sum of those below",
}
_MORE: Final[Mapping[str, Mapping[str, str]]] = {
    "sinks": {
        "errors.network": "attempts with no connection, or one that broke",
        "errors.timeout": "attempts with no answer in time",
        "errors.invalid": "events that can never be sent as they are",
        "errors.backoff": "attempts that the peer asked to make later",
        "errors.error": "attempts that failed for any other reason",
        "errors.3xx": "attempts answered with a status from 300 to 399",
        "errors.4xx": "attempts answered with a status from 400 to 499",
        "errors.5xx": "attempts answered with a status from 500 to 599",
        "queuing": "events that wait for a first attempt now",
        "inflight": "events attempted and not settled now",
        "queuing_bytes": "bytes of unsettled events in its topic now",
        "queuing_age": "seconds since its oldest unsettled event was made",
        "latency": "seconds from the beginning of an attempt to its answer, whatever that is",
        "end_to_end": "seconds from the making of an event to its delivery",
    },
}


def meanings(spec: PipelineSpec) -> dict[str, dict[str, str]]:
    """Of sources, connectors, rules and sinks, by name; with those that only the plugins in use have."""
    own: dict[str, Mapping[str, str]] = {"sources": SOURCE, "connectors": {}, "rules": RULE, "sinks": SINK}
    used: dict[str, Iterable[Any]] = {
        "sources": spec.sources.values(),
        "connectors": [*spec.connectors.values(), *spec.inline_connectors.values()],
        "rules": (),
        "sinks": spec.sinks.values(),
    }
    found = {}
    for kind, texts in own.items():
        classes: set[type[Component[Any]]] = {part.cls for part in used[kind] if part.cls is not None}
        plugins = {name: text for cls in sorted(classes, key=lambda cls: cls.name) for name, text in cls.counts.items()}
        found[kind] = {**texts, **_MORE.get(kind, {}), **plugins}
    return found
