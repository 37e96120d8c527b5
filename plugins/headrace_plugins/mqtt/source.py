"""The source ``mqtt``."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from headrace import Ack, Batch, Event, NotConnected, Source, topics
from headrace_plugins._mqtt.intake import Intake
from headrace_plugins._mqtt.messages import message, message_base
from headrace_plugins.mqtt.clientid import ClientId, parse_mapping
from headrace_plugins.mqtt.config import MqttConfig

if TYPE_CHECKING:  # paho is imported when a source opens
    from paho.mqtt.reasoncodes import ReasonCode

    from headrace_plugins.mqtt.client import PahoClient
    from headrace_plugins.mqtt.link import Link

BETWEEN_CONNECTS = 1.0
"""Seconds from one accepted connection to the next, at least: two clients of one id would chase each other."""


class Mqtt(Source[MqttConfig]):
    """Subscribe at an MQTT broker. A message of QoS 1 or 2 is acknowledged when the stream has it.

    The session at the broker is durable: what is published while headrace is away is sent when it is back.
    """

    name: ClassVar[str] = "mqtt"

    _intake: Intake | None = None
    _link: Link | None = None  # the newest the broker agreed to, alive or not
    _version: str | None = None
    _subscribed: tuple[str, ...] | None = None
    _last_connect = float("-inf")

    async def open(self) -> None:
        if self._intake is None:
            self._prepare()
        if self._link is not None and self._link.lost is None:
            return
        await asyncio.sleep(self._last_connect + BETWEEN_CONNECTS - time.monotonic())
        link = await self._connect()
        self._last_connect = time.monotonic()
        try:
            problems = await self._subscribe(link)
            if link.lost is not None:  # in the very read that brought the answer
                raise NotConnected(f"{self.config.url}: {link.lost}")
        except BaseException:
            link.close()
            raise
        link.on_lost = self._lost
        where = f"{self.config.url}, MQTT {self._version}"
        if problems:
            self.log.warning("%s: %s", where, "; ".join(problems))
            self.ctx.status.set("degraded", f"{where}: {'; '.join(problems)}")
        else:
            self.log.info("connected to %s", where)
            self.ctx.status.set("running", where)

    def _lost(self, error: NotConnected) -> None:
        assert self._intake is not None
        self.log.warning("%s", error)
        self.ctx.status.set("connecting", str(error))  # now, for nobody may read at the moment
        self._intake.end(error)

    def _prepare(self) -> None:
        self._intake = Intake(self.config.buffer, self.config.buffer)
        self._base = message_base(f"{self.ctx.pipeline}@{platform.node()}", {})
        self._clientid: ClientId | None = parse_mapping(self.config.clientid) if self.config.clientid else None
        self._filters = without_covered(self.config.topics or _of_messages(self.ctx.filters))
        from headrace_plugins.mqtt import client

        self._client: type[PahoClient] = client.BulkClient
        if why := client.unfit():
            self.log.warning("reading with stock paho, which is slower and takes QoS 2 as QoS 1: %s", why)
            self._client = client.StockClient

    async def _connect(self) -> Link:
        from headrace_plugins.mqtt.link import WrongVersion

        version = self.config.version or self._version or "5"
        try:
            link = await self._connect_as(version)
        except WrongVersion as error:
            if self.config.version or version != "5":
                raise
            self.log.info("%s; trying 3.1.1", error)
            version = "3.1.1"
            link = await self._connect_as(version)
        self._version = version
        return link

    async def _connect_as(self, version: str) -> Link:
        from headrace_plugins.mqtt.link import Link

        assert self._intake is not None
        clientid = self.config.client_id or f"headrace-{self.ctx.pipeline}-{self.ctx.name}"
        link = Link(self.config, self._client, clientid, version == "5", self._intake, self._make, self._link)
        try:
            await link.connect()
        except BaseException:
            link.close()
            raise
        finally:
            if link.accepted:
                self._link = link
        return link

    async def _subscribe(self, link: Link) -> list[str]:
        """Subscribe; what is not as it should be. NotConnected if the broker refuses everything."""
        if link.session_present and link.version < 5 and self._subscribed == self._filters:
            return []  # again would bring the retained messages again
        answers = await link.subscribe(self._filters)
        refused = {filter: reason for filter, reason in answers.items() if reason.is_failure}
        if refused and len(refused) == len(answers):
            raise NotConnected(f"{self.config.url} refuses to send {_list(refused)}")
        self._subscribed = self._filters
        problems = [f"the broker refuses to send {_list(refused)}"] if refused else []
        less = {f: reason for f, reason in answers.items() if f not in refused and reason.value < self.config.qos}
        return problems + ([f"the broker grants less than QoS {self.config.qos} for {_list(less)}"] if less else [])

    def _make(self, topic: str, payload: bytes, header: int, found: dict[str, Any], now: int) -> Event:
        event = message(self._base, topic, topic, payload, header, found, now)
        if self._clientid is not None and (clientid := self._clientid(event)) is not None:
            event.columns["clientid"] = event.key = clientid
        return event

    async def read(self) -> tuple[Batch, Ack]:
        assert self._intake is not None
        return await self._intake.read()

    async def close(self) -> None:
        if self._link is not None:
            self._link.on_lost = lambda error: None
            self._link.close()
        if self._intake is not None:
            lost = sum(event["qos"] == 0 for event in self._intake.drain())
            if lost:
                self.ctx.metrics.add("dropped.shutdown", lost)
        self.ctx.status.set("stopped")


def _of_messages(filters: Iterable[str]) -> list[str]:
    return [filter for filter in filters if not filter.startswith(("$events/", "$bridges/", "$sources/"))]


def without_covered(filters: Iterable[str]) -> tuple[str, ...]:
    """The filters without those that another one includes, which would bring messages twice from some brokers."""
    wanted = sorted(set(filters))
    return tuple(one for one in wanted if not any(other != one and _covers(other, one) for other in wanted))


def _covers(wide: str, narrow: str) -> bool:
    if narrow.startswith("$share/") or wide.startswith("$share/"):
        return False  # a group of its own
    return topics.matches(wide, narrow) and (not narrow.endswith("#") or wide.endswith("#"))


def _list(answers: Mapping[str, ReasonCode]) -> str:
    return ", ".join(f"{filter} ({reason})" for filter, reason in answers.items())
