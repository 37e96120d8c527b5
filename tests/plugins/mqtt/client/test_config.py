"""Options of `mqtt`, and what they are refused for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from headrace import Event
from headrace_plugins.mqtt.clientid import parse_mapping
from headrace_plugins.mqtt.source import Mqtt
from headrace_plugins.mqtt.subscriptions import without_covered


def config(**options):
    return Mqtt.Config(**{"url": "mqtt://localhost", **options})


def test_the_usual_ports():
    assert config().address == ("localhost", 1883)
    assert config(url="mqtts://broker.example").address == ("broker.example", 8883)
    assert config(url="mqtt://[::1]:1884/").address == ("::1", 1884)
    assert config(url="ws://broker").address == ("broker", 80)
    assert config(url="wss://broker:8084").address == ("broker", 8084)
    assert config(url="unix:///run/broker.sock").address[0] == "/run/broker.sock"


def test_the_path_of_a_websocket():
    assert config(url="ws://broker").path == "/mqtt"
    assert config(url="wss://broker/a/b?token=1").path == "/a/b?token=1"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "localhost:1883"}, "mqtt://host:port"),
        ({"url": "http://localhost"}, "mqtt://host:port"),
        ({"url": "mqtt://"}, "mqtt://host:port"),
        ({"url": "mqtt://localhost/topic"}, "mqtt://host:port"),
        ({"url": "mqtt://localhost:99999"}, "Port out of range"),
        ({"url": "mqtt://user:secret@localhost"}, "not in the URL"),
        ({"url": "unix://host/path"}, "unix:///path"),
        ({"url": "unix://"}, "unix:///path"),
        ({"url": "ws://"}, "ws://host:port/path"),
        ({"headers": {"X-A": "1"}}, "for ws:// and wss://"),
        ({"url": "ws://broker", "headers": {"X-A": "1\r\nB: 2"}}, "control characters"),
        ({"url": "ws://broker", "headers": {"X A": "1"}}, "is no header"),
        ({"share": "g"}, "a client_id of its own"),
        ({"share": "a/b", "client_id": "x"}, "a group's name"),
        ({"retained": "some"}, "'new_only', 'all' or 'ignore'"),
        ({"password": "x"}, "needs a username"),
        ({"tls": {}}, "plain text"),
        ({"url": "mqtts://localhost", "tls": {"cert": "c.pem"}}, "belong together"),
        ({"topics": ["a/#/b"]}, "'#' must be a whole level"),
        ({"clientid": "topic[0]"}, "none of"),
        ({"clientid": "topic[2] | header.x"}, "'header.x' is none of"),
        ({"qos": 3}, "0, 1 or 2"),
        ({"version": "3"}, "'5' or '3.1.1'"),
        ({"keepalive": 30}, "needs a unit"),
    ],
)
def test_what_is_refused(options, why):
    with pytest.raises(ValidationError, match=why) as caught:
        config(**options)
    if "secret" in str(options):
        assert "give user and password" in str(caught.value)


def test_the_password_is_not_shown():
    options = config(username="me", password="hush")
    assert "hush" not in repr(options)
    assert "hush" not in options.model_dump_json()


@pytest.mark.parametrize(
    ("mapping", "topic", "payload", "properties", "clientid"),
    [
        ("topic[1]", "plant/meter-1/temp", "", {}, "plant"),
        ("topic[2]", "plant/meter-1/temp", "", {}, "meter-1"),
        ("topic[-1]", "plant/meter-1", "", {}, "meter-1"),
        ("topic[4]", "plant/meter-1/temp", "", {}, None),
        ("topic[-4]", "plant/meter-1/temp", "", {}, None),
        ("topic[1]", "/x", "", {}, None),
        ("user_property.device id", "t", "", {"device id": "d7"}, "d7"),
        ("user_property.device", "t", "", {}, None),
        ("payload.id", "t", '{"id": "d7"}', {}, "d7"),
        ("payload.id", "t", '{"id": 7}', {}, "7"),
        ("payload.id", "t", '{"id": true}', {}, None),
        ("payload.a.b", "t", '{"a": {"b": "d7"}}', {}, "d7"),
        ("payload.a.b", "t", '{"a": [1]}', {}, None),
        ("payload.id", "t", "no JSON", {}, None),
        ("payload.id", "t", "[1]", {}, None),
        ("payload.id|topic[2] | topic[1]", "t", "{}", {}, "t"),
    ],
)
def test_where_the_client_id_comes_from(mapping, topic, payload, properties, clientid):
    columns = {"topic": topic, "payload": payload, "pub_props": {"User-Property": properties} if properties else {}}
    assert parse_mapping(mapping)(Event(columns)) == clientid


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (("t/1", "t/#"), ("t/#",)),
        (("t/#", "t/+"), ("t/#",)),
        (("t/#", "t"), ("t/#",)),
        (("#", "$SYS/#"), ("#", "$SYS/#")),
        (("t/+", "t/#", "u/+"), ("t/#", "u/+")),
        (("+/1", "t/+"), ("+/1", "t/+")),
        (("t/1", "t/1"), ("t/1",)),
        (("$share/g/t/#", "t/#", "t/1"), ("$share/g/t/#", "t/#")),
        (("t/+/x", "t/a/x", "t/a/y"), ("t/+/x", "t/a/y")),
    ],
)
def test_filters_that_others_include_are_left_out(filters, left):
    assert set(without_covered(filters)) == set(left)
