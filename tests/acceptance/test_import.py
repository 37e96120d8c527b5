"""``headrace import emqx``: what EMQX's API answers becomes a configuration that lint passes."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from commands import Headrace

RULES = {
    "data": [
        {"id": "rule_1", "name": "", "enable": True, "sql": 'SELECT payload.t AS t FROM "t/#"',
         "actions": ["http:to web", "mqtt:other", {"function": "console"}]},
        {"id": "2nd", "enable": False, "sql": 'SELECT * FROM "u/#"', "actions": ["webhook:old"]},
    ],
    "meta": {"count": 2},
}  # fmt: skip
CONNECTORS = [
    {"type": "http", "name": "server", "url": "https://a.example:8443", "pool_size": 8, "max_inactive": "20s",
     "connect_timeout": "15s", "enable_pipelining": 100, "headers": {"x-key": "k"},
     "ssl": {"enable": True, "verify": "verify_none", "cacertfile": "/etc/ca.pem", "server_name_indication": "a"}},
    {"type": "kafka_producer", "name": "k", "bootstrap_hosts": "k:9092"},
]  # fmt: skip
ACTIONS = [
    {"type": "http", "name": "to web", "connector": "server", "enable": True,
     "parameters": {"method": "post", "path": "/x?a=${t}", "body": "", "headers": {"connection": "keep-alive"}},
     "fallback_actions": [{"kind": "reference", "type": "http", "name": "spare"}, {"kind": "republish", "args": {}}],
     "resource_opts": {"request_ttl": "infinity", "inflight_window": 10, "max_buffer_bytes": "100MB",
                       "resume_interval": "3s"}},
    {"type": "http", "name": "spare", "connector": "server", "parameters": {"method": "put", "path": ""}},
]  # fmt: skip
BRIDGES = {
    "type": "webhook",
    "name": "old",
    "url": "http://b.example",
    "method": "get",
    "headers": {"authorization": "******"},
}


@pytest.fixture
def files(cli: Headrace) -> list[str]:
    for name, document in {"rules": RULES, "connectors": CONNECTORS, "actions": ACTIONS, "bridges": [BRIDGES]}.items():
        Path(f"{name}.json").write_text(json.dumps(document))
    return ["rules.json", "connectors.json", "actions.json", "bridges.json"]


def test_answers_of_the_api_become_a_configuration(
    cli: Headrace, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = cli("import", "emqx", *files)
    assert (result.code, result.err) == (0, "")
    made: dict[str, Any] = YAML(typ="safe").load(result.out)
    assert made["rules"] == {
        "rule_1": {"sql": 'SELECT payload.t AS t FROM "t/#"', "to": ["to_web", "console"]},
        "2nd": {"sql": 'SELECT * FROM "u/#"', "to": ["old"], "enable": False},
    }
    assert made["connectors"] == {
        "server": {"type": "http", "url": "https://a.example:8443", "headers": {"x-key": "k"}, "max_inactive": "20s",
                   "tls": {"ca": "/etc/ca.pem", "server_name": "a"}},
    }  # fmt: skip
    assert made["sinks"]["to_web"] == {
        "type": "http", "profile": "emqx", "connector": "server", "path": "/x?a=${t}", "body": "", "ttl": None,
        "inflight": 10, "buffer": {"max_bytes": "100MB"}, "retry": {"max": "3s"}, "on_error": "spare",
    }  # fmt: skip
    assert made["sinks"]["spare"] == {"type": "http", "profile": "emqx", "connector": "server", "method": "PUT"}
    assert made["sinks"]["old"]["headers"] == {"authorization": "${env:OLD_AUTHORIZATION}"}
    remarks = [line for line in result.out.splitlines() if line.startswith("# ")]
    assert remarks == [
        "# rule rule_1: its action mqtt:other is left out",
        "# connector server: EMQX did not verify the server's certificate, headrace does",
        "# kafka_producer k: only HTTP is taken over",
        "# sink to_web: a fallback action is left out: republish",
        "# old: EMQX hides the value of authorization; set the environment variable OLD_AUTHORIZATION",
    ]
    Path("made.yaml").write_text(result.out.replace("/etc/ca.pem", str(_authority())))
    monkeypatch.setenv("OLD_AUTHORIZATION", "Bearer x")
    linted = cli("lint", "made.yaml")
    assert linted.code == 0, linted.out


def _authority() -> Path:
    import ssl

    found = ssl.get_default_verify_paths().cafile
    return Path(found) if found else Path("/etc/ssl/certs/ca-certificates.crt")


def test_what_is_no_json_and_what_has_no_rule_is_said(cli: Headrace) -> None:
    Path("x.json").write_text("connectors {")
    assert "cannot read x.json" in cli("import", "emqx", "x.json").err
    Path("x.json").write_text("[]")
    result = cli("import", "emqx", "x.json")
    assert (result.code, "there is no rule in it" in result.err) == (0, True)
