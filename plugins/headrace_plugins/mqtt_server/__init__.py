"""Devices speak MQTT straight to headrace: an endpoint that takes messages in. It is no broker: it sends none."""

from __future__ import annotations

from headrace import hookimpl
from headrace_plugins.mqtt_server.source import MqttServer


@hookimpl
def register_sources() -> list[type[MqttServer]]:
    return [MqttServer]
