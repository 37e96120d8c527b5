"""``webhooks``: what one stands for, and where its errors are."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config import check
from headrace.config.show import effective
from headrace.topics import event_named

FRAME = 'sources:\n  s: {{type: mqtt_server, listen: "127.0.0.1:0"}}\n{}'


def checked(tmp_path: Path, text: str):
    file = tmp_path / "c.yaml"
    file.write_text(FRAME.format(text))
    return check([file])


def query(tmp_path: Path, webhook: str) -> str:
    found = checked(tmp_path, f"webhooks:\n  hook: {{url: 'http://h/x', {webhook}}}\n")
    assert found.problems == []
    assert found.spec is not None
    return effective(found.spec)["rules"]["hook"]["transforms"][0]["query"]


def test_a_webhook_is_a_connector_a_rule_and_a_sink(tmp_path):
    text = (
        "webhooks:\n  hook:\n    url: 'https://h/x'\n    events: all\n    pool_size: 4\n"
        "    headers: {X-A: b}\n    retry: {max: 5s}\n    method: PUT\n"
    )
    found = checked(tmp_path, text)
    assert found.problems == []
    shown = effective(found.spec)
    assert shown["connectors"] == {"hook": {"type": "http", "url": "https://h/x", "pool_size": 4}}
    assert shown["rules"] == {
        "hook": {"transforms": [{"type": "sql", "query": 'SELECT * FROM "#", "$events/#"'}], "to": ["hook"]}
    }
    sink = shown["sinks"]["hook"]
    assert sink == {
        "type": "http",
        "connector": "hook",
        "headers": {"X-A": "b"},
        "method": "PUT",
        "retry": {"max": "5s"},
    }
    assert "webhooks" not in shown


@pytest.mark.parametrize(
    ("webhook", "topics"),
    [
        ("topics: ['a/#', b]", '"a/#", "b"'),
        ("topics: a/#", '"a/#"'),
        ("events: all, topics: [a]", '"a", "$events/#"'),
        (
            "events: [client.connected, client_disconnected]",
            '"$events/client/connected", "$events/client/disconnected"',
        ),
        ("events: [$events/client/+], topics: [a]", '"a", "$events/client/+"'),
        ("events: message.dropped", '"$events/message/dropped"'),
    ],
)
def test_events_and_topics_are_what_the_rule_reads(tmp_path, webhook, topics):
    assert query(tmp_path, webhook) == f"SELECT * FROM {topics}"


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("webhooks:\n  hook: {events: all}\n", (4, 3), "webhooks.hook: needs 'url'"),
        ("webhooks:\n  hook: {url: 'http://h'}\n", (4, 3), "needs 'events' (all, or a list of names)"),
        (
            "webhooks:\n  hook: {url: 'http://h', events: [client.conected]}\n",
            (4, 36),
            "(did you mean 'client.connected'?)",
        ),
        ("webhooks:\n  hook: {url: 'http://h', topics: [a, 'b/#/c']}\n", (4, 39), "the last one"),
        ("webhooks:\n  hook: {url: 'ftp://h', events: all}\n", (4, 15), "http"),
        ("webhooks:\n  hook: {url: 'http://h', events: all, methd: PUT}\n", (4, 40), "(did you mean 'method'?)"),
        ("webhooks:\n  hook: {url: 'http://h', events: all, timeout: 5}\n", (4, 49), "unit"),
        ("webhooks: [a]\n", (3, 11), "a map of names"),
        ("webhooks:\n  hook: x\n", (4, 9), "a map with url"),
        ("webhooks:\n  hook: {url: 'http://h', events: [1]}\n", (4, 36), "takes a list of names"),
        ("webhooks:\n  a b: {url: 'http://h', events: all}\n", (4, 3), "is no name"),
        (
            "sinks:\n  hook: {type: console}\nwebhooks:\n  hook: {url: 'http://h', events: all}\n",
            (6, 3),
            "there is already sinks.hook",
        ),
        ("webhook:\n  hook: {url: 'http://h', events: all}\n", (3, 1), "(did you mean 'webhooks'?)"),
    ],
)
def test_an_error_points_at_the_webhook(tmp_path, text, place, why):
    errors = [p for p in checked(tmp_path, text).problems if p.severity == "error"]
    assert [(p.line, p.column) for p in errors if why in p.message] != []
    (first,) = [p for p in errors if why in p.message][:1]
    assert (first.line, first.column) == place


def test_a_webhook_goes_beside_other_parts(tmp_path):
    text = (
        "rules:\n  r: {sql: 'SELECT * FROM \"t\"', to: [out, hook]}\nsinks:\n  out: {type: console}\n"
        "webhooks:\n  hook: {url: 'http://h', topics: a}\n"
    )
    found = checked(tmp_path, text)
    assert found.problems == []
    assert list(found.spec.rules) == ["r", "hook"]
    assert list(found.spec.sinks) == ["out", "hook"]


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("client.connected", "$events/client/connected"),
        ("client_connected", "$events/client/connected"),
        ("$events/client_connected", "$events/client/connected"),
        ("$events/client/connected", "$events/client/connected"),
        ("$events/#", "$events/#"),
        ("client", None),
        ("client/+", None),
        ("message.publish", None),
    ],
)
def test_events_are_known_by_all_their_names(text, topic):
    assert event_named(text) == topic
