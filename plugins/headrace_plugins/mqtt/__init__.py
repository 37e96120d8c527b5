"""Messages of an MQTT broker."""

from __future__ import annotations

from headrace import hookimpl
from headrace_plugins.mqtt.source import Mqtt


@hookimpl
def register_sources() -> list[type[Mqtt]]:
    return [Mqtt]
