"""Decoders, on payloads as devices, gateways and other libraries wrote them."""

from __future__ import annotations

import json

import cbor2
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import Event
from headrace.testing import make_context, make_event
from headrace.testing.contracts import TransformContract
from headrace.testing.pipelines import run_pipeline
from headrace_plugins.decode import Decode, devices, register_functions
from headrace_plugins.decode.sparkplug import Aliases, sparkplug

# written by pysparkplug 0.5
NBIRTH = bytes.fromhex(
    "0880d095ffbc3112120a0562645365711881d095ffbc312004580312160a0454656d7010011881d095ffbc312009650000ac4112180a054c65"
    "76656c10021881d095ffbc31200350f9ffffff0f12130a05536d616c6c1881d095ffbc31200150ff0112190a034269671881d095ffbc312008"
    "5885808080808080808001121b0a07507265636973651881d095ffbc31200a699a9999999999b93f12110a024f6e10031881d095ffbc31200b"
    "7001121a0a04536974651881d095ffbc31200c7a094ec3bc726e6265726712110a044e6f6e651881d095ffbc31200c3801121a0a0a494e5438"
    "5f41525241591881d095ffbc312016820102ff02121d0a0b494e5431365f41525241591881d095ffbc312017820104d4fe020012220a0c5549"
    "4e5433325f41525241591881d095ffbc31201c8201080100000000286bee12210a0b464c4f41545f41525241591881d095ffbc31201e820108"
    "0000c03f000000c012200a0d424f4f4c45414e5f41525241591881d095ffbc31202082010503000000a0121f0a0c535452494e475f41525241"
    "591881d095ffbc312021820105610062630012150a0542595445531881d095ffbc31201182010200ff1800"
)
NDATA = bytes.fromhex("08e8d795ffbc31120e100118e8d795ffbc31650000b241120f100218e8d795ffbc3150f8ffffff0f1801")

# the documentation's uplink of The Things Stack, shortened
UPLINK = {
    "end_device_ids": {
        "device_id": "dev1",
        "application_ids": {"application_id": "app1"},
        "dev_eui": "0004A30B001C0530",
        "dev_addr": "00BCB929",
    },
    "correlation_ids": ["as:up:01E0WZGT6Y7657CPFPE5WEYDSQ"],
    "received_at": "2020-02-12T15:15:45.787Z",
    "uplink_message": {
        "session_key_id": "AXA50tHUTSqJWqP7V3EGrQ==",
        "f_port": 1,
        "f_cnt": 2,
        "frm_payload": "Ah8=",
        "decoded_payload": {"temperature": 21.5},
        "rx_metadata": [
            {"gateway_ids": {"gateway_id": "far"}, "rssi": -120, "snr": -3},
            {"gateway_ids": {"gateway_id": "gtw1", "eui": "9C5C8E00001A05C4"}, "rssi": -35, "snr": 5},
            {"gateway_ids": {"gateway_id": "packetbroker"}},
        ],
        "settings": {"data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7}}, "frequency": "867300000"},
    },
}


def decode(format, *messages):
    """What the transform makes of (topic, payload) pairs."""
    events = [make_event(payload, topic=topic) for topic, payload in messages]
    return Decode(Decode.Config(format=format), make_context("decode")).process(events)


class TestJson(TransformContract):
    @pytest.fixture
    def transform(self):
        return Decode(Decode.Config(format="json"), make_context())


class TestSparkplug(TransformContract):
    @pytest.fixture
    def transform(self):
        return Decode(Decode.Config(format="sparkplug"), make_context())


@pytest.mark.parametrize(
    ("format", "payload", "decoded"),
    [
        ("json", '{"a": 1.0}', {"a": 1.0}),
        ("raw", b"\xff\x00", "/wA="),
        ("raw", "text", "dGV4dA=="),
        ("msgpack", msgpack.packb({"a": [1, -1.5, None, b"\xff"], 7: True}),
         {"a": [1, -1.5, None, b"\xff"], "7": True}),
        ("msgpack", msgpack.packb(5).decode(), 5),
        ("msgpack", msgpack.packb(msgpack.Timestamp(1700000000)), "2023-11-14T22:13:20+00:00"),
        ("cbor", cbor2.dumps({"a": [1, -1.5, None, b"\xff"], 7: cbor2.undefined}),
         {"a": [1, -1.5, None, b"\xff"], "7": None}),
        ("cbor", bytes.fromhex("c11a6553f100"), "2023-11-14T22:13:20+00:00"),
        ("cbor", bytes.fromhex("c48221196ab3"), 273.15),
    ],
)  # fmt: skip
def test_a_payload_is_decoded_in_its_place(format, payload, decoded):
    output = decode(format, ("t/1", payload))
    ((_, row),) = output.rows
    assert row["payload"] == decoded
    assert row["topic"] == "t/1"


@pytest.mark.parametrize(
    ("format", "topic", "payload", "why"),
    [
        ("json", "t", "{", "not JSON"),
        ("msgpack", "t", b"\xc1", "not MessagePack: [A-Z]"),
        ("msgpack", "t", b"\x81", "not MessagePack"),
        ("msgpack", "t", msgpack.packb(msgpack.ExtType(5, b"x")), "extension type 5"),
        ("msgpack", "t", b"\x91" * 500 + b"\xc0", "nested deeper|not MessagePack"),
        ("cbor", "t", b"\x82\x01", "not CBOR"),
        ("cbor", "t", bytes.fromhex("d9271001"), "CBORTag has no place"),
        ("ttn", "t", "[]", "JSON object"),
        ("ttn", "t", "{}", "end_device_ids"),
        ("tasmota", "t/1", "{}", "no topic of Tasmota"),
        ("zigbee2mqtt", "zigbee2mqtt", "{}", "no device"),
        ("zigbee2mqtt", "zigbee2mqtt/lamp", "ON", "JSON object"),
        ("sparkplug", "spBv1.0/G/NDATA", b"", "no topic of Sparkplug"),
        ("sparkplug", "spBv1.0/G/NDATA/N", NBIRTH[:-1], "no payload of Sparkplug"),
        ("sparkplug", "spBv1.0/G/NDATA/N", b"\x12\x04\x80\x01\x02", "no payload of Sparkplug"),
    ],
)
def test_what_is_not_what_it_should_be_is_said(format, topic, payload, why):
    output = decode(format, (topic, payload))
    assert not output.rows
    with pytest.raises(ValueError, match=why):
        raise output.exceptions[0]


def test_a_sparkplug_birth_names_its_metrics():
    found = sparkplug("spBv1.0/Plant/NBIRTH/edge7", NBIRTH, Aliases())
    assert (found["group_id"], found["message_type"], found["edge_node"]) == ("Plant", "NBIRTH", "edge7")
    assert (found["device"], found["seq"], found["sent_at"]) == (None, 0, 1700000000000)
    assert found["values"] == {
        "bdSeq": 3,
        "Temp": 21.5,
        "Level": -7,
        "Small": -1,
        "Big": 2**63 + 5,
        "Precise": 0.1,
        "On": True,
        "Site": "Nürnberg",
        "None": None,
        "INT8_ARRAY": [-1, 2],
        "INT16_ARRAY": [-300, 2],
        "UINT32_ARRAY": [1, 4000000000],
        "FLOAT_ARRAY": [1.5, -2.0],
        "BOOLEAN_ARRAY": [True, False, True],
        "STRING_ARRAY": ["a", "bc"],
        "BYTES": b"\x00\xff",
    }
    assert found["metrics"][1] == {
        "name": "Temp",
        "alias": 1,
        "type": "Float",
        "timestamp": 1700000000001,
        "value": 21.5,
    }


def test_sparkplug_data_by_alias_has_the_names_of_its_birth():
    aliases = Aliases()
    before = sparkplug("spBv1.0/Plant/NDATA/edge7", NDATA, aliases)
    assert [metric["name"] for metric in before["metrics"]] == [None, None]
    assert before["values"] == {}
    sparkplug("spBv1.0/Plant/NBIRTH/edge7", NBIRTH, aliases)
    assert sparkplug("spBv1.0/Plant/NDATA/edge7", NDATA, aliases)["values"] == {"Temp": 22.25, "Level": -8}
    assert sparkplug("spBv1.0/Plant/NDATA/other", NDATA, aliases)["values"] == {}
    assert sparkplug("spBv1.0/Plant/DDATA/edge7/dev", NDATA, aliases)["device"] == "dev"
    sparkplug("spBv1.0/Plant/NBIRTH/edge7", b"", aliases)
    assert sparkplug("spBv1.0/Plant/NDATA/edge7", NDATA, aliases)["values"] == {}, "a new birth voids the old names"


@pytest.mark.parametrize(
    ("topic", "payload", "online"),
    [
        ("spBv1.0/STATE/scada", '{"online": true, "timestamp": 5}', True),
        ("STATE/scada", "ONLINE", True),
        ("STATE/scada", "OFFLINE", False),
    ],
)
def test_the_state_of_a_sparkplug_host(topic, payload, online):
    found = sparkplug(topic, payload)
    assert (found["message_type"], found["host"], found["online"]) == ("STATE", "scada", online)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_sparkplug_decoder(data):
    try:
        found = sparkplug("spBv1.0/G/NDATA/N", data, Aliases())
    except ValueError:
        return
    assert isinstance(found["metrics"], list)


def test_an_uplink_of_the_things_stack():
    found = devices.ttn(json.dumps(UPLINK))
    assert found == {
        "kind": "uplink_message",
        "device_id": "dev1",
        "application_id": "app1",
        "dev_eui": "0004A30B001C0530",
        "dev_addr": "00BCB929",
        "received_at": "2020-02-12T15:15:45.787Z",
        "simulated": False,
        "f_port": 1,
        "f_cnt": 2,
        "frm_payload": b"\x02\x1f",
        "decoded": {"temperature": 21.5},
        "rx": {"gateways": 3, "gateway_id": "gtw1", "rssi": -35, "snr": 5},
        "settings": UPLINK["uplink_message"]["settings"],
    }


def test_a_join_of_the_things_stack_has_no_uplink():
    join = {"end_device_ids": UPLINK["end_device_ids"], "join_accept": {"session_key_id": "x"}}
    found = devices.ttn(json.dumps(join))
    assert (found["kind"], found["device_id"]) == ("join_accept", "dev1")
    assert "decoded" not in found


@pytest.mark.parametrize(
    ("topic", "payload", "found"),
    [
        (
            "tele/plug7/SENSOR",
            '{"Time":"2024-01-31T12:00:00","ENERGY":{"Power":12.5},"TempUnit":"C"}',
            {"device": "plug7", "prefix": "tele", "kind": "SENSOR", "time": "2024-01-31T12:00:00",
             "values": {"ENERGY": {"Power": 12.5}, "TempUnit": "C"}},
        ),
        ("tele/plug7/LWT", "Online", {"device": "plug7", "prefix": "tele", "kind": "LWT", "online": True}),
        ("home/plug7/tele/LWT", "Offline", {"device": "home/plug7", "prefix": "tele", "kind": "LWT", "online": False}),
        ("stat/plug7/POWER", "ON", {"device": "plug7", "prefix": "stat", "kind": "POWER", "values": {"POWER": "ON"}}),
        ("stat/plug7/RESULT", '{"POWER":"OFF"}',
         {"device": "plug7", "prefix": "stat", "kind": "RESULT", "time": None, "values": {"POWER": "OFF"}}),
    ],
)  # fmt: skip
def test_tasmota(topic, payload, found):
    assert devices.tasmota(topic, payload) == found


@pytest.mark.parametrize(
    ("topic", "payload", "found"),
    [
        (
            "zigbee2mqtt/hall/door",
            '{"battery":97,"contact":false,"linkquality":123}',
            {"device": "hall/door", "kind": "state", "battery": 97, "linkquality": 123,
             "values": {"battery": 97, "contact": False, "linkquality": 123}},
        ),
        ("zigbee2mqtt/hall/door/availability", '{"state":"online"}',
         {"device": "hall/door", "kind": "availability", "online": True}),
        ("zigbee2mqtt/lamp/availability", "offline", {"device": "lamp", "kind": "availability", "online": False}),
        ("zigbee2mqtt/lamp/set", '{"state":"ON"}', {"device": "lamp", "kind": "set", "values": {"state": "ON"}}),
        ("zigbee2mqtt/bridge/state", '{"state":"online"}',
         {"kind": "bridge", "what": "state", "online": True, "values": {"state": "online"}}),
    ],
)  # fmt: skip
def test_zigbee2mqtt(topic, payload, found):
    assert devices.zigbee2mqtt(topic, payload) == found


def test_the_topics_of_a_format_are_known():
    assert Decode(Decode.Config(format="ttn"), make_context()).inputs().topics == ("v3/+/devices/+/#",)
    assert Decode(Decode.Config(format="json"), make_context()).inputs().topics == ("#",)
    assert Decode(Decode.Config(format="json", topics=["a/#"]), make_context()).inputs().topics == ("a/#",)


def test_an_event_without_payload_is_told_so():
    transform = Decode(Decode.Config(format="json"), make_context())
    assert "NoneType" in str(transform.process([Event({"event": "client.connected"})]).exceptions[0])


def test_the_functions_have_descriptions():
    assert all(function.__doc__ for function in register_functions().values())


CONFIG = """
sources: {{devices: {{type: file, path: "{0}/in.jsonl", lines: event, follow: false}}}}
rules:
  steps:
    transforms:
      - {{type: decode, format: ttn}}
      - {{type: sql, query: 'SELECT device_id, decoded.temperature AS t, rx.rssi AS rssi FROM "v3/#"'}}
    to: out
  function:
    sql: 'SELECT tasmota_decode(topic, payload) AS m, m.device AS device, m.values.ENERGY.Power AS watts FROM "tele/#"'
    to: out
  metrics:
    transforms:
      - {{type: decode, format: sparkplug}}
      - {{type: sql, query: 'FOREACH metrics AS m DO edge_node, m.name AS name INCASE m.alias > 0 FROM "spBv1.0/#"'}}
    to: out
sinks: {{out: {{type: file, path: "{0}/out.jsonl"}}}}
"""


async def test_rules_decode_by_steps_and_by_functions(tmp_path):
    messages = [
        {"topic": "v3/app1/devices/dev1/up", "payload": json.dumps(UPLINK)},
        {"topic": "tele/plug7/SENSOR", "payload": '{"Time":"x","ENERGY":{"Power":12.5}}'},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(message) + "\n" for message in messages))
    async with run_pipeline(CONFIG.format(tmp_path)) as running:
        await running.until(lambda s: s["sinks"]["out"]["counters"]["success"] == 2)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows[0] == {"device_id": "dev1", "t": 21.5, "rssi": -35}
    assert (rows[1]["device"], rows[1]["watts"]) == ("plug7", 12.5)
