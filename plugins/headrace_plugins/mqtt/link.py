"""One connection to a broker, driven by asyncio."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from headrace import Event, NotConnected, now_ms
from headrace_plugins._mqtt.intake import Chunk, Incoming, Intake
from headrace_plugins.mqtt.client import PahoClient, connect_properties
from headrace_plugins.mqtt.config import MqttConfig, TlsOptions

__all__ = ["Link", "WrongVersion"]

TICK = 1.0
FILTERS_A_PACKET = 100
UNSUPPORTED = "Unsupported protocol version"


class WrongVersion(NotConnected):
    """The broker does not speak this version of MQTT."""


class MakeEvent(Protocol):
    def __call__(self, topic: str, payload: bytes, header: int, found: dict[str, Any], now: int) -> Event: ...


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
        self.lost: str | None = None
        """Why it is no more, once it is."""
        self.on_lost: Callable[[NotConnected], None] = lambda error: None
        self.accepted = False
        """The broker has agreed to it."""
        self.session_present = False
        self.version = 5 if v5 else 4
        self.incoming = Incoming(intake, self)
        self.before: dict[bytes, tuple[Chunk, Event]] = {}
        """QoS 1 messages of ``after`` that the broker is to send again, by packet id."""
        self._config = config
        self._intake = intake
        self._after = after
        self._make = make
        self._now = 0
        self._out = bytearray()
        self._flushing = False
        self._fd = -1
        self._writer = False
        self._ticker: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._connack: asyncio.Future[None] = self._loop.create_future()
        self._subacks: dict[int | None, asyncio.Future[list[ReasonCode]]] = {}
        self._client = client(clientid, v5, self)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_socket_close = self._on_socket_close

    # -- connecting --------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect and wait for the broker's consent. NotConnected says why it did not work."""
        dial = self._loop.run_in_executor(None, self._dial)  # it blocks: name, TCP, TLS
        try:
            await asyncio.shield(dial)
        except asyncio.CancelledError:
            dial.add_done_callback(self._abandon)
            raise
        except (OSError, ValueError) as error:
            raise NotConnected(f"cannot connect to {self._config.url}: {_plain(error)}") from error
        sock = self._client.socket()
        if sock is None:
            raise NotConnected(f"cannot connect to {self._config.url}: the connection broke")
        self._fd = sock.fileno()
        self._watch()
        self._loop.add_reader(self._fd, self._readable)
        self._ticker = self._loop.call_later(TICK, self._tick)
        await self._answer(self._connack, "the connection")

    def _dial(self) -> None:
        config, client = self._config, self._client
        client.connect_timeout = config.connect_timeout
        if config.username is not None:
            password = config.password.get_secret_value() if config.password else None
            client.username_pw_set(config.username, password)
        if not config.secure:
            self._dial_broker()
            return
        context = _tls_context(config)
        client.tls_set_context(context)
        try:
            self._dial_broker()
        except BaseException:
            if context.newest is not None:
                context.newest.close()
            raise

    def _dial_broker(self) -> None:
        config, client = self._config, self._client
        (host, port), keepalive = config.address, int(config.keepalive)
        if client.v5:
            properties = connect_properties(int(config.session_expiry), config.receive_maximum)
            client.connect(host, port, keepalive, clean_start=False, properties=properties)
        else:
            client.connect(host, port, keepalive)

    def _abandon(self, dial: asyncio.Future[None]) -> None:
        if not dial.cancelled() and dial.exception() is None:
            self._client.drop()

    async def _answer(self, future: asyncio.Future[Any], what: str) -> Any:
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                return await future
        except TimeoutError:
            raise NotConnected(f"{self._config.url} does not answer to {what}") from None

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if self._connack.done():
            return
        if reason.is_failure:
            kind = WrongVersion if str(reason) == UNSUPPORTED else NotConnected
            self._connack.set_exception(kind(f"{self._config.url} refused the connection: {reason}"))
        else:
            self.accepted = True
            self.session_present = flags.session_present
            before, self._after = self._after, None
            if before is not None and self.session_present:
                self.incoming.received = before.incoming.received
                self.before = before.before | before.incoming.unanswered()
            self._connack.set_result(None)

    async def subscribe(self, filters: Sequence[str]) -> dict[str, ReasonCode]:
        """Subscribe; what the broker says to each filter."""
        qos = min(self._config.qos, self._client.max_qos)
        answers: dict[str, ReasonCode] = {}
        for i in range(0, len(filters), FILTERS_A_PACKET):
            some = filters[i : i + FILTERS_A_PACKET]
            if self._client.v5:
                options = SubscribeOptions(qos, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
                rc, mid = self._client.subscribe([(filter, options) for filter in some])
            else:
                rc, mid = self._client.subscribe([(filter, qos) for filter in some])
            self._watch()
            if rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise NotConnected(f"{self._config.url}: {self.lost or 'the connection broke'}")
            future = self._subacks.setdefault(mid, self._loop.create_future())
            answers |= zip(some, await self._answer(future, "a subscription"), strict=False)
        return answers

    def _on_subscribe(self, client: Any, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Any) -> None:
        future = self._subacks.setdefault(mid, self._loop.create_future())
        if not future.done():
            future.set_result(reasons)

    # -- the socket --------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        self._now = now_ms()
        client = self._client
        try:
            client.loop_read()
            while (sock := client.socket()) is not None and isinstance(sock, ssl.SSLSocket) and sock.pending():
                client.loop_read()
        except Exception as error:  # noqa: BLE001 - on malformed packets paho raises whatever comes
            self._break(f"what the broker sent makes no sense: {type(error).__name__}: {error}")
            return
        self._watch()
        if self.incoming.held >= self._intake.limit and self.lost is None and not self.incoming.paused:
            self.incoming.pause()
            self._loop.remove_reader(self._fd)

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
        self._client.loop_misc()
        self._watch()
        if self.lost is None:
            self._ticker = self._loop.call_later(TICK, self._tick)

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd = -1

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._gone(f"the broker ended the connection: {reason}")
        elif str(reason) == "Keep alive timeout":
            self._gone("the broker does not answer pings")
        else:
            self._gone("the connection broke")

    def _gone(self, why: str) -> None:
        if self.lost is not None:
            return
        self.lost = why
        self.incoming.forget()
        if self._ticker is not None:
            self._ticker.cancel()
        error = NotConnected(f"{self._config.url}: {why}")
        waiting: list[asyncio.Future[Any]] = [self._connack, *self._subacks.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be waiting for it
        self.on_lost(error)

    def _break(self, why: str) -> None:
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
        if (qos == 2 or (qos and header & 8)) and self._came_before(qos, packet_id, topic, payload):
            return
        event = self._make(topic, payload, header, found, self._now)
        self.incoming.add(event, len(topic) + len(payload), qos, packet_id)

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
        self._break("the stream did not take a message; connecting anew to get it again")


class _TlsContext(ssl.SSLContext):
    """Knows its newest socket: paho leaves one whose handshake fails to the garbage collector."""

    newest: ssl.SSLSocket | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        self.newest = super().wrap_socket(*args, **kwargs)
        return self.newest


def _tls_context(config: MqttConfig) -> _TlsContext:
    tls = config.tls or TlsOptions()
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca:
        context.load_verify_locations(tls.ca)
    else:
        context.load_default_certs()
    if tls.cert and tls.key:
        context.load_cert_chain(tls.cert, tls.key)
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _plain(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
