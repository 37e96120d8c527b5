"""One connection to a broker, driven by asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from headrace import Event, NotConnected, now_ms
from headrace_plugins._mqtt.intake import Chunk, Incoming, Intake
from headrace_plugins.mqtt.client import PahoClient, subscribe_properties
from headrace_plugins.mqtt.config import MqttConfig
from headrace_plugins.mqtt.dial import TRANSPORTS, reach
from headrace_plugins.mqtt.subscriptions import DROPPED, Copies, identifier

__all__ = ["Link", "Lost", "NoAnswer", "WrongVersion"]

TICK = 1.0
FILTERS_A_PACKET = 100
UNSUPPORTED = "Unsupported protocol version"
TAKEN_OVER = 0x8E
RETAIN = {
    "new_only": SubscribeOptions.RETAIN_SEND_IF_NEW_SUB,
    "all": SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE,
    "ignore": SubscribeOptions.RETAIN_DO_NOT_SEND,
}


class WrongVersion(NotConnected):
    """The broker does not speak this version of MQTT."""


class NoAnswer(NotConnected):
    """The broker closed the connection instead of answering to CONNECT."""


class Lost(NamedTuple):
    """How a link ended."""

    why: str
    error: NotConnected
    taken_over: bool
    closed: bool
    """The other side closed the connection, for a reason we were not told."""


class MakeEvent(Protocol):
    def __call__(self, topic: str, payload: bytes, header: int, found: dict[str, Any], now: int) -> Event: ...


Derive = Callable[[str, bytes, bool, int], tuple[list[Event], bool]]


class Link:
    """Connect, subscribe; messages go to ``intake``. When it breaks, ``on_lost`` is called.

    ``after`` is the link before it in this process: if the broker still has the session, what it sends again is
    known by it, and is no new event.
    """

    def __init__(
        self,
        config: MqttConfig,
        client: type[PahoClient],
        clientid: str,
        v5: bool,
        intake: Intake,
        make: MakeEvent,
        after: Link | None,
    ) -> None:
        self.ended: Lost | None = None
        self.on_lost: Callable[[Lost], None] = lambda lost: None
        self.on_dropped: Callable[[bytes], None] | None = None
        """Takes what Mosquitto says it has dropped; None if that is an event."""
        self.derive: Derive | None = None
        """Makes client events of messages, and says whether there is nothing else in them."""
        self.accepted_at: float | None = None
        """When the broker agreed to it."""
        self.identifies = v5
        """It tells with a message which subscriptions it is for."""
        self.shares = True
        """It knows shared subscriptions, as far as we were told."""
        self.session_present = False
        self.version = 5 if v5 else 4
        self.incoming = Incoming(intake, self)
        self.before: dict[bytes, tuple[Chunk, Event]] = {}
        """QoS 1 messages of ``after`` that the broker is to send again, by packet id."""
        self.copies: Copies | None = None
        """Set if the broker may send a message several times, each with the identifiers of its subscriptions."""
        self._config = config
        self._intake = intake
        self._after = after
        self._make = make
        self._now = 0
        self._out, self._flushing = bytearray(), False
        self._fd, self._writer = -1, False
        self._ticker: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._connack: asyncio.Future[None] = self._loop.create_future()
        self.full: asyncio.Future[None] = self._loop.create_future()
        """Done when reading had to pause for the first time."""
        self._answers: dict[int | None, asyncio.Future[list[ReasonCode]]] = {}
        self._pinged_at: float | None = None
        self._read_at = self._heard_at = 0.0  # of anything, of messages
        self._skip_retained = config.retained == "ignore"
        self._client = client(clientid, v5, self, TRANSPORTS[config.scheme])
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._client.on_unsubscribe = self._on_answer
        self._client.on_disconnect = self._on_disconnect
        self._client.on_socket_close = self._on_socket_close

    @property
    def lost(self) -> str | None:
        """Why it is no more, once it is."""
        return None if self.ended is None else self.ended.why

    # -- connecting --------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect and wait for the broker's consent. NotConnected says why it did not work."""
        sock = await reach(self._client, self._config)
        self._fd = sock.fileno()
        self._watch()
        self._loop.add_reader(self._fd, self._readable)
        self._ticker = self._loop.call_later(TICK, self._tick)
        await self._answer(self._connack, "the connection")

    async def _answer(self, future: asyncio.Future[Any], what: str) -> Any:
        """What the broker answers. It has the time of ``connect_timeout`` from when we last read something."""
        since = time.monotonic()
        while not future.done():
            now = time.monotonic()
            if self.incoming.paused:
                since = now  # it is our turn, not the broker's
            left = max(since, self._read_at) + self._config.connect_timeout - now
            if left <= 0:
                raise NotConnected(f"{self._config.url} does not answer to {what}")
            await asyncio.wait([future], timeout=min(left, TICK))
        return future.result()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if self._connack.done():
            return
        if reason.is_failure:
            kind = WrongVersion if str(reason) == UNSUPPORTED else NotConnected
            self._connack.set_exception(kind(f"{self._config.url} refused the connection: {reason}"))
        else:
            self.accepted_at = self._read_at
            self.identifies = self.version == 5 and bool(getattr(properties, "SubscriptionIdentifierAvailable", 1))
            self.shares = bool(getattr(properties, "SharedSubscriptionAvailable", 1))
            self.session_present = flags.session_present
            self._heard_at = self._read_at
            before, self._after = self._after, None
            if before is not None and self.session_present:
                self.incoming.received = before.incoming.received
                self.before = before.before | before.incoming.unanswered()
            self._connack.set_result(None)

    async def subscribe(
        self, filters: Sequence[str], qos: int, *, identify: Collection[str] = ()
    ) -> dict[str, ReasonCode]:
        """Subscribe; what the broker says to each filter. Those of ``identify`` are to come with an identifier."""
        plain = [filter for filter in filters if filter not in identify]
        packets = [plain[i : i + FILTERS_A_PACKET] for i in range(0, len(plain), FILTERS_A_PACKET)]
        packets += [[filter] for filter in filters if filter in identify]  # an identifier is for a whole packet
        sent = [self._send_subscribe(some, min(qos, self._client.max_qos), some[0] in identify) for some in packets]
        answers: dict[str, ReasonCode] = {}
        for some, one in zip(packets, sent, strict=True):
            answers |= zip(some, await self._answer_to(one, "a subscription"), strict=False)
        return answers

    def _send_subscribe(self, filters: Sequence[str], qos: int, identify: bool) -> tuple[MQTTErrorCode, int | None]:
        if not self._client.v5:
            return self._client.subscribe([(filter, qos) for filter in filters])
        options = SubscribeOptions(qos, retainHandling=RETAIN[self._config.retained])
        properties = subscribe_properties(identifier(filters[0])) if identify else None
        return self._client.subscribe([(filter, options) for filter in filters], properties=properties)

    def ask(self, filter: str) -> None:
        """Subscribe to something we can do without, for what it is now: whatever the broker says to it is right."""
        self._client.subscribe((filter, SubscribeOptions(0, retainHandling=0)) if self._client.v5 else (filter, 0))
        self._watch()

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """End these subscriptions."""
        for i in range(0, len(filters), FILTERS_A_PACKET):
            sent = self._client.unsubscribe(list(filters[i : i + FILTERS_A_PACKET]))
            await self._answer_to(sent, "the end of a subscription")

    async def _answer_to(self, sent: tuple[MQTTErrorCode, int | None], what: str) -> list[ReasonCode]:
        rc, mid = sent
        self._watch()
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise NotConnected(f"{self._config.url}: {self.lost or 'the connection broke'}")
        future = self._answers.setdefault(mid, self._loop.create_future())
        reasons: list[ReasonCode] = await self._answer(future, what)
        self._answers.pop(mid, None)
        return reasons

    def _on_answer(self, client: Any, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Any) -> None:
        future = self._answers.setdefault(mid, self._loop.create_future())
        if not future.done():
            future.set_result(reasons)
        if self.copies is not None:
            self.copies.answered()

    # -- the socket --------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        self._now, self._read_at = now_ms(), time.monotonic()
        client = self._client
        try:
            client.loop_read()
            while client.pending():
                client.loop_read()
        except Exception as error:  # noqa: BLE001 - on malformed packets paho raises whatever comes
            self.fail(f"what the broker sent makes no sense: {type(error).__name__}: {error}")
            return
        self._watch()
        if self.incoming.held >= self._intake.limit and self.lost is None and not self.incoming.paused:
            self.incoming.pause()
            self._loop.remove_reader(self._fd)
            if not self.full.done():
                self.full.set_result(None)

    def go_on(self) -> None:
        """There is room again: read on."""
        if self.lost is None:
            self._loop.add_reader(self._fd, self._readable)
            self._loop.call_soon(self._readable)  # TLS may hold bytes the selector knows nothing of

    def _watch(self) -> None:
        # paho writes at once; only what the socket did not take waits for it to become writable
        wanted = self.lost is None and self._client.want_write()
        if wanted and not self._writer:
            self._loop.add_writer(self._fd, self._writable)
        elif self._writer and not wanted and self._fd >= 0:
            self._loop.remove_writer(self._fd)
        self._writer = wanted

    def _writable(self) -> None:
        self._client.loop_write()
        self._watch()

    def _tick(self) -> None:
        if self.incoming.paused:
            self._client.forgive_ping()
            self._heard_at = time.monotonic()
        self._client.loop_misc()
        self._watch()
        self._listen()
        if self.lost is None:
            self._ticker = self._loop.call_later(TICK, self._tick)

    def _listen(self) -> None:
        """Half a connection answers nothing and breaks nothing: end it when a ping or messages are overdue."""
        now = time.monotonic()
        if not self._client.waits_for_ping():
            self._pinged_at = None
        elif self._pinged_at is None:
            self._pinged_at = now
        elif now - self._pinged_at >= self._config.ping_timeout:
            self.fail("the broker does not answer pings")
        if self._config.stale_after is not None and now - self._heard_at >= self._config.stale_after:
            self.fail(f"no message for {self._config.stale_after:g} s (`stale_after`)")

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd = -1

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._gone(f"the broker ended the connection: {reason}", taken_over=reason.value == TAKEN_OVER)
        elif str(reason) == "Keep alive timeout":
            self._gone("the broker does not answer pings")
        else:
            self._gone("the connection broke", closed=True)

    def _gone(self, why: str, *, taken_over: bool = False, closed: bool = False) -> None:
        if self.ended is not None:
            return
        self.incoming.forget()
        if self._ticker is not None:
            self._ticker.cancel()
        error = (NoAnswer if closed and self.accepted_at is None else NotConnected)(f"{self._config.url}: {why}")
        self.ended = Lost(why, error, taken_over, closed)
        waiting: list[asyncio.Future[Any]] = [self._connack, *self._answers.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be waiting for it
        self.on_lost(self.ended)

    def fail(self, why: str) -> None:
        """Give the connection up."""
        self._gone(why)
        self._on_socket_close(None, None, None)
        self._client.drop()

    def close(self) -> None:
        """Say goodbye; the session stays at the broker."""
        if self.lost is None:
            self._write()
            self._gone("closed")
            self._client.disconnect()
            self._on_socket_close(None, None, None)
            self._client.drop()

    # -- messages ----------------------------------------------------------------------------------------------

    def message(self, header: int, topic: str, payload: bytes, packet_id: bytes, found: dict[str, Any]) -> None:
        qos = header >> 1 & 3
        self._heard_at = self._read_at
        if (qos == 2 or (qos and header & 8)) and self._came_before(qos, packet_id, topic, payload):
            return
        if self.on_dropped is not None and topic == DROPPED:
            self.on_dropped(payload)
            self._pass_over(qos, packet_id)
            return
        if header & 1 and self._skip_retained:
            self._pass_over(qos, packet_id)
            return
        copy = self.copies is not None and self.copies.is_one(topic, payload, qos, found)
        if self.derive is not None and not copy and self._derived(topic, payload, header):
            self._pass_over(qos, packet_id)
            return
        event = self._make(topic, payload, header, found, self._now)
        if copy:
            self._pass_over(qos, packet_id, event)
        else:
            self.incoming.add(event, len(topic) + len(payload), qos, packet_id)

    def _derived(self, topic: str, payload: bytes, header: int) -> bool:
        assert self.derive is not None
        events, whole = self.derive(topic, payload, bool(header & 1), self._now)
        if events:
            self.incoming.hand_on()  # a chunk of their own: nothing is answered for them
            for event in events:
                self.incoming.add(event, 0, 0, b"")
            self.incoming.hand_on()
        return whole

    def _pass_over(self, qos: int, packet_id: bytes, event: Event | None = None) -> None:
        """Answer a message that becomes no event, when it is its turn."""
        if qos == 2:
            self.incoming.received[packet_id] = None
        if qos:
            self.incoming.answer_again(qos, packet_id, None, event)

    def _came_before(self, qos: int, packet_id: bytes, topic: str, payload: bytes) -> bool:
        incoming = self.incoming
        if qos == 2:
            if packet_id not in incoming.received:
                return False
            incoming.answer_again(2, packet_id, incoming.received[packet_id])
            return True
        first = self.before.pop(packet_id, None)
        if first is None:
            return False
        chunk, event = first
        known = event["payload"]
        if event["topic"] != topic or (known.encode() if isinstance(known, str) else known) != payload:
            return False  # another message under an id used again
        incoming.answer_again(1, packet_id, chunk, event)
        return True

    def release(self, packet_id: bytes) -> None:
        self.incoming.received.pop(packet_id, None)
        self.answer(b"\x70\x02" + packet_id)

    def read_done(self) -> None:
        self.incoming.hand_on()
        self.flush()

    def answer(self, acks: bytes) -> None:
        self._out += acks

    def flush(self) -> None:
        if self._out and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._write)  # all answers of a turn of the loop in one write

    def _write(self) -> None:
        self._flushing = False
        if self._out and self.lost is None:
            packets = bytes(self._out)
            self._out.clear()
            self._client.send_answers(packets)
            self._watch()

    def refuse(self) -> None:
        # after a new connection the broker sends again what was not acknowledged
        self.fail("the stream did not take a message; connecting anew to get it again")
