"""The transform ``presence``."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import Field, field_validator, model_validator

from headrace import Batch, ComponentConfig, Context, Duration, Event, Inputs, Output, Transform, now_ms
from headrace.components import Explanation
from headrace.topics import TopicFilters
from headrace_plugins.presence.devices import Device, Devices

_CONNECTED, _DISCONNECTED = "$events/client_connected", "$events/client_disconnected"
_NOT_GONE = frozenset(("takenover", "discarded", "session_taken_over"))  # its device has a newer connection
_WAY = re.compile(r"clientid|topic\[-?[1-9]\d*\]|payload(\.[^.\s]+)+")


class PresenceConfig(ComponentConfig):
    """Options of ``presence``."""

    events: bool = Field(True, description="Read the client events: a connection is online, its end offline.")
    topics: TopicFilters = Field(
        (), description="Topic filters of messages that are signs of life, or say online or offline themselves."
    )
    device: str = Field(
        "clientid", description="Which device it is: clientid, topic[2] (a level of the topic, from 1), payload.PATH."
    )
    online: tuple[str, ...] = Field(
        (), description="Payloads that say online, in lower case; default: any message is a sign of life."
    )
    offline: tuple[str, ...] = Field(
        ("offline", "0", "false", "lost", "disconnected"), description="Payloads that say offline, in lower case."
    )
    path: str = Field("state", description="Where in a JSON payload those words are.")
    debounce: Duration = Field(
        0.0, ge=0, description="How long a change must last to be told; what comes and goes within it is not."
    )
    silent_after: Duration | None = Field(
        None, ge=1, description="A device of which nothing was heard for so long is offline."
    )
    max_devices: int = Field(100_000, ge=1, description="Devices to know of, at most; further ones are refused.")

    @field_validator("device")
    @classmethod
    def _is_a_way(cls, value: str) -> str:
        if not _WAY.fullmatch(value):
            raise ValueError("write clientid, topic[2] or payload.PATH")
        return value

    @model_validator(mode="after")
    def _reads_something(self) -> PresenceConfig:
        if not self.events and not self.topics:
            raise ValueError("with `events: false` it needs `topics`")
        return self


class Sign(NamedTuple):
    """What an event says of a device: online, offline, or (None) only that it is alive."""

    device: str
    online: bool | None
    reason: str
    session: int


class Presence(Transform[PresenceConfig]):
    """Tell when devices come online and go offline: `device`, `online`, `at`, `reason`, `before`.

    From client events, messages, or both. A change is told when it has lasted for `debounce`. What is known of the
    devices is kept over restarts.
    """

    name = "presence"

    def __init__(self, config: PresenceConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self._debounce = int(config.debounce * 1000)
        self._silent = int(config.silent_after * 1000) if config.silent_after else 0
        self._known: Devices | None = None
        self._changes: list[tuple[int, str]] = []  # two heaps: when to look at a device again
        self._silences: list[tuple[int, str]] = []
        self._since = 0

    def inputs(self) -> Inputs:
        return Inputs(self.config.topics, (_CONNECTED, _DISCONNECTED) if self.config.events else ())

    def process(self, batch: Batch) -> Output:
        devices = self._devices()
        changed: dict[str, Device] = {}
        exceptions: dict[int, Exception] = {}
        for i, event in enumerate(batch):
            try:
                device = self._apply(devices, event)
            except ValueError as error:
                exceptions[i] = error
            else:
                if device is not None:
                    changed[device.name] = device
        devices.write(list(changed.values()))
        return Output((), [i for i in range(len(batch)) if i not in exceptions], exceptions)

    def _devices(self) -> Devices:
        if self._known is None:
            state_dir = self.ctx.state_dir
            self._known = Devices(state_dir / "presence" / f"{self.ctx.name}.jsonl" if state_dir else None)
            self._since = now_ms()
            for device in self._known.all.values():
                self._look_again(device)
        return self._known

    def _apply(self, devices: Devices, event: Event) -> Device | None:
        """Take in what an event says. The device, if that is to be kept."""
        sign = self._read(event)
        if sign is None:
            return None
        device = devices.all.get(sign.device)
        if device is None:
            if len(devices.all) >= self.config.max_devices:
                raise ValueError(f"more than {self.config.max_devices} devices: {sign.device!r} is not followed")
            device = devices.all[sign.device] = Device(sign.device)
        at = min(event.timestamp, now_ms())
        if at < device.at or (sign.online is False and sign.session and sign.session < device.session):
            return None  # of an older connection, or late
        online = sign.online is not False
        if online:
            device.seen = max(device.seen, at)
            device.session = sign.session or device.session
        if device.at and online == device.online:
            fresh = self._silent and device.seen - device.written > self._silent // 4
            return device if fresh else None
        device.online, device.at, device.reason = online, at, sign.reason
        self._look_again(device)
        return device

    def _read(self, event: Event) -> Sign | None:
        name = event.get("event", "message.publish")
        device = self._device_of(event)
        if device is None:
            raise ValueError(f"there is no device at {self.config.device}")
        reason, session = str(event.get("reason") or ""), event.get("connected_at")
        session = session if type(session) is int else 0
        if name == "client.connected":
            return Sign(device, True, reason or "connected", session)
        if name == "client.disconnected":
            return None if reason in _NOT_GONE else Sign(device, False, reason or "disconnected", session)
        said = self._said(event)
        if said in self.config.offline:
            return Sign(device, False, "message", 0)
        if self.config.online and said not in self.config.online:
            return None
        return Sign(device, True, "message", 0)

    def _device_of(self, event: Event) -> str | None:
        way = self.config.device
        found: Any = event.get("clientid")
        if way != "clientid" and event.get("event", "message.publish") == "message.publish":
            found = _level(str(event.get("topic")), way) if way.startswith("topic") else _inside(event, way)
        return str(found) if found not in (None, "") else None

    def _said(self, event: Event) -> str:
        found: Any = event.get("payload")
        try:
            decoded = event.json()
        except ValueError:
            decoded = None
        if isinstance(decoded, dict):
            found = decoded
            for step in self.config.path.split("."):
                found = found.get(step) if isinstance(found, dict) else None
        elif isinstance(found, bytes):
            found = found.decode("utf-8", "replace")
        return str(found).strip().lower()

    # -- what time brings about --------------------------------------------------------------------------------

    def _look_again(self, device: Device) -> None:
        if device.told != device.online:
            heapq.heappush(self._changes, (device.at + self._debounce, device.name))
        if device.online and self._silent and not device.watched:
            device.watched = True  # there is one entry a device at most
            heapq.heappush(self._silences, (self._silent_at(device), device.name))

    def _silent_at(self, device: Device) -> int:
        """When a device will have been silent too long. What was not heard while we were away does not count."""
        return max(device.seen, self._since) + self._silent

    def due(self, now: int) -> Sequence[Event]:
        if problem := self._devices().problem:
            self.ctx.status.error(f"what is known of devices is not kept: {problem}")
            self._devices().write(())  # try again
        self._fall_silent(now)
        devices = self._devices()
        events = []
        while self._changes and self._changes[0][0] <= now:
            device = devices.all[heapq.heappop(self._changes)[1]]
            if device.told != device.online and not device.sending and device.at + self._debounce <= now:
                device.sending = True
                events.append(self._told(device))
        return events

    def _fall_silent(self, now: int) -> None:
        devices, fallen = self._devices(), []
        while self._silences and self._silences[0][0] <= now:
            device = devices.all[heapq.heappop(self._silences)[1]]
            device.watched = False
            if device.online and (at := self._silent_at(device)) <= now:
                device.online, device.at, device.reason = False, at, "silence"
                fallen.append(device)
            self._look_again(device)
        devices.write(fallen)

    def _told(self, device: Device) -> Event:
        columns = {"device": device.name, "online": device.online, "at": device.at, "reason": device.reason}
        columns["before"] = device.at - device.told_at if device.told_at else None
        text = f"{self.ctx.pipeline}\0{self.ctx.name}\0{device.name}\0{device.online}\0{device.at}"
        id = blake2b(text.encode(), digest_size=16).hexdigest()  # the same if it is told again after a crash
        return Event(columns, id, device.name, device.at)

    def taken(self, events: Sequence[Event]) -> None:
        devices, changed = self._devices(), []
        for event in events:
            device = devices.all[event["device"]]
            device.sending = False
            device.told, device.told_at = event["online"], event["at"]
            changed.append(device)
            self._look_again(device)  # it may have changed meanwhile
        devices.write(changed)

    def explain(self, event: Event) -> Explanation:
        try:
            sign = self._read(event)
        except ValueError as error:
            return Explanation([str(error)])
        if sign is None:
            return Explanation(["it says nothing about a device"])
        said = {True: "online", False: "offline", None: "alive"}[sign.online]
        wait = f"told if that lasts for {self.config.debounce:g} s" if self._debounce else "told if that is a change"
        return Explanation([f"device {sign.device} is {said} ({sign.reason}): {wait}"])


def _level(topic: str, way: str) -> str | None:
    at, levels = int(way[6:-1]), topic.split("/")
    index = at - 1 if at > 0 else at
    return levels[index] if -len(levels) <= index < len(levels) else None


def _inside(event: Event, way: str) -> Any:
    try:
        found = event.json()
    except ValueError:
        return None
    for step in way.split(".")[1:]:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, str | int) else None
