"""``headrace explain``: why a rule fired, or did not."""

import json
from pathlib import Path
from typing import Any

import pytest

from commands import Headrace

CONFIG = """
sources: {broker: {type: mqtt, url: "mqtt://localhost"}, direct: {type: mqtt_server, listen: "127.0.0.1:0"}}
connectors: {shop: {type: http, url: "http://localhost:5000/in?key=hunter2", headers: {X-Token: hunter2}}}
rules:
  hot:
    sql: SELECT payload.temp AS temp, clientid FROM "site/#", "t/+" WHERE payload.temp > 30 AND clientid = 'c1'
    to: [shop, screen]
  online: {sql: 'SELECT clientid FROM "$events/client/+"', to: screen}
  direct_only: {sql: 'SELECT * FROM "#"', to: screen, sources: direct}
  each:
    transforms:
      - {type: sql, query: 'FOREACH payload.list AS item DO item.n AS n FROM "lists/#"'}
      - {type: sql, query: 'SELECT n * 2 AS twice FROM "#" WHERE n > 1'}
    to: screen
sinks:
  shop: {type: http, connector: shop, path: "/hot/${clientid}", body: {t: "${temp}"}}
  screen: {type: console, template: "${clientid} ${temp}"}
"""


@pytest.fixture
def explain(cli: Headrace) -> Any:
    Path("p.yaml").write_text(CONFIG)

    def run(*argv: str) -> Any:
        result = cli("explain", "p.yaml", "-o", "json", *argv)
        return {told["rule"]: told for told in json.loads(result.out)["rules"]}

    return run


def test_a_rule_that_fires_shows_its_row_and_what_each_sink_would_send(explain: Any) -> None:
    told = explain("--topic", "t/1", "--payload", '{"temp": 40}', "--clientid", "c1")["hot"]
    assert told["seen"] is True
    assert told["lines"] == [
        'FROM "site/#": does not match topic t/1',
        'FROM "t/+": matches topic t/1',
        "WHERE payload.temp > 30 AND clientid = 'c1': true",
        "  payload.temp > 30: true (payload.temp is 40)",
        "  clientid = 'c1': true (clientid is \"c1\")",
    ]
    assert told["rows"] == [{"temp": 40, "clientid": "c1"}]
    ((shop, screen),) = told["sends"]
    assert (shop["sink"], shop["type"], shop["error"]) == ("shop", "http", "")
    assert screen["request"] == {"line": "c1 40"}


def test_a_rule_that_does_not_fire_says_which_operand_was_to_blame(explain: Any) -> None:
    told = explain("--topic", "t/1", "--payload", '{"temp": 12}', "--clientid", "c1")["hot"]
    assert told["rows"] == told["sends"] == []
    assert "  payload.temp > 30: false (payload.temp is 12)" in told["lines"]
    assert told["lines"][-1] == "no row: WHERE is false"


def test_a_payload_that_is_no_json_is_said(explain: Any) -> None:
    told = explain("--topic", "t/1", "--payload", "warm")["hot"]
    assert "the payload is not JSON" in told["lines"][-1]


def test_an_event_no_filter_matches_is_not_seen(explain: Any) -> None:
    told = explain("--topic", "other", "--clientid", "c1")
    assert told["hot"]["seen"] is False
    assert told["hot"]["lines"][-1] == "no row: the rule does not see this event"
    assert told["direct_only"]["seen"] is True
    assert told["online"]["lines"][0] == 'FROM "$events/client/+": does not match topic other'


def test_an_event_by_its_name(explain: Any) -> None:
    told = explain("--event", "client_connected", "--clientid", "c9")
    assert told["online"]["rows"] == [{"clientid": "c9"}]
    assert [name for name, each in told.items() if each["seen"]] == ["online"]


def test_columns_from_a_file(explain: Any) -> None:
    columns = {"topic": "t/1", "clientid": "c1", "payload": {"temp": 31}, "qos": 2}
    Path("event.json").write_text(json.dumps(columns))
    assert explain("--event", "event.json")["hot"]["rows"] == [{"temp": 31, "clientid": "c1"}]
    assert explain("--event", "event.json", "--payload", '{"temp": 1}')["hot"]["rows"] == []


def test_steps_hand_their_rows_on(explain: Any) -> None:
    told = explain("--topic", "lists/1", "--payload", '{"list": [{"n": 1}, {"n": 2}, {"n": 3}]}')["each"]
    assert told["rows"] == [{"twice": 4}, {"twice": 6}]
    assert told["lines"][1:3] == ["step 2, sql: WHERE n > 1: false", "step 2, sql:   n > 1: false (n is 1)"]


def test_a_rule_that_reads_from_other_sources_says_so(explain: Any) -> None:
    told = explain("--topic", "t", "--source", "broker")["direct_only"]
    assert told["lines"] == ["the rule reads from direct only, not from broker"]
    assert explain("--topic", "t", "--source", "direct")["direct_only"]["seen"] is True


def test_the_text_names_rules_rows_and_sinks(cli: Headrace) -> None:
    Path("p.yaml").write_text(CONFIG)
    result = cli("explain", "p.yaml", "--rule", "hot", "--payload", '{"temp": 40}', "--clientid", "c1")
    assert result.code == 0
    assert result.out.startswith("rule hot: 1 row\n  FROM ")
    assert '\n  row: {"temp":40,"clientid":"c1"}\n    to shop (http)\n' in result.out
    assert "\n    to screen (console)\n      line: c1 40\n" in result.out
    assert cli("explain", "p.yaml", "--rule", "hot", "--topic", "nowhere").code == 1


def test_what_is_not_there_is_named(cli: Headrace) -> None:
    Path("p.yaml").write_text(CONFIG)
    assert cli("explain", "p.yaml", "--rule", "cold").err == (
        "headrace: there is no rule 'cold'; there are hot, online, direct_only, each\n"
    )
    assert "did you mean 'client.connected'" in cli("explain", "p.yaml", "--event", "client.conected").err
    Path("broken.json").write_text("{")
    assert "a topic without wildcards, not 'a/#'" in cli("explain", "p.yaml", "--topic", "a/#").err
    assert "broken.json is not JSON" in cli("explain", "p.yaml", "--event", "broken.json").err
    assert cli("explain", "p.yaml", "--set", "x=1").code == 78


def test_a_request_that_cannot_be_made_says_why(cli: Headrace) -> None:
    Path("p.yaml").write_text(CONFIG)
    sink = 'sinks.shop={type: http, connector: shop, body: "${nope}", missing: error}'
    argv = ("--rule", "hot", "--payload", '{"temp": 40}', "--clientid", "c1")
    result = cli("explain", "p.yaml", "--set", sink, *argv)
    assert "to shop (http): cannot be sent: the event has no value for ${nope}" in result.out
