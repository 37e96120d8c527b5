"""Decoders of what devices and gateways send: a transform, and functions for SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headrace import hookimpl
from headrace_plugins.decode import devices
from headrace_plugins.decode.sparkplug import sparkplug
from headrace_plugins.decode.transform import Decode


@hookimpl
def register_transforms() -> list[type[Decode]]:
    return [Decode]


@hookimpl
def register_functions() -> Mapping[str, Callable[..., Any]]:
    return {
        "sparkplug_decode": sparkplug,
        "tasmota_decode": devices.tasmota,
        "ttn_decode": devices.ttn,
        "zigbee2mqtt_decode": devices.zigbee2mqtt,
    }
