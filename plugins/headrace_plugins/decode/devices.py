"""What The Things Stack, Tasmota and Zigbee2MQTT send, as columns of one kind each."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from headrace_plugins.decode.values import as_json

__all__ = ["tasmota", "ttn", "zigbee2mqtt"]

_UPLINK = "uplink_message"


def ttn(payload: Any) -> dict[str, Any]:
    """A message of The Things Stack v3: device, port, counter, bytes, decoded fields, and the gateway that heard best.

    ``kind`` is what it tells: ``uplink_message``, ``join_accept``, ``downlink_ack`` and so on.
    """
    message = _map(as_json(payload), "a message of The Things Stack")
    ids = message.get("end_device_ids")
    if not isinstance(ids, dict) or "device_id" not in ids:
        raise ValueError("no message of The Things Stack v3: there is no end_device_ids.device_id")
    columns = {
        "kind": next((key for key in message if key.endswith(("_message", "_accept")) or "downlink" in key), "other"),
        "device_id": ids["device_id"],
        "application_id": _inner(ids, "application_ids").get("application_id"),
        "dev_eui": ids.get("dev_eui"),
        "dev_addr": ids.get("dev_addr"),
        "received_at": message.get("received_at"),
        "simulated": message.get("simulated", False),
    }
    uplink = message.get(_UPLINK)
    if isinstance(uplink, dict):
        columns |= _uplink(uplink)
    return columns


def _uplink(uplink: dict[str, Any]) -> dict[str, Any]:
    raw = uplink.get("frm_payload", "")
    try:
        frame = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("uplink_message.frm_payload is not base64") from None
    return {
        "f_port": uplink.get("f_port"),
        "f_cnt": uplink.get("f_cnt", 0),  # protobuf leaves a zero out
        "frm_payload": frame,
        "decoded": _inner(uplink, "decoded_payload"),
        "rx": _best(uplink.get("rx_metadata")),
        "settings": _inner(uplink, "settings"),
    }


def _best(receptions: Any) -> dict[str, Any]:
    """The reception with the strongest signal, and how many gateways there were."""
    heard = [each for each in receptions if isinstance(each, dict)] if isinstance(receptions, list) else []
    if not heard:
        return {"gateways": 0}
    best = max(heard, key=lambda each: each["rssi"] if isinstance(each.get("rssi"), int | float) else -1000)
    return {
        "gateways": len(heard),
        "gateway_id": _inner(best, "gateway_ids").get("gateway_id"),
        "rssi": best.get("rssi"),
        "snr": best.get("snr"),
    }


_PREFIXES = ("tele", "stat", "cmnd")


def tasmota(topic: str, payload: Any) -> dict[str, Any]:
    """A message of Tasmota: device, prefix (tele, stat, cmnd), kind (SENSOR, STATE, LWT, …), and its values.

    Both orders of the levels are known, ``tele/DEVICE/SENSOR`` and ``DEVICE/tele/SENSOR``.
    """
    levels = topic.split("/")
    at = next((i for i, level in enumerate(levels[:-1]) if level in _PREFIXES), None)
    if at is None or len(levels) < 3:
        raise ValueError(f"{topic!r} is no topic of Tasmota: it has no level tele, stat or cmnd before the last")
    device = levels[1:-1] if at == 0 else levels[:at]
    columns: dict[str, Any] = {"device": "/".join(device), "prefix": levels[at], "kind": levels[-1]}
    value = _lenient(payload)
    if columns["kind"] == "LWT":
        return columns | {"online": value == "Online"}
    if not isinstance(value, dict):
        return columns | {"values": {levels[-1]: value}}
    return columns | {"time": value.get("Time"), "values": {key: each for key, each in value.items() if key != "Time"}}


_ASIDE = ("availability", "set", "get")


def zigbee2mqtt(topic: str, payload: Any) -> dict[str, Any]:
    """A message of Zigbee2MQTT: device, kind (state, availability, set, get, bridge), and its values.

    The base topic is one level; a device's name may have several.
    """
    _, slash, name = topic.partition("/")
    if not slash or not name:
        raise ValueError(f"{topic!r} is no topic of Zigbee2MQTT: there is no device in it")
    value = _lenient(payload)
    if name.startswith("bridge/"):
        what = name.removeprefix("bridge/")
        columns = {"kind": "bridge", "what": what, "values": value}
        return columns | ({"online": _state(value) == "online"} if what == "state" else {})
    device, slash, last = name.rpartition("/")
    if not slash or last not in _ASIDE:
        values = _map(value, "the state of a Zigbee2MQTT device")
        return {"device": name, "kind": "state", "values": values, **_health(values)}
    if last == "availability":
        return {"device": device, "kind": last, "online": _state(value) == "online"}
    return {"device": device, "kind": last, "values": value}


def _health(values: dict[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in ("linkquality", "battery", "last_seen") if key in values}


def _state(value: Any) -> Any:
    """``online`` or ``offline``: plain, as it was once, or ``{"state": …}``."""
    return value.get("state") if isinstance(value, dict) else value


def _lenient(payload: Any) -> Any:
    """JSON, or the text itself: ``ON``, ``Online``."""
    try:
        return as_json(payload)
    except ValueError:
        if isinstance(payload, str):
            return payload
        raise


def _map(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is a JSON object, not {type(value).__name__}")
    return value


def _inner(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
