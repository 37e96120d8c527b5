"""What a plugin subclasses: sources, transforms, sinks and connectors.

The engine makes one instance per name in the configuration and drives it:

    open (again after NotConnected, with back-off) → read / process / write → close (exactly once)

``class Http(Sink[HttpConfig])`` is the one place that names the configuration model.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from headrace.errors import PluginError
from headrace.events import Ack, Batch, Event
from headrace.metrics import Metrics, Status
from headrace.topics import MESSAGE, event_topics, matches

__all__ = [
    "Component",
    "ComponentConfig",
    "Connector",
    "Context",
    "Done",
    "Explanation",
    "Form",
    "Guard",
    "Inputs",
    "JoiningSink",
    "Offer",
    "Output",
    "Piece",
    "PipelineInfo",
    "Receipt",
    "Remark",
    "Sink",
    "Source",
    "TestStep",
    "Transform",
]


class ComponentConfig(BaseModel):
    """Base of all configuration models: unknown keys are errors, instances do not change.

    Give every field a description: it is the reference documentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


@dataclass(frozen=True)
class Context:
    """What the engine tells a component about its place. ``filters`` is set for sources, ``connector`` for sinks."""

    name: str
    """The name in the configuration."""
    pipeline: str = "pipeline"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("headrace"))
    metrics: Metrics = field(default_factory=Metrics)
    status: Status = field(default_factory=Status)
    state_dir: Path | None = None
    """Where a component may keep files; None if the pipeline keeps nothing."""
    filters: tuple[str, ...] = ()
    """Source: the topic filters and ``$events/…`` names that rules read from it."""
    connector: Any = None
    """Sink: the instance of its ``connector_type``, shared with other sinks."""
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Transform: the functions plugins registered."""


C = TypeVar("C", bound=ComponentConfig)


class Component(ABC, Generic[C]):
    """Common to all four kinds."""

    name: ClassVar[str]
    """The ``type:`` in configuration files: lower snake case; nouns for sources and sinks, verbs or languages else."""
    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    counts: ClassVar[Mapping[str, str]] = {}
    """What the counters and gauges count that it adds to ``ctx.metrics``, in a sentence each."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Component):
                (model,) = get_args(base)
                if isinstance(model, type) and issubclass(model, ComponentConfig):
                    cls.Config = model
                elif not isinstance(model, TypeVar):
                    raise PluginError(f"{cls.__name__}[{model!r}]: the argument must be a ComponentConfig")

    def __init__(self, config: C, ctx: Context) -> None:
        """Keep what is given. No I/O here."""
        self.config = config
        self.ctx = ctx
        self.log = ctx.log

    async def open(self) -> None:
        """Connect. Called first, and again after ``NotConnected``; may be cancelled; raise if it did not work."""

    async def close(self) -> None:
        """Let go of everything. Called exactly once, also after a failed or cancelled ``open``."""


@dataclass(frozen=True)
class TestStep:
    """One stage of a test of a connection, such as ``dns``, ``tcp``, ``tls`` or ``http``."""

    __test__: ClassVar = False  # for pytest, which takes every class of such a name for tests

    name: str
    ok: bool
    detail: str
    """For people: what was found, or what is wrong and what to do."""
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For programs: whatever JSON can hold, such as ``expires_in_days`` or ``status``."""


class Connector(Component[C]):
    """A named connection that several sinks and sources share: address, TLS, credentials, pool."""

    async def health(self) -> None:
        """Raise, with the reason, if the peer cannot be used. Called at any time after ``open``."""

    async def test(self) -> list[TestStep]:
        """Try the way to the peer, stage by stage; the first stage that fails is the last of the list.

        Called at any time after ``open``. It takes its own time limits, raises nothing and leaves what is under way
        alone. The default is the one step ``health``.
        """
        try:
            await self.health()
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the result
            return [TestStep("health", ok=False, detail=str(exc) or type(exc).__name__)]
        return [TestStep("health", ok=True, detail="the peer can be used")]


class Offer(NamedTuple):
    """What a source can give, for ``lint``: a rule that wants anything else can never have it.

    ``columns``: those its messages may have. ``topics``: filters that every topic of its messages matches one of; None
    if any topic may come, such as ``$aws/…``, which ``#`` does not match. ``events``: the events it gives besides, by
    name (``client.connected``), with the columns each may have.
    """

    columns: frozenset[str]
    topics: tuple[str, ...] | None = ("#",)
    events: Mapping[str, frozenset[str]] = {}


class Remark(NamedTuple):
    """Something in a text that is allowed and hardly meant, for ``lint``.

    ``option`` is the option that holds the text; ``line`` and ``column`` count from 1, within it.
    """

    option: str
    line: int
    column: int
    message: str


class Source(Component[C]):
    """Where events come from."""

    @classmethod
    def offers(cls, config: C) -> Offer | None:
        """What it can give with these options; None, the default, if there is no telling. No I/O."""
        return None

    @abstractmethod
    async def read(self) -> tuple[Batch, Ack]:
        """Wait for events and return all that have arrived (one or more), with their ``Ack``.

        Never called concurrently; may be cancelled while it waits, and then must lose nothing. Not calling ``read``
        is the engine's back-pressure. The engine calls ``ack(None)`` when the stream has the batch (or it was
        rejected for good, with a counter), ``ack(exc)`` when it will not have it: exactly once, from the event
        loop, maybe late and maybe out of order. Raise ``NotConnected`` to be opened again, ``EndOfInput`` to end.
        """

    async def refilter(self, filters: tuple[str, ...]) -> bool:
        """The rules read something else from now on: ``ctx.filters`` would be these.

        Called between ``open`` and ``close``, also while ``open`` or ``read`` waits. True: the source follows, or does
        not look at them. False, the default, or an exception: the engine closes it and opens a new one.
        """
        return False


class Inputs(NamedTuple):
    """Which events a transform wants: topic filters, and event names (``$events/client_connected`` or a filter)."""

    topics: tuple[str, ...] = ()
    events: tuple[str, ...] = ()

    def matching(self, event: Event) -> tuple[str, ...]:
        """Those that an event matches; none if it is not wanted."""
        name = event.get("event", MESSAGE)
        if name == MESSAGE:
            topic = event.get("topic")
            return tuple(each for each in self.topics if isinstance(topic, str) and matches(each, topic))
        names = event_topics(str(name))
        return tuple(each for each in self.events if any(matches(each, name) for name in names))


class Guard(NamedTuple):
    """A condition every event with a result meets: the column at ``path`` equals ``literal`` by the transform's rules.

    ``path`` begins with a column; below ``payload`` it goes into the decoded JSON.
    """

    path: tuple[str, ...]
    literal: str | int | float | bool


class Output(NamedTuple):
    """What a transform made of a batch.

    ``rows``: ``(index of the parent event, row)``, in order. An event with no row is in ``no_result`` (its index)
    or in ``exceptions`` (index → what went wrong), never in both.
    """

    rows: Sequence[tuple[int, dict[str, Any]]]
    no_result: Sequence[int] = ()
    exceptions: Mapping[int, Exception] = {}


class Explanation(NamedTuple):
    """Why an event had a result or none: lines for people, and the rows."""

    lines: Sequence[str]
    rows: Sequence[dict[str, Any]] = ()


class Transform(Component[C]):
    """What a rule does with its events. Plain functions: no I/O, no waiting."""

    keywords: ClassVar[Sequence[str]] = ()
    """The words of its language, for completion."""

    @abstractmethod
    def process(self, batch: Batch) -> Output:
        """Rows for these events, which must not be changed. Raising fails the whole batch with that error."""

    def inputs(self) -> Inputs:
        """Which events to give it. Called once, after construction; the default is every message."""
        return Inputs(("#",))

    def due(self, now: int) -> Sequence[Event]:
        """Events that time alone brings about, such as a silence; ``now`` is Unix milliseconds. None by default.

        Called a few times a second, between two batches. They go through the rule's further transforms to its sinks.
        Give each until ``taken`` says that the stream has it, and not while it is on its way.
        """
        return ()

    def taken(self, events: Sequence[Event]) -> None:
        """The stream has what became of these events, which ``due`` gave."""

    def guards(self) -> Sequence[Guard]:
        """Equalities the engine may test before it calls ``process`` (for its index); none by default."""
        return ()

    @classmethod
    def functions(cls) -> Mapping[str, str]:
        """The functions its language has of its own, for lists: name → what it takes and does. None by default."""
        return {}

    @property
    def code(self) -> str:
        """What it runs, for people to read; nothing by default."""
        return ""

    @classmethod
    def remarks(cls, config: C, offers: Sequence[Offer] | None) -> Iterable[Remark]:
        """What is allowed in its options and hardly meant. Called by ``lint`` and ``run``; none by default.

        ``offers``: what the rule's sources can give; None if there is no telling, or if it is a later step of a rule.
        """
        return ()

    def explain(self, event: Event) -> Explanation:
        """For people: what happens to an event that ``inputs`` wants, step by step. Changes nothing."""
        output = self.process([event])
        return Explanation([str(e) for e in output.exceptions.values()], [row for _, row in output.rows])


class Receipt(NamedTuple):
    """What the peer said to a delivery, for the delivery log: a status and the beginning of its text."""

    status: int | None = None
    text: bytes = b""


class Done(Protocol):
    """Settles one event of a batch: ``done(i, None)`` or ``done(i, error)``, and with it what the peer said."""

    def __call__(self, index: int, error: Exception | None, receipt: Receipt | None = None, /) -> None: ...


class Sink(Component[C]):
    """Where events go. It holds no queue and does no retry: the engine does both, for every sink alike."""

    connector_type: ClassVar[type[Connector[Any]] | None] = None
    """The connector this sink needs, if any; an instance is ``ctx.connector``."""

    @classmethod
    def defaults(cls, config: C) -> Mapping[str, Any]:
        """Other defaults of the engine's options that this configuration means, as a file would say them.

        Such as ``{"ttl": "45s", "retry": {"max": "15s"}}``; what the user gives wins. None by default.
        """
        return {}

    @abstractmethod
    async def write(self, batch: Batch, done: Done) -> None:
        """Attempt each event once.

        Several calls may be under way (together at most ``inflight`` events, no two of one key). ``done(i, None)``
        or ``done(i, error)`` settles event ``i`` early, at most once; returning settles the rest as delivered,
        raising settles the rest with that error. ``DeliveryError`` says more than other exceptions; ``Backoff``
        pauses the sink; ``NotConnected`` has it opened again.
        """

    def render(self, event: Event) -> Mapping[str, Any]:
        """What ``write`` would send for this event, for people: JSON values, secrets masked. Nothing is sent.

        For HTTP ``method``, ``url``, ``headers`` and ``body``. Raises if nothing can be made of the event. The
        default is an empty map: the sink cannot say.
        """
        return {}

    async def trial(self, event: Event) -> Mapping[str, Any]:
        """Send this one event and say what came back, for people: ``ok``, ``error`` and what else the peer said.

        For HTTP ``status`` and ``answer``. Called at any time after ``open``, beside ``write``; nothing is retried or
        counted. Raises nothing. The default writes the event.
        """
        errors: list[Exception | None] = []
        try:
            await self.write([event], lambda _, error, receipt=None: errors.append(error))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the result
            errors.append(exc)
        error = errors[0] if errors else None
        return {"ok": error is None, "error": None if error is None else str(error) or type(error).__name__}


Form = Literal["array", "ndjson", "lines"]
"""How several bodies become one (``batch.as``)."""


class Piece(NamedTuple):
    """One event's share of a request. Events go into one request only if what they have in ``common`` is equal."""

    common: Hashable
    data: bytes


class JoiningSink(Sink[C]):
    """A sink that can put several events into one request: what ``batch:`` needs."""

    @abstractmethod
    def piece(self, event: Event, form: Form) -> Piece:
        """What this event adds to a request, such as its body; ``common`` is where the request goes, and how.

        Raises if nothing can be made of the event. ``batch.bytes`` bounds the pieces of one request.
        """

    @abstractmethod
    async def write_joined(self, batch: Batch, pieces: Sequence[bytes], common: Hashable, form: Form) -> Receipt | None:
        """Attempt them once, in one request. Raising fails them all; the engine finds out which one is to blame."""


@dataclass(frozen=True)
class PipelineInfo:
    """What the pipeline hooks are told."""

    name: str
    kind: Literal["pipeline"] = "pipeline"
    sources: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()
