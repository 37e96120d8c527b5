"""The option ``events`` of ``mqtt``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from headrace import ComponentConfig
from headrace.topics import TopicFilter, TopicFilters
from headrace_plugins.mqtt.clientid import parse_mapping


class StatusTopic(ComponentConfig):
    """A topic on which devices say whether they are there, by a last will and a birth message."""

    topic: TopicFilter = Field(description="Topic filter of the messages.", examples=["plant/+/status"])
    clientid: str = Field("topic[2]", description="Which device it is: topic[2], payload.PATH or user_property.NAME.")
    path: str | None = Field(None, description="Where in a JSON payload the state is; default: `state`, if it is JSON.")
    online: tuple[str, ...] = Field(
        ("online", "1", "true", "connected", "ready", "init"),
        description="What says that a device is there, in lower case.",
    )
    offline: tuple[str, ...] = Field(
        ("offline", "0", "false", "disconnected", "lost"),
        description="What says that it is gone; anything else is no event.",
    )

    @field_validator("clientid")
    @classmethod
    def _is_mapping(cls, value: str) -> str:
        parse_mapping(value)
        return value


COMMON = (
    StatusTopic(topic="tele/+/LWT"),  # Tasmota
    StatusTopic(topic="zigbee2mqtt/+/availability"),
    StatusTopic(topic="shellies/+/online"),
    StatusTopic(topic="homie/+/$state"),
)
"""Devices that all say it alike."""


class EventsOptions(ComponentConfig):
    """Where client events come from; the name of the source alone is short for it."""

    source: Literal["emqx", "mosquitto", "nanomq", "will"] = Field(
        description="emqx, nanomq: the broker's own topics of clients; mosquitto: its log topics; will: what devices "
        "say of themselves."
    )
    republished: TopicFilters = Field(
        (),
        description="emqx: topics to which a rule of EMQX publishes its events again (`SELECT * FROM "
        '"$events/client/connected"`); read instead of its `$SYS` topics.',
        examples=[["evt/#"]],
    )
    status: tuple[StatusTopic, ...] = Field(
        COMMON,
        description="will: the topics where devices say it; default: those of Tasmota, Zigbee2MQTT, Shelly and Homie, "
        "and Sparkplug's births and deaths.",
    )
    snapshots: bool = Field(
        False,
        description="will: take retained states, which were there before headrace came, as events with `snapshot: "
        "true`; else they are none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _belong(self) -> EventsOptions:
        if self.source != "emqx" and self.republished:
            raise ValueError("`republished` is for `source: emqx`")
        if self.source != "will" and {"status", "snapshots"} & self.model_fields_set:
            raise ValueError("`status` and `snapshots` are for `source: will`")
        return self
