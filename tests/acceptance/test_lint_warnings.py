"""Warnings of lint: what is right and hardly meant, each at its place, without changing the exit code."""

import json
from pathlib import Path

from commands import Headrace

ODD = """\
sources:
  broker: {type: mqtt, url: "mqtt://localhost", clientid: "topic[2]", topics: [$share/g/t/#]}
  devices: {type: mqtt_server, listen: "127.0.0.1:0"}
  made: {type: generate, topic: "site/${device}-a/x"}
rules:
  online: {sql: 'SELECT username FROM "$events/client_connected"', to: screen, sources: broker}
  on:
    sql: |
      SELECT clientid
      FROM "t/#"
      WHERE payload.state = "on"
    to: screen
  steps:
    transforms:
      - {type: sql, query: SELECT payload.a AS a FROM "site/+/x" WHERE 1 = 2}
      - {type: sql, query: SELECT whatever FROM "#" WHERE whatever = 1 AND whatever = 2}
    to: screen
    sources: made
  elsewhere: {sql: {query: 'SELECT * FROM "u/#"'}, to: screen, sources: [broker, made]}
sinks:
  screen: {type: console}
"""


def test_each_warning_has_its_place(cli: Headrace) -> None:
    Path("odd.yaml").write_text(ODD)
    result = cli("lint", "odd.yaml")
    assert result.code == 0
    lines = result.out.splitlines()
    begin, messages = zip(*(line.split(".query: ") for line in lines[::3]), strict=True)
    assert list(begin) == [
        "odd.yaml:6:39: warning: rules.online.sql",
        "odd.yaml:11:29: warning: rules.on.sql",
        "odd.yaml:15:72: warning: rules.steps.transforms.0",
        "odd.yaml:16:76: warning: rules.steps.transforms.1",
        "odd.yaml:19:43: warning: rules.elsewhere.sql",
    ]
    assert list(messages) == [
        "no source of this rule gives '$events/client_connected', so nothing is ever read from it",
        "\"on\" is the column of that name, and there is none; a value is written 'on'",
        "the rule never has a result: 1 = 2 is always false",
        "the rule never has a result: whatever = 1 and whatever = 2 exclude each other",
        "no source of this rule gives 'u/#', so nothing is ever read from it",
    ]
    assert lines[4:6] == ['   11 |       WHERE payload.state = "on"', "      |                             ^"]
    assert result.err == "0 errors, 5 warnings\n"
    found = json.loads(cli("lint", "odd.yaml", "-o", "json").out)
    assert found["ok"] is True
    assert {problem["severity"] for problem in found["problems"]} == {"warning"}


def test_a_source_that_does_not_say_what_it_gives_stops_the_guessing(cli: Headrace) -> None:
    Path("bare.yaml").write_text("rules: {r: {sql: 'SELECT x FROM \"t\"', to: s}}\nsinks: {s: {type: console}}\n")
    assert [line for line in cli("lint", "bare.yaml").out.splitlines() if "warning" in line] == [
        "bare.yaml:1:1: warning: no sources: nothing comes in"
    ]


def test_sql_warns_too(cli: Headrace) -> None:
    result = cli("sql", 'SELECT * FROM "t/#" WHERE payload.state = "on"', "--payload", '{"state": "on"}')
    assert result.code == 1
    assert result.err.startswith('query:1:43: warning: "on" is the column of that name')
    found = json.loads(cli("sql", 'SELECT payload.a[0] AS x FROM "t/#"', "--payload", "{}", "-o", "json").out)
    assert [text.splitlines()[0] for text in found["warnings"]] == [
        "query:1:17: warning: there is no element 0: the first is [1], the last [-1]"
    ]
