"""The source ``mqtt``."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from headrace import Ack, Batch, Event, NotConnected, Offer, Source
from headrace.topics import matches
from headrace_plugins._mqtt.clientevents import wanted
from headrace_plugins._mqtt.intake import Intake
from headrace_plugins._mqtt.messages import COLUMNS, message, message_base
from headrace_plugins.mqtt.clientid import ClientId, parse_mapping
from headrace_plugins.mqtt.config import MqttConfig
from headrace_plugins.mqtt.dropped import Dropped
from headrace_plugins.mqtt.events import Derived, adapter_of
from headrace_plugins.mqtt.rivals import Rivals
from headrace_plugins.mqtt.subscriptions import (
    DROPPED,
    Copies,
    Remembered,
    granted,
    meeting,
    of_group,
    overlapping,
    without_covered,
)

if TYPE_CHECKING:  # paho is imported when a source opens
    from paho.mqtt.reasoncodes import ReasonCode

    from headrace_plugins.mqtt.client import PahoClient
    from headrace_plugins.mqtt.link import Derive, Link, Lost

BETWEEN_CONNECTS = 1.0
"""Seconds from one accepted connection to the next, at least: two clients of one id would chase each other."""

ANSWERS_WITHIN = 2.0
"""Seconds in which a broker shows what it thinks of a subscription."""


class Mqtt(Source[MqttConfig]):
    """Subscribe at an MQTT broker. A message of QoS 1 or 2 is acknowledged when the stream has it.

    The session at the broker is durable: what is published while headrace is away is sent when it is back.
    """

    name: ClassVar[str] = "mqtt"
    counts: ClassVar = {
        "broker.dropped": "messages Mosquitto says it has dropped, of any of its clients",
        "dropped.shutdown": "messages of QoS 0 that were read and not taken in at the end",
    }

    _intake: Intake | None = None
    _link: Link | None = None  # the newest the broker agreed to, alive or not
    _version: str | None = None
    _last_connect = float("-inf")
    _watch = False

    @classmethod
    def offers(cls, config: MqttConfig) -> Offer | None:
        if config.events is not None:
            return None  # which columns they have differs from broker to broker
        columns = COLUMNS | {"clientid"} if config.clientid else COLUMNS
        return Offer(columns, tuple(of_group(each)[1] for each in config.topics) if config.topics else None)

    async def open(self) -> None:
        if self._intake is None:
            self._prepare()
        if self._link is not None and self._link.lost is None:
            return
        pause = self._rivals.pause(time.monotonic(), BETWEEN_CONNECTS)
        await asyncio.sleep(self._last_connect + pause - time.monotonic())
        link = await self._connect()
        self._last_connect = time.monotonic()
        joining = asyncio.ensure_future(self._join(link))
        try:
            await asyncio.wait([joining, link.full], return_when=asyncio.FIRST_COMPLETED)
            if joining.done():
                joining.result()
                return
        except BaseException:
            joining.cancel()
            link.close()
            raise
        # the broker's answer is behind more messages than we hold: the engine has to read before it can come
        link.on_lost = self._lost
        joining.add_done_callback(lambda task: self._joined_late(link, task))

    async def _join(self, link: Link) -> None:
        """Subscribe, and tell what is not as it should be."""
        problems = await self._subscribe(link)
        link.on_lost = self._lost
        if link.ended is not None:  # since the answer came
            self._lost(link.ended)
            return
        if rival := self._rivals.problem(time.monotonic()):
            problems.append(rival)
        self._tell(link, problems)

    def _joined_late(self, link: Link, joining: asyncio.Future[None]) -> None:
        if not joining.cancelled() and (error := joining.exception()) is not None and link.ended is None:
            link.fail(str(error))

    def _tell(self, link: Link, problems: list[str]) -> None:
        where = f"{self.config.url}, MQTT {'5' if link.version == 5 else '3.1.1'}"
        if problems:
            self.log.warning("%s: %s", where, "; ".join(problems))
            self.ctx.status.set("degraded", f"{where}: {'; '.join(problems)}")
        else:
            self.log.info("connected to %s", where)
            self.ctx.status.set("running", where)

    def _lost(self, lost: Lost) -> None:
        assert self._intake is not None
        assert self._link is not None
        now, accepted_at = time.monotonic(), self._link.accepted_at or 0.0
        if lost.closed and now - self._watched_at < ANSWERS_WITHIN:
            self._watch = False  # some brokers end the connection of who asks for what is not his
        why = str(lost.error)
        if rival := self._rivals.lost(lost.taken_over, lost.closed, accepted_at, now):
            why = f"{why}; {rival}"
        self.log.warning("%s", why)
        self.ctx.status.set("connecting", why)  # now, for nobody may read at the moment
        self._intake.end(NotConnected(why))

    def _prepare(self) -> None:
        config = self.config
        self._intake = Intake(config.buffer, config.buffer)
        self._base = message_base(f"{self.ctx.pipeline}@{platform.node()}", {})
        self._clientid: ClientId | None = parse_mapping(config.clientid) if config.clientid else None
        self._client_id = config.client_id or f"headrace-{self.ctx.pipeline}-{self.ctx.name}"
        self._rivals = Rivals(self._client_id)
        self._choose(self.ctx.filters)
        path = self.ctx.state_dir and self.ctx.state_dir / "mqtt" / f"{self.ctx.name}.json"
        self._remembered = Remembered(path, f"{config.url} {self._client_id}")
        self._watch = config.watch_dropped
        self._watched_at = float("-inf")
        self._dropped = Dropped(path and path.with_suffix(".dropped"), config.url)
        from headrace_plugins.mqtt import client

        self._client: type[PahoClient] = client.BulkClient
        if why := client.unfit():
            self.log.warning("reading with stock paho, which is slower and takes QoS 2 as QoS 1: %s", why)
            self._client = client.StockClient

    def _prepare_events(self, messages: Iterable[str], read: Iterable[str]) -> list[str]:
        """What to subscribe to for the client events that rules read."""
        self._derive: Derive | None = None
        options, asked = self.config.events, wanted(read)
        if options is None or not asked:
            return []
        adapter = adapter_of(options)
        filters = adapter.filters(asked)
        node = f"{self.ctx.pipeline}@{platform.node()}"
        derived = Derived(adapter, asked, self._client_id, node, snapshots=options.snapshots)
        plain = tuple(messages)

        def derive(topic: str, payload: bytes, retained: bool, now: int) -> tuple[list[Event], bool]:
            if not any(matches(filter, topic) for filter in filters):
                return [], False
            return derived(topic, payload, retained, now), not any(matches(filter, topic) for filter in plain)

        self._derive = derive
        return filters

    def _choose(self, read: Iterable[str]) -> None:
        """What to subscribe to, of what rules read."""
        config = self.config
        messages = config.topics or _of_messages(read)
        about = self._prepare_events(messages, read)
        if config.share:
            shared = [f"$share/{config.share}/{one}" for one in without_covered(messages)]
            self._filters = (*shared, *without_covered(about))
        else:
            self._filters = without_covered([*messages, *about])
        self._overlap = overlapping(self._filters)

    async def refilter(self, filters: tuple[str, ...]) -> bool:
        link = self._link
        if self._intake is None or link is None or link.lost is not None:
            return False  # it is not connected: another one begins with these
        before, overlapped = self._filters, self._overlap
        self._choose(filters)
        if self._overlap != overlapped or self._derive is not None:
            return False  # which message came by which subscription, and why, is settled when they are made
        gone = [filter for filter in before if filter not in self._filters]
        answers = await self._exchange(link, [filter for filter in self._filters if filter not in before], gone)
        if not self._overlap:
            link.copies = None
        refused = self._answered(answers)
        self._keep([filter for filter in self._filters if filter not in refused])
        if problems := self._problems(link, answers, refused):
            self.log.warning("%s", "; ".join(problems))
            self.ctx.status.set("degraded", "; ".join(problems))
        return True

    async def _connect(self) -> Link:
        from headrace_plugins.mqtt.link import NoAnswer, WrongVersion

        version = self.config.version or self._version or "5"
        try:
            return await self._connect_as(version)
        except (WrongVersion, NoAnswer) as error:
            if self.config.version or version != "5" or self._link is not None:
                raise
            self.log.info("%s; trying 3.1.1", error)
            link = await self._connect_as("3.1.1")
            if isinstance(error, WrongVersion):
                self._version = "3.1.1"
            return link

    async def _connect_as(self, version: str) -> Link:
        from headrace_plugins.mqtt.link import Link

        assert self._intake is not None
        link = Link(self.config, self._client, self._client_id, version == "5", self._intake, self._make, self._link)
        link.derive = self._derive
        if self._overlap or overlapping(self._remembered.filters):
            link.copies = Copies()  # what waited for us may be on its way before we subscribe
        try:
            await link.connect()
        except BaseException:
            link.close()
            raise
        finally:
            if link.accepted_at is not None:
                self._link = link
        return link

    async def _subscribe(self, link: Link) -> list[str]:
        """Subscribe; what is not as it should be. NotConnected if the broker refuses everything."""
        had = self._remembered.filters if link.session_present else ()
        gone = [filter for filter in had if filter not in self._filters]
        # subscribed again, 3.1.1 would send the retained messages again
        again = link.version == 5 or self.config.retained == "all"
        wanted = [filter for filter in self._filters if again or filter not in had]
        answers = await self._exchange(link, wanted, gone)
        if not self._overlap and not overlapping(had):  # of what waited for us, there may be copies for long
            link.copies = None
        refused = self._answered(answers)
        if refused and len(refused) == len(self._filters):
            raise NotConnected(f"{self.config.url} refuses to send {_list(refused)}")
        self._keep([filter for filter in self._filters if filter not in refused])
        self._watch_dropped(link)
        return self._problems(link, answers, refused)

    def _answered(self, answers: Mapping[str, ReasonCode]) -> dict[str, ReasonCode]:
        """Show what became of the subscriptions. Returns those that the broker refused."""
        known = {each["filter"]: each for each in self.ctx.status.facts.get("subscriptions", ())}
        told = {filter: granted(filter, self.config.qos, reason) for filter, reason in answers.items()}
        # one that was not asked for again is in the session, as the broker granted it then
        self.ctx.status.facts["subscriptions"] = [
            told.get(filter) or known.get(filter) or granted(filter, self.config.qos) for filter in self._filters
        ]
        return {filter: reason for filter, reason in answers.items() if reason.is_failure}

    async def _exchange(self, link: Link, wanted: Sequence[str], gone: Sequence[str]) -> Mapping[str, ReasonCode]:
        """Subscribe to these, then end those: of topics they share, no message is missed meanwhile, or comes twice."""
        replacing = meeting(wanted, gone) if link.identifies else []
        identify = {*self._overlap, *replacing} if link.identifies else frozenset()
        if identify and link.copies is None:
            link.copies = Copies()
        if link.copies is not None:
            link.copies.replacing = bool(replacing)
        answers = await link.subscribe(wanted, self.config.qos, identify=identify)
        if gone:
            await link.unsubscribe(gone)
        if link.copies is not None:
            link.copies.replacing = False
        return answers

    def _problems(self, link: Link, answers: Mapping[str, ReasonCode], refused: Mapping[str, ReasonCode]) -> list[str]:
        problems = [f"the broker refuses to send {_list(refused)}"] if refused else []
        less = {f: reason for f, reason in answers.items() if f not in refused and reason.value < self.config.qos}
        if less:
            problems.append(f"the broker grants less than QoS {self.config.qos} for {_list(less)}")
        if self._overlap and not link.identifies:
            self.log.warning("%s overlap: some brokers send a message once for each", ", ".join(self._overlap))
        if self.config.share and not link.shares:
            problems.append("the broker knows no shared subscriptions: `share` cannot work")
        return problems

    def _keep(self, granted: list[str]) -> None:
        try:
            self._remembered.keep(granted)
        except OSError as error:
            self.ctx.status.error(f"cannot write which subscriptions there are: {error}")

    def _watch_dropped(self, link: Link) -> None:
        if any(matches(filter, DROPPED) for filter in self._filters):
            return  # then it is an event like any other
        link.on_dropped = self._count_dropped
        if self._watch:
            self._watched_at = time.monotonic()
            link.ask(DROPPED)

    def _count_dropped(self, payload: bytes) -> None:
        """Mosquitto tells how many messages it has dropped since its start, of all its clients."""
        if not payload.isdigit():
            return
        if n := self._dropped.grown(int(payload)):
            self.ctx.metrics.add("broker.dropped", n)
            text = f"the broker dropped {n} messages for one or more of its clients: see max_queued_messages"
            self.log.warning("%s: %s", self.config.url, text)
            self.ctx.status.error(text)

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
            self._link.on_lost = lambda lost: None
            self._link.close()
        if self._intake is not None:
            lost = sum(event["qos"] == 0 for event in self._intake.drain())
            if lost:
                self.ctx.metrics.add("dropped.shutdown", lost)
        self.ctx.status.set("stopped")


def _of_messages(filters: Iterable[str]) -> list[str]:
    return [filter for filter in filters if not filter.startswith(("$events/", "$bridges/", "$sources/"))]


def _list(answers: Mapping[str, ReasonCode]) -> str:
    return ", ".join(f"{filter} ({reason})" for filter, reason in answers.items())
