"""Brokers that do what Mosquitto does not: a script on a socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from headrace import NotConnected
from headrace.testing.context import make_context
from headrace_plugins._mqtt.framing import encode_packet, encode_string
from headrace_plugins._mqtt.properties import encode_properties
from headrace_plugins.mqtt import client, source
from headrace_plugins.mqtt.source import Mqtt
from headrace_plugins.mqtt.subscriptions import identifier

CONNACK_5, CONNACK_4 = b"\x20\x03\x00\x00\x00", b"\x20\x02\x00\x00"


class Peer:
    """The broker's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def packet(self) -> bytes:
        head = await self._reader.readexactly(2)
        assert head[1] < 128
        return head + await self._reader.readexactly(head[1])

    def send(self, *packets: bytes) -> None:
        self._writer.write(b"".join(packets))

    def close(self) -> None:
        self._writer.close()

    async def accept(self, connack: bytes = CONNACK_5, *more: bytes) -> bytes:
        """Take CONNECT and SUBSCRIBE; returns the CONNECT."""
        connect = await self.packet()
        self.send(connack, *more)
        subscribe = await self.packet()
        assert subscribe[0] == 0x82
        self.send(encode_packet(0x90, subscribe[2:4], b"\x00" if connack is not CONNACK_4 else b"", b"\x01"))
        return connect


Script = Callable[[Peer], Awaitable[None]]
Run = Callable[..., Mqtt]


@pytest.fixture(params=["bulk", "stock"])
async def run(request, monkeypatch) -> AsyncIterator[Run]:
    """``await run(script, …)``: a source of a broker that does as the script says, one script a connection."""
    monkeypatch.setattr(source, "BETWEEN_CONNECTS", 0)
    monkeypatch.setattr(client, "unfit", lambda: None if request.param == "bulk" else "a test")
    sources, tasks, writers, servers = [], [], [], []

    async def make(*scripts: Script, filters: tuple[str, ...] = ("t/#",), **options: object) -> Mqtt:
        waiting = list(scripts)

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            tasks.append(asyncio.create_task(waiting.pop(0)(Peer(reader, writer))))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        servers.append(server)
        url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        config = Mqtt.Config(**{"url": url, "connect_timeout": "5s", "watch_dropped": False, **options})
        sources.append(Mqtt(config, make_context("plant", filters=filters)))
        return sources[-1]

    yield make
    for one in sources:
        await one.close()
    for writer in writers:
        writer.close()
    for server in servers:
        server.close()
    await asyncio.gather(*tasks)


def publish(topic: str, payload: bytes, qos: int = 0, id: int = 1, *, dup: bool = False, v5: bool = True) -> bytes:
    head = 0x30 | dup << 3 | qos << 1
    packet_id = id.to_bytes(2, "big") if qos else b""
    return encode_packet(head, encode_string(topic), packet_id, b"\x00" if v5 else b"", payload)


async def closed(peer: Peer) -> None:
    """Read until the source has gone."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await peer.packet()


async def test_a_broker_that_knows_3_1_1_only_is_spoken_to_so(run):
    versions = []

    async def old(peer):
        versions.append((await peer.packet())[8])
        peer.send(b"\x20\x02\x00\x01")
        await closed(peer)

    async def again(peer):
        versions.append((await peer.accept(CONNACK_4))[8])
        peer.send(publish("t/1", b"x", v5=False))
        await closed(peer)

    one = await run(old, again)
    await one.open()
    batch, ack = await one.read()
    ack(None)
    assert [event["payload"] for event in batch] == ["x"]
    assert versions == [5, 4]
    assert one.ctx.status.reason.endswith("MQTT 3.1.1")


async def test_a_version_that_was_asked_for_is_not_changed(run):
    async def old(peer):
        await peer.packet()
        peer.send(b"\x20\x02\x00\x01")
        await closed(peer)

    one = await run(old, version="5")
    with pytest.raises(NotConnected, match="Unsupported protocol version"):
        await one.open()


async def test_connect_asks_for_a_durable_session(run):
    seen = []

    async def broker(peer):
        seen.append(await peer.accept())
        await closed(peer)

    one = await run(broker, receive_maximum=77, session_expiry="1h", keepalive="20s")
    await one.open()
    assert seen[0][2:12] == b"\x00\x04MQTT\x05\x00\x00\x14"  # no clean start
    assert b"\x11\x00\x00\x0e\x10" in seen[0]
    assert b"\x21\x00\x4d" in seen[0]
    assert b"headrace-test-plant" in seen[0]


@pytest.mark.parametrize(("code", "why"), [(0x87, "Not authorized"), (0x86, "Bad user name or password")])
async def test_a_refusal_is_passed_on(run, code, why):
    async def broker(peer):
        await peer.packet()
        peer.send(bytes((0x20, 3, 0, code, 0)))
        await closed(peer)

    one = await run(broker)
    with pytest.raises(NotConnected, match=f"refused the connection: {why}"):
        await one.open()


async def test_a_broker_that_closes_without_a_word_may_know_3_1_1_only(run):
    versions = []

    async def hangs_up(peer):
        versions.append((await peer.packet())[8])
        peer.close()

    async def old(peer):
        versions.append((await peer.accept(CONNACK_4))[8])
        await closed(peer)

    one = await run(hangs_up, hangs_up, hangs_up, old)
    with pytest.raises(NotConnected, match="the connection broke"):
        await one.open()
    await one.open()
    assert versions == [5, 4, 5, 4]
    assert one.ctx.status.reason.endswith("MQTT 3.1.1")


async def test_a_broker_that_never_answers_the_subscription(run):
    async def broker(peer):
        await peer.packet()
        peer.send(CONNACK_5)
        await closed(peer)

    one = await run(broker, connect_timeout="100ms")
    with pytest.raises(NotConnected, match="does not answer to a subscription"):
        await one.open()


async def test_no_subscription_granted_is_no_connection(run):
    async def broker(peer):
        await peer.packet()
        peer.send(CONNACK_5)
        subscribe = await peer.packet()
        peer.send(encode_packet(0x90, subscribe[2:4], b"\x00\x87"))
        await closed(peer)

    one = await run(broker)
    with pytest.raises(NotConnected, match=r"refuses to send t/# \(Not authorized\)"):
        await one.open()
    (told,) = one.ctx.status.facts["subscriptions"]
    assert told["refused"] == "Not authorized"


async def test_some_subscriptions_refused_or_lowered_is_degraded(run):
    async def broker(peer):
        await peer.packet()
        peer.send(CONNACK_5)
        subscribe = await peer.packet()
        peer.send(encode_packet(0x90, subscribe[2:4], b"\x00\x87\x00\x01"))
        await closed(peer)

    one = await run(broker, filters=("a", "b", "c"))
    await one.open()
    status = one.ctx.status
    assert status.state == "degraded"
    assert "refuses to send a (Not authorized)" in status.reason
    assert "grants less than QoS 1 for b (Granted QoS 0)" in status.reason
    assert status.facts["subscriptions"] == [
        {"filter": "a", "asked": 1, "granted": None, "refused": "Not authorized"},
        {"filter": "b", "asked": 1, "granted": 0, "refused": None},
        {"filter": "c", "asked": 1, "granted": 1, "refused": None},
    ]


async def test_the_reason_of_a_disconnect_is_passed_on(run):
    opened = asyncio.Event()

    async def broker(peer):
        await peer.accept()
        await opened.wait()
        peer.send(publish("t/1", b"before"), b"\xe0\x01\x8e")
        await closed(peer)

    one = await run(broker)
    await one.open()
    opened.set()
    batch, ack = await one.read()
    ack(None)
    async with asyncio.timeout(5):
        while one.ctx.status.state != "connecting":  # at once, read or not
            await asyncio.sleep(0.01)
    assert batch[0]["payload"] == "before"
    why = "the broker ended the connection: Session taken over; another client connected as headrace-test-plant"
    with pytest.raises(NotConnected, match=why):
        await one.read()


async def test_a_connection_that_ends_with_the_answer_to_the_subscription(run):
    async def broker(peer):
        await peer.packet()
        peer.send(CONNACK_5)
        subscribe = await peer.packet()
        peer.send(encode_packet(0x90, subscribe[2:4], b"\x00\x01"), b"\xe0\x01\x8e")
        await closed(peer)

    one = await run(broker)
    with pytest.raises(NotConnected):  # from one or the other, as the bytes come
        await open_and_read(one)


async def open_and_read(one):
    await one.open()
    await one.read()


@pytest.mark.parametrize("what", [b"\x36\x05\x00\x01ax\x00", b"\x30\xff\xff\xff\xff\x01", b"\x20\x00"])
async def test_nonsense_ends_the_connection(run, what):
    opened = asyncio.Event()

    async def broker(peer):
        await peer.accept()
        await opened.wait()
        peer.send(what)
        await closed(peer)

    one = await run(broker)
    await one.open()
    opened.set()
    with pytest.raises(NotConnected):
        await one.read()


async def test_a_packet_in_many_small_pieces(run):
    async def broker(peer):
        await peer.accept()
        packet = publish("t/1", b"y" * 3000, 1, 5)
        for i in range(0, len(packet), 100):
            peer.send(packet[i : i + 100])
            await asyncio.sleep(0)
        assert await peer.packet() == b"\x40\x02\x00\x05"
        await closed(peer)

    one = await run(broker)
    await one.open()
    batch, ack = await one.read()
    ack(None)
    assert batch[0]["payload"] == "y" * 3000
    await one.close()


async def test_acks_go_out_in_order_and_together(run):
    got = []

    async def broker(peer):
        await peer.accept()
        for id in (1, 2, 3):
            peer.send(publish("t/1", b"%d" % id, 1, id))
            await asyncio.sleep(0.02)
        got.extend([await peer.packet() for _ in range(3)])
        await closed(peer)

    one = await run(broker)
    await one.open()
    acks = [(await one.read())[1] for _ in range(3)]
    acks[2](None)
    acks[1](None)
    await asyncio.sleep(0.05)
    assert not got
    acks[0](None)
    async with asyncio.timeout(5):
        while len(got) < 3:
            await asyncio.sleep(0.01)
    assert got == [b"\x40\x02" + id.to_bytes(2, "big") for id in (1, 2, 3)]


async def test_an_id_used_again_for_another_message_is_a_new_event(run):
    async def first(peer):
        await peer.accept()
        peer.send(publish("t/1", b"one", 1, 7))
        await asyncio.sleep(0.05)
        peer.close()

    async def second(peer):
        await peer.accept(b"\x20\x03\x01\x00\x00")  # the session is there
        peer.send(publish("t/1", b"two", 1, 7, dup=True))
        await closed(peer)

    one = await run(first, second)
    await one.open()
    batch, _ = await one.read()
    with pytest.raises(NotConnected):
        await one.read()
    await one.open()
    again, _ = await one.read()
    assert [event["payload"] for event in (*batch, *again)] == ["one", "two"]


async def test_without_the_session_nothing_is_taken_for_a_repeat(run):
    async def first(peer):
        await peer.accept()
        peer.send(publish("t/1", b"one", 1, 7))
        await asyncio.sleep(0.05)
        peer.close()

    async def second(peer):
        await peer.accept()
        peer.send(publish("t/1", b"one", 1, 7, dup=True))
        await closed(peer)

    one = await run(first, second)
    await one.open()
    await one.read()
    with pytest.raises(NotConnected):
        await one.read()
    await one.open()
    again, _ = await one.read()
    assert [event["payload"] for event in again] == ["one"]


async def test_messages_right_behind_the_connack_are_taken(run):
    async def broker(peer):
        await peer.accept(b"\x20\x03\x01\x00\x00", publish("t/1", b"x", 1, 7, dup=True))
        await closed(peer)

    one = await run(broker)
    await one.open()
    batch, _ = await one.read()
    assert batch[0]["flags"] == {"retain": False, "dup": True}


async def test_a_silent_broker_is_noticed(run, monkeypatch):
    async def broker(peer):
        await peer.accept()
        await closed(peer)

    one = await run(broker)
    await one.open()
    link = one._link
    real = client.time.monotonic()
    for ahead in (31, 62, 93):  # as if that much time went by
        monkeypatch.setattr("paho.mqtt.client.time_func", lambda ahead=ahead: real + ahead)
        link._tick()
    with pytest.raises(NotConnected, match="does not answer pings"):
        await one.read()


async def test_without_subscription_identifiers_nothing_is_taken_for_a_copy(run, caplog):
    async def broker(peer):
        await peer.packet()
        peer.send(b"\x20\x05\x00\x00\x02\x29\x00")  # Subscription Identifier Available: no
        subscribe = await peer.packet()
        assert subscribe[4] == 0  # no properties
        peer.send(encode_packet(0x90, subscribe[2:4], b"\x00\x01\x01"))
        peer.send(publish("a/b", b"x", 1, 1), publish("a/b", b"x", 1, 2))
        await closed(peer)

    one = await run(broker, filters=("a/+", "+/b"))
    await one.open()
    assert "+/b, a/+ overlap" in caplog.text
    events = []
    while len(events) < 2:
        batch, ack = await one.read()
        ack(None)
        events += batch


async def test_copies_are_known_when_they_come_one_subscription_after_the_other(run):
    filters = ("a/+", "+/b")

    def copy(filter, payload, id):
        found = encode_properties({"Subscription-Identifier": identifier(filter)})
        return encode_packet(0x32, encode_string("a/b"), id.to_bytes(2, "big"), found, payload)

    acked = []

    async def broker(peer):
        await peer.packet()
        peer.send(CONNACK_5)
        for _ in filters:
            subscribe = await peer.packet()
            peer.send(encode_packet(0x90, subscribe[2:4], b"\x00\x01"))
        id = 0
        for filter in filters:  # as EMQX may do it: each subscription has a process of its own
            for payload in (b"one", b"two", b"three"):
                id += 1
                peer.send(copy(filter, payload, id))
        acked.extend([(await peer.packet())[2:] for _ in range(6)])
        await closed(peer)

    one = await run(broker, filters=filters)
    await one.open()
    payloads = []
    while len(payloads) < 3:
        batch, ack = await one.read()
        payloads += [event["payload"] for event in batch]
        ack(None)
    async with asyncio.timeout(5):
        while len(acked) < 6:
            await asyncio.sleep(0.01)
    assert payloads == ["one", "two", "three"]
    assert acked == [id.to_bytes(2, "big") for id in range(1, 7)]
    assert not one._intake.held


async def test_a_broker_without_shared_subscriptions_is_named(run):
    async def broker(peer):
        await peer.packet()
        peer.send(b"\x20\x05\x00\x00\x02\x2a\x00")  # Shared Subscription Available: no
        subscribe = await peer.packet()
        assert b"$share/g/t/#" in subscribe
        peer.send(encode_packet(0x90, subscribe[2:4], b"\x00\x01"))
        await closed(peer)

    one = await run(broker, share="g", client_id="me")
    await one.open()
    assert one.ctx.status.state == "degraded"
    assert "knows no shared subscriptions" in one.ctx.status.reason


async def test_a_broker_that_hangs_up_on_who_watches_its_counter_is_not_asked_again(run):
    asked = []

    async def broker(peer):
        await peer.accept()
        try:
            asked.append((await peer.packet())[0] == 0x82)
        except asyncio.IncompleteReadError:
            asked.append(False)
        peer.close()

    one = await run(broker, broker, watch_dropped=True)
    await one.open()
    with pytest.raises(NotConnected):
        await one.read()
    await one.open()
    await one.close()
    async with asyncio.timeout(5):
        while len(asked) < 2:
            await asyncio.sleep(0.01)
    assert asked == [True, False]


async def test_an_old_broker_that_ends_every_connection_at_once_points_to_the_client_id(run):
    async def broker(peer):
        await peer.accept(CONNACK_4)
        peer.close()

    async def patient(peer):
        await peer.accept(CONNACK_4)
        await closed(peer)

    one = await run(*[broker] * 3, patient, version="3.1.1")
    for _ in range(3):
        await one.open()
        with pytest.raises(NotConnected) as caught:
            await one.read()
    assert "does another client use the id headrace-test-plant? (3 times lately)" in str(caught.value)
    await one.open()
    assert one.ctx.status.state == "degraded"


async def test_qos_0_never_read_is_counted_when_the_source_closes(run):
    async def broker(peer):
        await peer.accept()
        peer.send(publish("t/1", b"x"), publish("t/1", b"y", 1, 3))
        await closed(peer)

    one = await run(broker)
    await one.open()
    async with asyncio.timeout(5):
        while not one._intake.held:
            await asyncio.sleep(0.01)
    await one.close()
    assert one.ctx.metrics["dropped.shutdown"] == 1


def test_a_paho_without_the_names_we_need_is_not_read_in_bulk(monkeypatch):
    assert client.unfit() is None
    monkeypatch.setattr(client, "PRIVATE", (*client.PRIVATE, "_gone"))
    assert client.unfit().endswith("has no _gone")
    monkeypatch.setattr(client, "version", lambda name: "2.3.0")
    assert client.unfit() == "paho-mqtt is 2.3.0, not 2.2"
