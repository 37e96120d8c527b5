"""Spans of some events, from the source to every attempt of a sink, sent to an OpenTelemetry collector.

An event that is traced carries its place in the trace (``Event.trace``) through the stream, so a trace goes on after a
restart. What is not traced costs one look at that attribute per stage.

    receive SOURCE → rule RULE → deliver SINK (one for each attempt) → the peer's own spans

Needs the extra ``otel``; nothing of it is imported unless a configuration has ``tracing``.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from headrace import __version__
from headrace.components import Receipt
from headrace.config.model import TracingOptions
from headrace.engine.retry import describe
from headrace.errors import DeliveryError
from headrace.events import Event, traceparent
from headrace.lanes import Item

__all__ = ["Attempts", "Tracer"]

_PATIENCE: Final = 5.0
"""Seconds that one export, and the last one at a stop, may take."""


class Tracer:
    """Makes the spans of one pipeline. All but ``close`` are called in the loop of the engine and raise nothing."""

    def __init__(self, options: TracingOptions, pipeline: str) -> None:
        headers = {name: secret.get_secret_value() for name, secret in options.headers.items()}
        exporter = OTLPSpanExporter(options.endpoint, headers=headers, timeout=_PATIENCE)
        resource = Resource.create(
            {"service.name": options.service or pipeline, "service.version": __version__, "headrace.pipeline": pipeline}
        )
        self._provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("headrace", __version__)
        self._follow = options.follow
        self._gap = 1 / options.sample if options.sample else 0.0
        self._next = self._draw()

    def close(self) -> None:
        """Send what there is, for a few seconds at most. Blocks: call it on a thread."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_PATIENCE)

    # -- sources -----------------------------------------------------------------------------------------------

    def received(self, source: str, events: Sequence[Event]) -> list[Span]:
        """Choose which of these are traced, and begin their spans; ``appended`` ends them."""
        spans = []
        for event in self._chosen(events):
            attributes = {"headrace.source": source, **_about(event)}
            span = self._begin(
                f"receive {source}", event.trace, SpanKind.CONSUMER, attributes, event.timestamp * 1_000_000
            )
            event.trace = _traceparent(span)
            spans.append(span)
        return spans

    @staticmethod
    def appended(spans: Sequence[Span], done: asyncio.Future[None]) -> None:
        """These events are in the stream, or it refused them."""
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for span in spans:
            _end(span, error)

    def _chosen(self, events: Sequence[Event]) -> list[Event]:
        """Those that came with a sampled trace, and of the others a share."""
        chosen = [event for event in events if _is_traced(event)] if self._follow else []
        while self._gap and self._next < len(events):
            event = events[self._next]
            if not (self._follow and event.trace):  # whoever sent it has decided
                chosen.append(event)
            self._next += 1 + self._draw()
        self._next -= len(events)
        return chosen

    def _draw(self) -> int:
        """How many events to pass over: spread evenly about the mean, so that no rhythm of the senders is hit."""
        return int(random.uniform(0, 2 * (self._gap - 1) + 1)) if self._gap else 0  # noqa: S311 - a sample, no secret

    # -- rules -------------------------------------------------------------------------------------------------

    def ruled(
        self,
        rule: str,
        events: Sequence[Event],
        outputs: Sequence[tuple[int, Event]],
        failed: Mapping[int, Exception],
        began: int,
    ) -> None:
        """A rule was given ``events`` at ``began`` (Unix ns). Its outputs go on in its span."""
        traced = {i: event for i, event in enumerate(events) if _is_traced(event)}
        made: dict[int, list[Event]] = {i: [] for i in traced}
        for i, output in outputs:
            if i in traced:
                made[i].append(output)
        for i, event in traced.items():
            attributes = {"headrace.rule": rule, "headrace.outputs": len(made[i]), **_about(event)}
            span = self._begin(f"rule {rule}", event.trace, SpanKind.INTERNAL, attributes, began)
            for output in made[i]:
                output.trace = _traceparent(span)
            _end(span, failed.get(i))

    # -- sinks -------------------------------------------------------------------------------------------------

    def attempts(self, sink: str, items: Sequence[Item]) -> Attempts | None:
        """A sink is given these; None if none is traced. Until its attempt has ended, an event's trace is that."""
        spans: dict[int, tuple[Span, Event, str]] = {}
        for i, item in enumerate(items):
            event = item.event
            if _is_traced(event):
                attributes = {"headrace.sink": sink, "headrace.attempt": item.tries, **_about(event)}
                span = self._begin(f"deliver {sink}", event.trace, SpanKind.CLIENT, attributes)
                spans[i] = span, event, event.trace
                event.trace = _traceparent(span)
        return Attempts(spans) if spans else None

    def gave_up(self, sink: str, event: Event, outcome: str, reason: str) -> None:
        """A sink is done with an event without having delivered it: ``failed`` or ``dropped``, and why."""
        if _is_traced(event):
            attributes = {"headrace.sink": sink, "headrace.outcome": outcome, **_about(event)}
            span = self._begin(f"give up {sink}", event.trace, SpanKind.INTERNAL, attributes)
            span.set_status(Status(StatusCode.ERROR, reason))
            span.end()

    # ----------------------------------------------------------------------------------------------------------

    def _begin(self, name: str, parent: str, kind: SpanKind, attributes: dict[str, Any], began: int = 0) -> Span:
        """``parent``: a traceparent, or "" if the trace begins here. ``began``: Unix ns; now if it is 0."""
        context = None
        if traceparent(parent):  # a plugin's source may have set anything
            _, trace, span, _ = parent.split("-")
            remote = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(1))
            context = set_span_in_context(NonRecordingSpan(remote))
        made = self._tracer.start_span(name, context, kind, attributes, start_time=began or time.time_ns())
        assert isinstance(made, Span)  # all of them are sampled: who is traced is decided here
        return made


class Attempts:
    """The spans of what a sink was given at one time."""

    def __init__(self, spans: dict[int, tuple[Span, Event, str]]) -> None:
        self._spans = spans

    def ended(self, index: int, error: Exception | None, receipt: Receipt | None = None) -> None:
        """The event at this index was delivered, or not. Call it before anything else is made of the event."""
        if found := self._spans.pop(index, None):
            span, event, parent = found
            event.trace = parent
            status = receipt.status if receipt else error.status if isinstance(error, DeliveryError) else None
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            _end(span, error)

    def all_ended(self, error: Exception | None, receipt: Receipt | None = None) -> None:
        """All that have not ended yet."""
        for index in list(self._spans):
            self.ended(index, error, receipt)


def _is_traced(event: Event) -> bool:
    return event.trace[-1:] == "1"


def _about(event: Event) -> dict[str, Any]:
    """What tells an event from others; nothing of what it says."""
    named = {
        "messaging.message.id": event.id,
        "messaging.destination.name": event.get("topic"),
        "messaging.client.id": event.get("clientid"),
        "headrace.event": event.get("event"),
    }
    return {name: value for name, value in named.items() if isinstance(value, str)}


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute("error.type", getattr(error, "kind", type(error).__name__))
        span.set_status(Status(StatusCode.ERROR, describe(error)))
    span.end()
