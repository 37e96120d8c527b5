"""The transform ``presence``: what is told of devices, when, and what is remembered."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
from pydantic import ValidationError

from headrace import Event
from headrace.testing import make_context
from headrace.testing.contracts import TransformContract
from headrace.testing.pipelines import run_pipeline
from headrace_plugins.presence import Presence, transform
from headrace_plugins.presence.journal import Journal

T0 = 1_800_000_000_000


@pytest.fixture
def at(monkeypatch):
    """``at(seconds)``: the clock stands at so many seconds after the beginning."""
    now = [T0]
    monkeypatch.setattr(transform, "now_ms", lambda: now[0])

    def at(seconds):
        now[0] = T0 + int(seconds * 1000)
        return now[0]

    return at


class Following:
    """A transform and its clock."""

    def __init__(self, at, directory=None, **options):
        self._at, self._directory, self._options = at, directory, options
        self.restart()

    def restart(self):
        config = Presence.Config(**self._options)
        self.transform = Presence(config, make_context("rule", state_dir=self._directory))

    def client(self, seconds, name, device="d1", **columns):
        event = Event(
            {"event": f"client.{name}", "clientid": device, **columns}, key=device, timestamp=self._at(seconds)
        )
        return self.transform.process([event])

    def message(self, seconds, topic="s/d1", payload="x", clientid=None):
        columns = {"event": "message.publish", "topic": topic, "payload": payload}
        columns |= {"clientid": clientid} if clientid else {}
        return self.transform.process([Event(columns, key=topic, timestamp=self._at(seconds))])

    def told(self, seconds, taken=True):
        events = self.transform.due(self._at(seconds))
        if taken:
            self.transform.taken(events)
        return [(e["device"], e["online"], (e["at"] - T0) / 1000, e["reason"]) for e in events]


@pytest.fixture
def follow(at, tmp_path):
    return lambda **options: Following(at, tmp_path, **options)


class TestContract(TransformContract):
    @pytest.fixture
    def transform(self):
        return Presence(Presence.Config(topics=["#"], device="topic[2]"), make_context())


def test_changes_are_told_once(follow):
    f = follow()
    f.client(0, "connected")
    assert f.told(0) == [("d1", True, 0, "connected")]
    f.client(1, "connected")
    assert f.told(1) == []
    f.client(2, "disconnected", reason="tcp_closed")
    assert f.told(2) == [("d1", False, 2, "tcp_closed")]


def test_what_lasts_shorter_than_the_debounce_is_not_told(follow):
    f = follow(debounce="10s")
    f.client(0, "connected")
    assert f.told(9.9) == []
    assert f.told(10) == [("d1", True, 0, "connected")]
    for second in range(20, 60, 4):
        f.client(second, "disconnected")
        f.client(second + 2, "connected")
        assert f.told(second + 3) == []
    assert f.told(100) == []
    f.client(101, "disconnected")
    assert f.told(111) == [("d1", False, 101, "disconnected")]


def test_a_takeover_is_no_absence(follow):
    f = follow()
    f.client(0, "connected", connected_at=T0)
    f.told(0)
    f.client(5, "connected", connected_at=T0 + 5000)
    f.client(6, "disconnected", reason="keepalive_timeout", connected_at=T0)
    f.client(7, "disconnected", reason="takenover")
    f.client(7, "disconnected", reason="discarded")
    assert f.told(8) == []
    f.client(9, "disconnected", reason="normal", connected_at=T0 + 5000)
    assert f.told(9) == [("d1", False, 9, "normal")]


def test_what_comes_late_changes_nothing(follow):
    f = follow()
    f.client(10, "connected")
    late = Event({"event": "client.disconnected", "clientid": "d1"}, key="d1", timestamp=T0 + 5000)
    f.transform.process([late])
    assert f.told(11) == [("d1", True, 10, "connected")]


def test_silence_is_absence_and_a_message_ends_it(follow):
    f = follow(topics=["s/+"], device="topic[2]", events=False, silent_after="60s")
    f.message(0)
    assert f.told(0) == [("d1", True, 0, "message")]
    f.message(50)
    assert f.told(100) == []
    assert f.told(110) == [("d1", False, 110, "silence")]
    f.message(200)
    assert f.told(200) == [("d1", True, 200, "message")]
    assert len(f.transform._silences) == 1


def test_words_say_online_and_offline(follow):
    f = follow(topics=["s/+"], device="topic[2]", events=False, online=["online"], offline=["offline"])
    f.message(0, payload="Online")
    assert f.told(0) == [("d1", True, 0, "message")]
    f.message(1, payload='{"state": "OFFLINE"}')
    assert f.told(1) == [("d1", False, 1, "message")]
    f.message(2, payload="something else")
    assert f.told(2) == []


def test_devices_can_be_named_in_the_payload(follow):
    f = follow(topics=["s/#"], device="payload.dev.id", events=False)
    f.message(0, payload='{"dev": {"id": 7}}')
    assert f.told(0) == [("7", True, 0, "message")]
    assert "payload.dev.id" in str(f.message(1, payload="{}").exceptions[0])


def test_the_words_of_a_broker_webhook(follow):
    words = {"online": ["client.connected"], "offline": ["client.disconnected"]}
    f = follow(topics=["hook"], device="payload.clientid", events=False, path="event", **words)
    f.message(0, "hook", '{"event": "client.connected", "clientid": "d1"}')
    f.message(1, "hook", '{"event": "message.publish", "clientid": "d1"}')
    assert f.told(1) == [("d1", True, 0, "message")]
    f.message(2, "hook", '{"event": "client.disconnected", "clientid": "d1"}')
    assert f.told(2) == [("d1", False, 2, "message")]


def test_how_long_it_was_before_is_told(follow):
    f = follow()
    f.client(0, "connected")
    f.told(0)
    f.client(30, "disconnected")
    (event,) = f.transform.due(T0 + 30_000)
    assert event["before"] == 30_000
    assert event.key == "d1"
    assert event.timestamp == event["at"] == T0 + 30_000


def test_what_is_known_is_kept_over_restarts(follow):
    f = follow(debounce="10s")
    f.client(0, "connected")
    assert f.told(10) == [("d1", True, 0, "connected")]
    f.client(20, "disconnected", reason="normal")
    f.restart()
    assert f.told(25) == []
    assert f.told(30) == [("d1", False, 20, "normal")], "what was under way is told"
    f.restart()
    assert f.told(60) == [], "what was told is not"


def test_what_the_stream_did_not_take_is_told_again_under_the_same_id(follow):
    f = follow()
    f.client(0, "connected")
    first = f.transform.due(T0)
    assert f.told(1) == [], "it is on its way"
    f.restart()
    assert [event.id for event in f.transform.due(T0)] == [event.id for event in first]


def test_a_change_while_the_last_is_on_its_way_is_told_after_it(follow):
    f = follow()
    f.client(0, "connected")
    events = f.transform.due(T0)
    f.client(1, "disconnected")
    assert f.told(1) == []
    f.transform.taken(events)
    assert f.told(2) == [("d1", False, 1, "disconnected")]


def test_silence_while_we_were_away_does_not_count(follow):
    f = follow(topics=["s/+"], device="topic[2]", silent_after="60s")
    f.message(0)
    f.told(0)
    f._at(1000)
    f.restart()
    assert f.told(1000) == []
    assert f.told(1060) == [("d1", False, 1060, "silence")]


def test_a_torn_line_is_passed_over(follow, tmp_path):
    f = follow()
    f.client(0, "connected")
    f.told(0)
    file = tmp_path / "presence" / "rule.jsonl"
    Journal.of(file).read()
    with file.open("a") as end:
        end.write('["d2", tr')
    f.restart()
    f.client(1, "disconnected")
    f.told(1)
    f.restart()
    assert f.told(2) == []
    assert set(f.transform._known.all) == {"d1"}


def test_nothing_is_written_where_events_pass(follow, monkeypatch):
    threads = set()
    append = Journal._append

    def seen(journal, lines):
        threads.add(threading.current_thread())
        append(journal, lines)

    monkeypatch.setattr(Journal, "_append", seen)
    f = follow()
    f.client(0, "connected")
    f.told(0)
    f.restart()
    assert f.told(1) == []
    assert threads
    assert threading.current_thread() not in threads


def test_a_disk_that_fails_loses_nothing(follow, tmp_path):
    (tmp_path / "presence").write_text("in the way")
    f = follow()
    f.client(0, "connected")
    f.client(0, "connected", "d2")
    assert len(f.told(0)) == 2, "events go on"
    journal = Journal.of(tmp_path / "presence" / "rule.jsonl")
    with journal._changed:
        journal._changed.wait_for(lambda: not journal._busy)
    f.told(1)
    assert "not kept" in str(f.transform.ctx.status.last_error)
    (tmp_path / "presence").unlink()
    f.told(2)
    f.restart()
    assert f.told(3) == []
    assert set(f.transform._known.all) == {"d1", "d2"}


def test_a_process_that_ends_leaves_nothing_unwritten(tmp_path):
    program = """
import sys, pathlib
from headrace_plugins.presence.journal import Journal
journal = Journal.of(pathlib.Path(sys.argv[1]))
journal.read()
for n in range(5000):
    journal.add({f"d{n % 100}": f'["d{n % 100}", {n}]\\n'}, 300)
"""
    file = tmp_path / "presence" / "rule.jsonl"
    subprocess.run([sys.executable, "-c", program, file], check=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) <= 400
    assert dict(lines) == {f"d{n}": 4900 + n for n in range(100)}


def test_the_file_does_not_grow_without_end(follow, tmp_path):
    f = follow()
    for second in range(2000):
        f.client(second, "disconnected" if second % 2 else "connected")
        f.told(second)
    Journal.of(tmp_path / "presence" / "rule.jsonl").read()
    assert len((tmp_path / "presence" / "rule.jsonl").read_text().splitlines()) < 1100


def test_devices_are_bounded(follow):
    f = follow(max_devices=2)
    for n in range(2):
        f.client(0, "connected", f"d{n}")
    assert "more than 2 devices" in str(f.client(0, "connected", "d2").exceptions[0])


def test_an_explanation_changes_nothing(follow):
    f = follow(debounce="10s")
    event = Event({"event": "client.connected", "clientid": "d1"}, key="d1")
    assert "device d1 is online" in f.transform.explain(event).lines[0]
    assert f.told(100) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"events": False}, "needs `topics`"),
        ({"topics": ["a/#/b"]}, "last one"),
        ({"device": "client"}, r"topic\[2\]"),
    ],
)
def test_wrong_options_are_refused(options, why):
    with pytest.raises(ValidationError, match=why):
        Presence.Config(**options)


CONFIG = """
sources:
  old: {{type: file, path: "{0}/in.jsonl", lines: event, follow: false}}
rules:
  who:
    presence: {{topics: ["s/+"], device: "topic[2]", silent_after: 1s}}
    to: out
  text:
    transforms:
      - {{type: presence, topics: ["s/+"], device: "topic[2]"}}
      - {{type: sql, query: 'SELECT device AS d FROM "s/+" WHERE online'}}
    to: text
sinks:
  out: {{type: file, path: "{0}/out.jsonl"}}
  text: {{type: file, path: "{0}/text.jsonl"}}
"""


async def test_a_rule_tells_in_a_pipeline_and_once_over_restarts(tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"topic": "s/d1", "payload": "x"}) + "\n")
    out = tmp_path / "out.jsonl"
    for _ in range(2):
        async with run_pipeline(CONFIG.format(tmp_path), directory=tmp_path / "log") as running:
            await running.until(lambda s: s["sources"]["old"]["state"] == "stopped")
            status = await running.until(
                lambda s: out.exists() and out.read_text().count("\n") == 2 and (tmp_path / "text.jsonl").exists()
            )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["device"], row["online"], row["reason"]) for row in rows] == [
        ("d1", True, "message"),
        ("d1", False, "silence"),
    ]
    assert (tmp_path / "text.jsonl").read_text() == '{"d":"d1"}\n'
    assert status["rules"]["who"]["counters"]["failed.exception"] == 0
