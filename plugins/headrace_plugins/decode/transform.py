"""The transform ``decode``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, field_validator

from headrace import Batch, ComponentConfig, Context, Inputs, Output, Transform
from headrace.topics import TopicFilters
from headrace_plugins.decode import devices, values
from headrace_plugins.decode.sparkplug import Aliases, sparkplug

Format = Literal["json", "raw", "msgpack", "cbor", "sparkplug", "ttn", "tasmota", "zigbee2mqtt"]
_TOPICS: dict[str, tuple[str, ...]] = {
    "sparkplug": ("spBv1.0/#",),
    "ttn": ("v3/+/devices/+/#",),
    "tasmota": ("tele/#", "stat/#"),
    "zigbee2mqtt": ("zigbee2mqtt/#",),
}


class DecodeConfig(ComponentConfig):
    """Options of ``decode``."""

    format: Format = Field(
        description="What the payload is. json, msgpack and cbor decode it; raw makes base64 of it; the others add "
        "columns: sparkplug (B), ttn (The Things Stack v3), tasmota, zigbee2mqtt."
    )
    topics: TopicFilters | None = Field(
        None, description="Topic filters of the messages to decode; default: those the format has, else all."
    )

    @field_validator("format")
    @classmethod
    def _is_installed(cls, value: str) -> str:
        if value == "cbor":
            values.needs_cbor()
        return value


class Decode(Transform[DecodeConfig]):
    """Decode payloads that are not JSON, and name what is in messages of known shapes.

    The message keeps its columns; the payload is replaced by what was decoded, or columns are added.
    """

    name = "decode"

    def __init__(self, config: DecodeConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        aliases = Aliases()
        makers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "json": lambda columns: {"payload": values.as_json(columns.get("payload"))},
            "raw": lambda columns: {"payload": values.base64_text(columns.get("payload"))},
            "msgpack": lambda columns: {"payload": values.message_pack(columns.get("payload"))},
            "cbor": lambda columns: {"payload": values.cbor(columns.get("payload"))},
            "sparkplug": lambda columns: sparkplug(str(columns.get("topic")), columns.get("payload"), aliases),
            "ttn": lambda columns: devices.ttn(columns.get("payload")),
            "tasmota": lambda columns: devices.tasmota(str(columns.get("topic")), columns.get("payload")),
            "zigbee2mqtt": lambda columns: devices.zigbee2mqtt(str(columns.get("topic")), columns.get("payload")),
        }
        self._make = makers[config.format]

    def inputs(self) -> Inputs:
        return Inputs(self.config.topics or _TOPICS.get(self.config.format, ("#",)))

    def process(self, batch: Batch) -> Output:
        rows: list[tuple[int, dict[str, Any]]] = []
        exceptions: dict[int, Exception] = {}
        for i, event in enumerate(batch):
            try:
                rows.append((i, {**event.columns, **self._make(event.columns)}))
            except ValueError as error:
                exceptions[i] = error
        return Output(rows, (), exceptions)
