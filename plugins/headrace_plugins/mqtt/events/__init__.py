"""Client events made of what brokers and devices publish about themselves: the option ``events`` of ``mqtt``."""

from __future__ import annotations

from collections.abc import Callable

from headrace_plugins.mqtt.events.base import Adapter, Derived
from headrace_plugins.mqtt.events.emqx import Emqx
from headrace_plugins.mqtt.events.mosquitto import Mosquitto
from headrace_plugins.mqtt.events.nanomq import NanoMq
from headrace_plugins.mqtt.events.options import EventsOptions
from headrace_plugins.mqtt.events.republished import Republished
from headrace_plugins.mqtt.events.will import Will

__all__ = ["Adapter", "Derived", "EventsOptions", "adapter_of"]


def adapter_of(options: EventsOptions) -> Adapter:
    """What reads the events of that source."""
    if options.source == "will":
        return Will(options.status, sparkplug="status" not in options.model_fields_set)
    if options.republished:
        return Republished(options.republished)
    brokers: dict[str, Callable[[], Adapter]] = {"emqx": Emqx, "mosquitto": Mosquitto, "nanomq": NanoMq}
    return brokers[options.source]()
