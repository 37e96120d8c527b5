"""What a configuration file becomes: options of the engine's own, and the plan of a pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from headrace.addresses import is_loopback, split_address
from headrace.components import ComponentConfig, Connector, Sink, Source, Transform
from headrace.templates import Template
from headrace.units import Duration, Size

__all__ = [
    "ApiOptions",
    "BatchOptions",
    "BufferOptions",
    "ConnectorSpec",
    "PartOptions",
    "PipelineOptions",
    "PipelineSpec",
    "PluginOptions",
    "RetryOptions",
    "RuleOptions",
    "RuleSpec",
    "SinkOptions",
    "SinkSpec",
    "SourceSpec",
    "StreamOptions",
    "TracingOptions",
    "TransformSpec",
    "status_matches",
]

StatusClass = Annotated[int, Field(ge=100, le=599)] | Annotated[str, Field(pattern=r"^[1-5]xx$")]
RATE = r"^\d+(\.\d+)?/(s|m|h)$"
RetryCause = Literal["network", "timeout", "error"] | StatusClass


def status_matches(status: int, patterns: frozenset[int | str] | tuple[int | str, ...]) -> bool:
    """Is an HTTP-like status among ``503`` or ``5xx`` patterns?"""
    return status in patterns or f"{status // 100}xx" in patterns


class RetryOptions(ComponentConfig):
    """When and how often a failed event is tried again."""

    on: tuple[RetryCause, ...] = Field(
        ("network", "timeout", "error", 408, 425, 429, "5xx"),
        description="What is tried again: network, timeout, error (any other exception of the sink), status codes and "
        "classes. 501 and 505 are only meant when named.",
    )
    initial: Duration = Field(0.1, gt=0, description="Wait before the second attempt.")
    max: Duration = Field(30.0, gt=0, description="Longest wait between two attempts.")
    max_asked: Duration = Field(300.0, ge=0, description="Longest wait a peer may ask for (Retry-After).")
    max_attempts: int = Field(
        10,
        ge=1,
        description="Attempts of one event, counted only while other events of the sink succeed; then it is given up. "
        "An outage is waited out without limit.",
    )


class BatchOptions(ComponentConfig):
    """Several events in one request, for sinks that can."""

    size: int = Field(1, ge=1, le=10_000, description="Events in a batch at most.")
    bytes: Size = Field(1 << 20, gt=0, description="Bytes of the bodies in a batch at most; a longer one goes alone.")
    every: Duration = Field(0.0, ge=0, description="How long an event waits for its batch to fill.")
    as_: Literal["array", "ndjson", "lines"] = Field("array", alias="as", description="How the batch is written.")


class BufferOptions(ComponentConfig):
    """How much a sink may have waiting in the stream."""

    max_bytes: Size = Field(1 << 30, ge=1 << 12, description="Bytes of unsettled events at most.")
    when_full: Literal["block", "drop_oldest", "drop_newest"] = Field(
        "block", description="block holds the rules, and so the sources; the others drop, counted, for this sink alone."
    )


class PartOptions(ComponentConfig):
    """What the engine does for every source, connector, rule and sink."""

    enable: bool = Field(
        True,
        description="false: it stays in the file and does nothing. A disabled sink keeps what it has waiting and is "
        "given nothing more; the sinks of a disabled connector drop what they are given, counted.",
    )


class SinkOptions(PartOptions):
    """What the engine does for every sink, whatever its type."""

    order: Literal["key", "none"] = Field("key", description="key: events of one key arrive in order, one at a time.")
    key: str | None = Field(None, description="Template of the order key; default is the client id, else the topic.")
    ttl: Duration | None = Field(
        None, gt=0, description="Age at which an undelivered event is dropped; none by default."
    )
    retry: RetryOptions = Field(default_factory=RetryOptions, description="When and how often to try again.")
    on_error: str = Field(
        "dead_letter", description="What becomes of an event given up: dead_letter, drop, or the name of another sink."
    )
    rate: str | None = Field(
        None,
        description="Most events per time, such as 50/s; more wait.",
        examples=["50/s"],
        json_schema_extra={"pattern": RATE},
    )
    batch: BatchOptions = Field(default_factory=BatchOptions, description="Several events in one request.")
    inflight: int = Field(100, ge=1, le=100_000, description="Events being delivered at one time, at most.")
    buffer: BufferOptions = Field(default_factory=BufferOptions, description="How much may wait in the stream.")

    @field_validator("key")
    @classmethod
    def _parses(cls, value: str | None) -> str | None:
        if value is not None:
            Template(value)
        return value

    @field_validator("rate")
    @classmethod
    def _is_a_rate(cls, value: str | None) -> str | None:
        if value is not None and not re.match(RATE, value):
            raise ValueError("write a number and s, m or h, such as 50/s")
        if value is not None and float(value.split("/")[0]) <= 0:
            raise ValueError("a rate must be more than 0")
        return value


class StreamOptions(ComponentConfig):
    """The stream between the stages."""

    url: str | None = Field(
        None,
        description="embedded:///directory (the default, under the user's state directory), embedded://memory, or "
        "kafka://host:port.",
    )
    sync: Literal["normal", "full"] = Field(
        "normal", description="normal survives the end of the process, full (fsync) a power cut too."
    )
    max_bytes: Size = Field(64 << 20, ge=1 << 16, description="Unprocessed input in the stream at most.")
    min_free_disk: Size = Field(128 << 20, description="Free space on the disk below which nothing more is taken in.")
    max_event_bytes: Size = Field(1 << 20, ge=1 << 10, description="Largest event; larger ones are rejected, counted.")
    dead_letter_bytes: Size = Field(
        256 << 20, ge=1 << 16, description="Dead letters kept at most; the oldest go first."
    )


class TokenOptions(ComponentConfig):
    """A token of the API, sent as ``Authorization: Bearer …``."""

    token: SecretStr = Field(min_length=16, description="The token, 16 characters or more; best from a file.")
    role: Literal["viewer", "admin"] = Field("viewer", description="viewer: look. admin: change, test and send, too.")


class ApiTlsOptions(ComponentConfig):
    """Certificate and key of the API."""

    cert: Path = Field(description="The certificate, with its chain (PEM).")
    key: Path = Field(description="The certificate's key (PEM).")


class ApiOptions(ComponentConfig):
    """The HTTP endpoint: health, metrics, the management API and the dashboard."""

    listen: str = Field("127.0.0.1:8080", description="Address and port. Off unless the section is there.")
    users: Path | None = Field(
        None,
        description="File of users, one `name:hash` a line, written by `headrace passwd`. Read again when changed. "
        "Needed, or `tokens`, on other than loopback addresses.",
    )
    admins: tuple[str, ...] = Field((), description="Users who may change things; the others may look.")
    tokens: dict[str, TokenOptions] = Field({}, description="Tokens for programs, by a name for the audit log.")
    read_only: bool = Field(False, description="Refuse changes of the configuration; `run --read-only` does so, too.")
    prefix: str = Field(
        "", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="Path that every address begins with, behind a proxy."
    )
    hosts: tuple[str, ...] = Field(
        (), description="Names of this API beside this machine's own; matters where there are no users and no tokens."
    )
    tls: ApiTlsOptions | None = Field(None, description="Speak HTTPS.")

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, port = split_address(value)
        if not host or (":" in host and not value.startswith("[")) or not 0 <= port <= 65535:
            raise ValueError("write host:port, such as 127.0.0.1:8080 or [::1]:8080")
        return value

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if not (is_loopback(split_address(self.listen)[0]) or self.users or self.tokens):
            raise ValueError(f"{self.listen} can be reached from other machines: give `users` or `tokens`")
        return self


class TracingOptions(ComponentConfig):
    """Spans for an OpenTelemetry collector; needs the extra ``otel``."""

    endpoint: str = Field(
        "http://127.0.0.1:4318/v1/traces",
        pattern=r"^https?://[^/]",
        description="Where a collector takes traces: OTLP over HTTP, in binary.",
    )
    headers: dict[str, SecretStr] = Field({}, description="Headers for the collector, such as Authorization.")
    sample: float = Field(
        0.01, ge=0, le=1, description="Share of the events that are traced, of those that bring no traceparent."
    )
    follow: bool = Field(
        True,
        description="Trace the events whose traceparent says so, and no others that bring one; false: who sends an "
        "event has no say.",
    )
    service: str | None = Field(None, description="service.name of the spans; default is the pipeline's name.")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        try:
            found = find_spec("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise ValueError("OpenTelemetry is not installed: pip install 'headrace[otel]'")
        return self


class PluginOptions(ComponentConfig):
    """Which plugins may be loaded."""

    allow: tuple[str, ...] | None = Field(None, description="Only these plugins are imported.")
    deny: tuple[str, ...] = Field((), description="These plugins are not imported.")


NAME = r"^[0-9a-zA-Z][-0-9a-zA-Z_]{0,253}$"
"""What pipelines, sources, connectors, rules and sinks may be called."""
NAME_RULE = "letters, digits, '-' and '_', beginning with a letter or digit, 254 at most"


class RuleOptions(PartOptions):
    """From which events, through which transforms, to which sinks. ``sql: …`` is short for one transform."""

    transforms: tuple[dict[str, Any], ...] = Field(
        (), description="Steps in order, each a map with its type. One step may be written as its type and text: sql: …"
    )
    to: tuple[str, ...] = Field((), description="The sink, or a list of sinks, that get the result.")
    sources: tuple[str, ...] | None = Field(None, description="Read only from these sources; default is all.")


class PipelineOptions(ComponentConfig):
    """The top level of a configuration, beside the maps ``sources``, ``connectors``, ``rules`` and ``sinks``."""

    name: str | None = Field(
        None,
        json_schema_extra={"pattern": NAME},
        description="Name of the pipeline: its log's directory, its MQTT client id, its Kafka prefix. Default is the "
        "file's stem and 6 hex digits of its path.",
    )
    include: tuple[str, ...] = Field(
        (), description="More files, directories or patterns, relative to this file. Names may be given only once."
    )
    shutdown_timeout: Duration = Field(
        20.0, ge=0, description="How long a stop may take to deliver what is under way; the rest stays in the stream."
    )
    stream: StreamOptions = Field(default_factory=StreamOptions, description="The stream between the stages.")
    api: ApiOptions | None = Field(
        None, description="The HTTP endpoint for health, metrics and status; off by default."
    )
    tracing: TracingOptions | None = Field(None, description="OpenTelemetry traces; off by default.")
    plugins: PluginOptions = Field(default_factory=PluginOptions, description="Which plugins may be loaded.")

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not re.match(NAME, value):
            raise ValueError(f"should be {NAME_RULE}")
        return value


@dataclass(frozen=True)
class SourceSpec:
    """One entry of ``sources:``. ``cls`` is None when its plugin is broken; ``broken`` says why."""

    name: str
    cls: type[Source[Any]] | None
    config: ComponentConfig | None
    broken: str | None = None
    enable: bool = True


@dataclass(frozen=True)
class ConnectorSpec:
    """One entry of ``connectors:``, or the inline connection of a sink (then it has the sink's name)."""

    name: str
    cls: type[Connector[Any]] | None
    config: ComponentConfig | None
    broken: str | None = None
    inline: bool = False
    enable: bool = True


@dataclass(frozen=True)
class SinkSpec:
    """One entry of ``sinks:``. ``connector`` names an entry of ``connectors`` or ``inline_connectors``."""

    name: str
    cls: type[Sink[Any]] | None
    config: ComponentConfig | None
    options: SinkOptions = field(default_factory=SinkOptions)
    connector: str | None = None
    broken: str | None = None


@dataclass(frozen=True)
class TransformSpec:
    """One step of a rule."""

    cls: type[Transform[Any]] | None
    config: ComponentConfig | None
    broken: str | None = None


@dataclass(frozen=True)
class RuleSpec:
    """One entry of ``rules:``. ``sources`` None means all."""

    name: str
    transforms: tuple[TransformSpec, ...]
    sinks: tuple[str, ...]
    sources: tuple[str, ...] | None = None
    enable: bool = True


@dataclass(frozen=True)
class PipelineSpec:
    """A whole configuration, checked: what ``run`` runs and ``lint`` lints."""

    name: str
    sources: dict[str, SourceSpec] = field(default_factory=dict)
    connectors: dict[str, ConnectorSpec] = field(default_factory=dict)
    inline_connectors: dict[str, ConnectorSpec] = field(default_factory=dict)
    rules: dict[str, RuleSpec] = field(default_factory=dict)
    sinks: dict[str, SinkSpec] = field(default_factory=dict)
    stream: StreamOptions = field(default_factory=StreamOptions)
    api: ApiOptions | None = None
    tracing: TracingOptions | None = None
    plugins: PluginOptions = field(default_factory=PluginOptions)
    shutdown_timeout: float = 20.0
    state_dir: Path | None = None
    """Directory of the embedded log, resolved; None for embedded://memory. The status socket stands beside it."""
