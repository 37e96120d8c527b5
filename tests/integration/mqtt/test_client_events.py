"""Client events from a real Mosquitto: from its log topics, and from wills."""

from __future__ import annotations

import asyncio
import contextlib
import json

import paho.mqtt.client as paho
import pytest

from headrace.testing.pipelines import run_pipeline

pytestmark = pytest.mark.mosquitto

LOG = "log_dest topic\nlog_type notice\nlog_type error\nlog_type subscribe\nlog_type unsubscribe\n"
CLIENTS = ("$events/client_connected", "$events/client/disconnected")


class Device:
    """A client that can go with or without a goodbye."""

    def __init__(self, port, clientid, version=paho.MQTTv311, will=None):
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=clientid, protocol=version)
        if will:
            self.client.will_set(*will)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def goodbye(self):
        self.client.disconnect()
        self.client.loop_stop()

    def die(self):
        self.client._sock_close()
        self.client.loop_stop()


@pytest.fixture
async def device():
    made = []

    async def make(*args, **options):
        made.append(await asyncio.to_thread(Device, *args, **options))
        return made[-1]

    yield make
    for each in made:
        with contextlib.suppress(Exception):
            await asyncio.to_thread(each.goodbye)


@pytest.mark.parametrize("stock", [False, True])
async def test_mosquitto_tells_who_comes_and_goes(mosquitto, subscribe, device, stock):
    broker = await mosquitto(LOG)
    reader = await subscribe(broker, stock=stock, filters=(*CLIENTS, "$events/session/+"), events="mosquitto")
    reader.start()
    one = await device(broker.port, "dev 1 as (x)", paho.MQTTv5)
    await reader.arrived(1)
    await asyncio.to_thread(one.client.subscribe, "a/#", 1)
    await reader.arrived(2)
    await asyncio.to_thread(one.client.unsubscribe, "a/#")
    await reader.arrived(3)
    await asyncio.to_thread(one.goodbye)
    connected, subscribed, unsubscribed, gone = await reader.arrived(4)
    assert (
        connected.columns.items()
        >= {
            "event": "client.connected",
            "clientid": "dev 1 as (x)",
            "proto_ver": 5,
            "keepalive": 60,
            "clean_start": True,
            "peerhost": "127.0.0.1",
            "event_source": "mosquitto",
            "confidence": "likely",
        }.items()
    )
    assert (subscribed["event"], subscribed["topic"], subscribed["qos"]) == ("session.subscribed", "a/#", 1)
    assert (unsubscribed["event"], unsubscribed["topic"]) == ("session.unsubscribed", "a/#")
    assert (gone["event"], gone["reason"]) == ("client.disconnected", "normal")
    assert {event.key for event in reader.events} == {"dev 1 as (x)"}, "our own client is left out"


async def test_mosquitto_tells_of_a_death_and_of_a_takeover(mosquitto, subscribe, device):
    broker = await mosquitto(LOG)
    reader = await subscribe(broker, filters=CLIENTS, events="mosquitto")
    reader.start()
    one = await device(broker.port, "dev1")
    await reader.arrived(1)
    await asyncio.to_thread(one.die)
    await reader.arrived(2)
    two = await device(broker.port, "dev2")
    await reader.arrived(3)
    two.client.on_disconnect = lambda client, *rest: client.loop_stop()
    await device(broker.port, "dev2")
    events = (await reader.arrived(5))[:5]
    told = [(event["event"].partition(".")[2], event["clientid"], event.get("reason")) for event in events]
    assert told[:3] == [
        ("connected", "dev1", None),
        ("disconnected", "dev1", "tcp_closed"),
        ("connected", "dev2", None),
    ]
    assert sorted(told[3:]) == [("connected", "dev2", None), ("disconnected", "dev2", "takenover")]


async def test_lines_are_no_events_of_their_own_unless_a_rule_reads_them(mosquitto, subscribe, device):
    broker = await mosquitto(LOG)
    reader = await subscribe(broker, filters=(*CLIENTS, "$SYS/broker/log/N"), events="mosquitto")
    reader.start()
    await device(broker.port, "dev1")
    await reader.until(lambda: any(event["event"] == "client.connected" for event in reader.events))
    await reader.until(lambda: any("dev1" in str(event.get("payload")) for event in reader.events))


async def test_wills_tell_of_devices_and_stay_messages(mosquitto, subscribe, device, publish):
    broker = await mosquitto("")
    await publish(broker, [("tele/old/LWT", "Offline")], retain=True)
    filters = (*CLIENTS, "tele/#")
    reader = await subscribe(broker, filters=filters, events={"source": "will", "snapshots": True})
    reader.start()
    snapshot, message = await reader.arrived(2)
    assert (snapshot["event"], snapshot["clientid"], snapshot["snapshot"]) == ("client.disconnected", "old", True)
    assert (message["event"], message["topic"]) == ("message.publish", "tele/old/LWT")
    one = await device(broker.port, "x", will=("tele/plug7/LWT", "Offline", 1, True))
    await asyncio.to_thread(one.client.publish, "tele/plug7/LWT", "Online", 1, True)
    await reader.arrived(4)
    await asyncio.to_thread(one.die)
    events = await reader.arrived(6)
    told = [(event["event"], event.get("clientid")) for event in events[2:]]
    assert told == [
        ("client.connected", "plug7"),
        ("message.publish", None),
        ("client.disconnected", "plug7"),
        ("message.publish", None),
    ]
    await reader.answered()


PRESENCE = """
sources: {{plant: {{type: mqtt, url: "{url}", events: mosquitto}}}}
rules: {{who: {{presence: {{}}, to: out}}}}
sinks: {{out: {{type: file, path: "{out}"}}}}
"""


async def test_presence_of_mosquittos_clients_takes_a_takeover_for_none(mosquitto, device, tmp_path):
    broker, out = await mosquitto(LOG), tmp_path / "out.jsonl"

    def told():
        return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []

    async with run_pipeline(PRESENCE.format(url=broker.url, out=out), directory=tmp_path / "log") as running:
        await running.until(lambda s: s["sources"]["plant"]["state"] == "running")
        first = await device(broker.port, "dev1")
        await running.until(lambda s: len(told()) == 1)
        first.client.on_disconnect = lambda client, *rest: client.loop_stop()
        second = await device(broker.port, "dev1")
        await running.until(lambda s: s["rules"]["who"]["counters"]["failed.no_result"] >= 3)
        await asyncio.to_thread(second.die)
        await running.until(lambda s: len(told()) == 2)
    assert [(row["device"], row["online"], row["reason"]) for row in told()] == [
        ("dev1", True, "connected"),
        ("dev1", False, "tcp_closed"),
    ]
