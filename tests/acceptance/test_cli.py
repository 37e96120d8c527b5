"""The command line, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import headrace
from commands import GOOD, Headrace, start, wait_for
from headrace import passwords
from headrace.config.paths import status_socket

ROOT = Path(__file__).parents[2]


# -- the command itself --------------------------------------------------------------------------------------------


def test_help_names_every_command(cli: Headrace) -> None:
    result = cli("--help")
    assert result.code == 0
    for command in (
        "run",
        "lint",
        "status",
        "list",
        "show",
        "plugins",
        "passwd",
        "sql",
        "explain",
        "dlq",
        "orphans",
        "test",
        "new",
        "import",
        "demo",
        "schema",
    ):
        assert f"\n    {command} " in result.out
    assert cli("--version").out == f"headrace {headrace.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["rnu"], ["lint", "--no-such-option"], ["list", "things"], ["run"], ["lint"]])
def test_wrong_usage_exits_with_2(cli: Headrace, argv: list[str]) -> None:
    result = cli(*argv)
    assert (result.code, result.out) == (2, "")
    assert "headrace" in result.err


def test_alone_it_shows_its_commands(cli: Headrace) -> None:
    assert "\n    demo " in cli().err


def test_run_without_a_configuration_says_what_to_do(cli: Headrace) -> None:
    assert "headrace new pipeline" in cli("run").err


def test_only_run_imports_the_stream(cli: Headrace) -> None:
    code = "import sys; from headrace.cli import main; main(['lint', 'good.yaml']); sys.exit('faust' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_reader_that_leaves_is_no_traceback(cli: Headrace) -> None:
    process = start("schema")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(20) == 1


# -- lint and show config ------------------------------------------------------------------------------------------


def test_a_good_configuration_passes_lint(cli: Headrace) -> None:
    assert cli("lint", "good.yaml") == (0, "", "0 errors, 0 warnings\n")
    assert json.loads(cli("lint", "-o", "json", "good.yaml").out) == {"ok": True, "problems": []}


def test_lint_shows_every_problem_and_exits_with_78(cli: Headrace) -> None:
    Path("bad.yaml").write_text(GOOD + "sink: {}\nshutdown_timeout: 5\n")
    result = cli("lint", "bad.yaml")
    assert result.code == 78
    assert result.out.splitlines() == [
        "bad.yaml:6:1: error: unknown key 'sink' (did you mean 'sinks'?)",
        "    6 | sink: {}",
        "      | ^",
        "bad.yaml:7:19: error: shutdown_timeout: a duration needs a unit, such as 5s or 100ms",
        "    7 | shutdown_timeout: 5",
        "      |                   ^",
    ]
    assert result.err == "2 errors, 0 warnings\n"
    found = json.loads(cli("lint", "-o", "json", "bad.yaml").out)
    assert found["ok"] is False
    assert [(p["file"], p["line"], p["column"]) for p in found["problems"]] == [("bad.yaml", 6, 1), ("bad.yaml", 7, 19)]


def test_an_error_in_sql_points_into_the_query(cli: Headrace) -> None:
    Path("bad.yaml").write_text('rules:\n  r:\n    to: []\n    sql: |\n      SELECT topic\n      AS x y FROM "t/#"\n')
    result = cli("lint", "bad.yaml")
    assert result.code == 78
    assert "\nbad.yaml:6:12: error: rules.r.sql.query: found y" in result.out


def test_lint_takes_several_paths_and_overrides(cli: Headrace) -> None:
    Path("more.yaml").write_text("sinks: {second: {type: console}}\n")
    result = cli(
        "lint", "-c", "good.yaml", "more.yaml", "--set", "rules.r.to=[out, second]", "--set", "sinks.out.ttl=5"
    )
    assert result.code == 78
    assert result.out.startswith("--set:1:15: error: sinks.out.ttl: a duration needs a unit")


def test_show_config_is_the_configuration_as_understood_without_secrets(
    cli: Headrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "hunter2")
    Path("more.yaml").write_text(
        'connectors: {far: {type: http, url: "http://me:hunter2@localhost:1", headers: {X-Token: "${env:CANARY}"}}}\n'
    )
    for form in ("text", "json"):
        result = cli("show", "config", "good.yaml", "more.yaml", "--set", "sinks.out.pretty=true", "-o", form)
        assert result.code == 0
        assert "pretty" in result.out
        assert "hunter2" not in result.out + result.err
    assert cli("show", "config", "good.yaml", "--set", "x=1").code == 78
    assert "max_attempts: 10" in cli("show", "config", "good.yaml", "--defaults").out


# -- run and status ------------------------------------------------------------------------------------------------


def test_run_refuses_a_wrong_configuration_with_78(cli: Headrace) -> None:
    result = cli("run", "good.yaml", "--set", "sinks.out.tpye=console")
    assert result.code == 78
    assert "unknown key 'tpye' (did you mean 'type'?)" in result.err


@pytest.fixture
def running(cli: Headrace) -> Iterator[subprocess.Popen[str]]:
    process = start("run", "good.yaml", "--log", "json")
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def status(cli: Headrace, *argv: str) -> Any:
    result = cli("status", *argv, "-o", "json")
    return json.loads(result.out) if result.code == 0 else None


def test_run_until_sigterm(cli: Headrace, running: subprocess.Popen[str]) -> None:
    def delivered() -> Any:
        found = status(cli, "good.yaml")
        return found and found["sinks"]["out"]["counters"]["success"] == 3 and found

    found = wait_for(delivered)
    assert (found["name"], found["state"]) == ("plant", "running")
    assert status(cli, "--name", "plant")["name"] == "plant"
    assert status(cli, "state/headrace/plant")["name"] == "plant"
    assert status(cli)["name"] == "plant"
    text = cli("status").out
    assert text.startswith("plant is running since ")
    assert "sink    out   running" in text
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 0
    assert [json.loads(line) for line in out.splitlines()] == [{"clientid": f"device-{n}", "seq": 0} for n in range(3)]
    for line in err.splitlines():
        assert set(json.loads(line)) >= {"time", "level", "logger", "message"}
    result = cli("status", "good.yaml")
    assert result.code == 1
    assert "no pipeline is running" in result.err


def test_a_service_manager_is_told_when_it_is_up_and_when_it_stops(cli: Headrace, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(20)
        process = start("run", "good.yaml", env={**os.environ, "NOTIFY_SOCKET": str(address)})
        assert manager.recv(99) == b"READY=1"
        assert cli("status", "good.yaml").code == 0
        process.send_signal(signal.SIGTERM)
        assert manager.recv(99) == b"STOPPING=1"
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_status_of_a_pipeline_that_does_not_run_says_so(cli: Headrace) -> None:
    assert cli("status", "good.yaml")[:2] == (1, "")
    assert cli("status") == (1, "", "headrace: no pipeline is running\n")
    assert "no such file" in cli("status", "gone.yaml").err
    Path("bad.yaml").write_text("stream: {url: embedded:x}")
    assert "three slashes" in cli("status", "bad.yaml").err


@pytest.fixture
def answering(cli: Headrace) -> Iterator[Callable[[bytes], None]]:
    """``answering(data)``: something listens as the pipeline ``fake`` and answers ``data`` once."""
    path = status_socket("fake", Path.cwd() / "state" / "headrace" / "fake")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        threads: list[threading.Thread] = []

        def serve(data: bytes) -> None:
            def answer() -> None:
                peer, _ = server.accept()
                with peer:
                    peer.sendall(data)

            threads.append(threading.Thread(target=answer))
            threads[-1].start()

        yield serve
        for thread in threads:
            thread.join(10)


def test_status_shows_reasons_errors_and_what_waits(cli: Headrace, answering: Callable[[bytes], None]) -> None:
    document = {
        "name": "fake", "state": "degraded", "reason": "sink s: refused", "since": time.time() - 7300,
        "sources": {}, "connectors": {}, "rules": {},
        "sinks": {"s": {"state": "degraded", "reason": "refused", "since": time.time() - 150, "last_error": "HTTP 500",
                        "last_error_at": time.time() - 3,
                        "counters": {"matched": 5, "success": 0, "queuing_bytes": 15111546, "queuing_age": 1.90802}}},
        "stream": {"orphans": {"sink.old": {"events": 4, "bytes": 99}}, "dead_letters": {"kept": 2}},
    }  # fmt: skip
    answering(json.dumps(document).encode())
    lines = cli("status", "--name", "fake").out.splitlines()
    assert lines[0] == "fake is degraded since 2h ago: sink s: refused"
    assert " ".join(lines[2].split()) == (
        "sink s degraded 2m ago matched 5, queuing_bytes 14.4 MB, queuing_age 1.9s; "
        "refused; last error 3s ago: HTTP 500"
    )
    assert lines[3:] == [
        "orphan sink.old: 4 events, 99 B, until a sink of that name is back, or headrace orphans purge",
        "dead letters: 2 since the start, see headrace dlq ls",
    ]


def test_a_pipeline_is_found_by_its_bare_name(cli: Headrace, answering: Callable[[bytes], None]) -> None:
    answering(b'{"name": "fake", "state": "running"}')
    assert cli("status", "fake").out.startswith("fake is running")
    result = cli("status", "nobody")
    assert (result.code, result.out) == (1, "")
    assert "no pipeline of that name" in result.err


def test_an_answer_cut_off_is_no_traceback(cli: Headrace, answering: Callable[[bytes], None]) -> None:
    answering(b'{"name": "fa')
    result = cli("status", "--name", "fake")
    assert (result.code, result.out) == (1, "")
    assert "no whole answer" in result.err


# -- dead letters --------------------------------------------------------------------------------------------------

POISON = """
name: poison
sources: {g: {type: generate, rate: 0, count: 3}}
rules: {r: {sql: 'SELECT clientid, payload.seq AS seq FROM "#"', to: out}}
sinks: {out: {type: http, url: "http://127.0.0.1:9", body: "${nope}", missing: error}}
"""


def test_dead_letters_are_listed_while_it_runs_and_after(cli: Headrace) -> None:
    Path("poison.yaml").write_text(POISON)
    assert cli("dlq", "ls", "poison.yaml") == (0, "no dead letters\n", "")
    process = start("run", "poison.yaml")

    def letters() -> list[Any]:
        return [json.loads(line) for line in cli("dlq", "ls", "poison.yaml", "-o", "json").out.splitlines()]

    try:
        found = wait_for(lambda: len(found := letters()) == 3 and found)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert [(letter["rule"], letter["sink"], letter["key"]) for letter in found] == [
        ("r", "out", f"device-{n}") for n in range(3)
    ]
    assert found[0]["event"] == {"clientid": "device-0", "seq": 0}
    assert "nope" in found[0]["reason"]
    assert letters() == found
    text = cli("dlq", "ls", "--name", "poison").out.splitlines()
    assert text[0].split() == ["NO", "WHEN", "RULE", "SINK", "KEY", "TRIES", "REASON"]
    assert len(text) == 4
    assert "device-0" in text[1]


def test_dead_letters_need_a_pipeline_that_keeps_some(cli: Headrace) -> None:
    assert cli("dlq", "ls").code == 2
    Path("memory.yaml").write_text('name: m\nstream: {url: "embedded://memory"}\n')
    assert cli("dlq", "ls", "memory.yaml") == (1, "", "headrace: m keeps nothing (embedded://memory)\n")


# -- what is installed ---------------------------------------------------------------------------------------------


def test_list_names_types_and_who_brings_them(cli: Headrace) -> None:
    everything = json.loads(cli("list", "-o", "json").out)
    assert {kind for kind, rows in everything.items() if any(row["name"] == "http" for row in rows)} == {
        "sources", "connectors", "sinks",
    }  # fmt: skip
    assert "\ntransform  sql " in cli("list").out
    result = cli("list", "sinks")
    assert result.code == 0
    assert [line.split()[:2] for line in result.out.splitlines()][1:3] == [["console", "console"], ["file", "file"]]
    sources = json.loads(cli("list", "sources", "-o", "json").out)
    assert {
        "name": "generate",
        "plugin": "generate",
        "text": "Devices in turn say how warm and how damp it is.",
    } in sources
    for kind in ("transforms", "connectors"):
        assert cli("list", kind).code == 0


def test_list_functions_names_what_a_query_may_call(cli: Headrace) -> None:
    found = {row["name"]: row for row in json.loads(cli("list", "functions", "-o", "json").out)}
    assert found["rtrim"]["plugin"] == "sql"
    assert found["rtrim"]["text"].startswith("Takes 1 to 2 arguments. ")
    assert len(found) > 100


def test_list_events_names_what_a_rule_may_read(cli: Headrace) -> None:
    text = cli("list", "events").out
    assert "\nclient.connected " in text
    assert "$events/client/connected, $events/client_connected" in text
    found = {event["name"]: event for event in json.loads(cli("list", "events", "-o", "json").out)}
    assert found["client.connected"]["columns"]["keepalive"] == 60


def test_show_tells_options_defaults_and_an_example(cli: Headrace) -> None:
    text = cli("show", "file").out
    assert "path         path     (required)  The file;" in text
    assert "rotate.keep  integer  10" in text
    assert "\n  type: file\n  path: events.jsonl" in text
    found = {part["kind"]: part for part in json.loads(cli("show", "http", "-o", "json").out)}
    assert found.keys() == {"source", "sink", "connector"}
    connector = found["connector"]
    assert {key: connector["options"][0][key] for key in ("name", "type", "default")} == {
        "name": "url",
        "type": "text",
        "default": None,
    }


def test_show_of_an_unknown_type_names_the_near_one(cli: Headrace) -> None:
    result = cli("show", "htp")
    assert result.code == 2
    assert "there is no type 'htp' (did you mean 'http'?)" in result.err


def test_plugins_lists_where_each_comes_from(cli: Headrace) -> None:
    rows = {line.split()[0]: line for line in cli("plugins").out.splitlines()}
    assert rows["console"].split() == ["console", "headrace", headrace.__version__, "sink", "console"]
    found = json.loads(cli("plugins", "-o", "json").out)
    assert {row["error"] for row in found if row["distribution"] == "headrace"} == {None}


# -- sql -----------------------------------------------------------------------------------------------------------

QUERY = 'SELECT payload.a + 1 AS b, topic, clientid FROM "t/#" WHERE payload.a > 1'


def test_sql_prints_the_row(cli: Headrace) -> None:
    result = cli("sql", QUERY, "--topic", "t/9", "--payload", '{"a": 2}', "--clientid", "c9")
    assert (result.code, result.out) == (0, '{"b":3,"topic":"t/9","clientid":"c9"}\n')
    found = json.loads(cli("sql", QUERY, "--payload", '{"a": 2}', "-o", "json").out)
    assert found["rows"] == [{"b": 3, "topic": "t/1", "clientid": "client"}]


def test_sql_says_why_there_is_no_row(cli: Headrace) -> None:
    result = cli("sql", QUERY, "--payload", '{"a": 1}')
    assert (result.code, result.out) == (1, "")
    assert "payload.a" in result.err
    assert cli("sql", QUERY, "--topic", "other", "--payload", '{"a": 2}').code == 1
    assert cli("sql", QUERY, "--payload", "no JSON").code == 1


def test_sql_reads_the_payload_from_a_file(cli: Headrace, tmp_path: Path) -> None:
    (tmp_path / "payload").write_bytes(b'{"a": 7}')
    assert cli("sql", QUERY, "--payload", f"@{tmp_path}/payload").out.startswith('{"b":8')
    result = cli("sql", QUERY, "--payload", "@gone")
    assert (result.code, result.err) == (1, "headrace: cannot read gone: No such file or directory\n")


def test_sql_shows_the_code_of_a_query(cli: Headrace) -> None:
    result = cli("sql", "--show-code", QUERY)
    assert result.code == 0
    assert result.out.startswith(f"# {QUERY}\n# c: the columns")
    assert "def run(batch, rows, no_result, exceptions):" in result.out
    compile(result.out, "code", "exec")
    assert json.loads(cli("sql", "--show-code", QUERY, "-o", "json").out)["code"] == result.out
    assert cli("sql", "--show-code", "SELECT").code == 78


def test_sql_tries_an_event_by_its_name(cli: Headrace) -> None:
    query = 'SELECT event, clientid, keepalive FROM "$events/client_connected"'
    result = cli("sql", query, "--event", "client.connected", "--clientid", "c9")
    assert result.out == '{"event":"client.connected","clientid":"c9","keepalive":60}\n'
    assert cli("sql", query).err.endswith("no row: the rule does not see this event\n")


def test_sql_points_at_an_error_in_the_query(cli: Headrace) -> None:
    result = cli("sql", 'SELECT a AS b c FROM "t/#"')
    assert result.code == 78
    lines = result.err.splitlines()
    assert lines[0].startswith("query:1:15: error: ")
    assert (lines[1], lines[2]) == ('    1 | SELECT a AS b c FROM "t/#"', "      |               ^")


# -- what writes files ---------------------------------------------------------------------------------------------


def test_new_pipeline_gives_a_configuration_that_passes_lint(cli: Headrace) -> None:
    for source, sink in (("mqtt_server", "http"), ("generate", "console"), ("generate", "file")):
        result = cli("new", "pipeline", "--from", source, "--to", sink)
        assert result.code == 0
        Path("new.yaml").write_text(result.out)
        assert cli("lint", "new.yaml") == (0, "", "0 errors, 0 warnings\n")
        uncommented = [line.replace("    # ", "    ") for line in result.out.splitlines() if not line.startswith("#")]
        assert any("# " in line for line in uncommented), "options carry their descriptions"
    assert cli("new", "pipeline", "--to", "htp").code == 2


def test_schema_is_json_schema_of_what_is_installed(cli: Headrace) -> None:
    schema = json.loads(cli("schema").out)
    types = {
        each["properties"]["type"]["const"] for each in schema["properties"]["sinks"]["additionalProperties"]["oneOf"]
    }
    assert types >= {"console", "file", "http"}


def test_passwd_sets_replaces_and_deletes_a_user(cli: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(text: str) -> None:
        reader, writer = os.pipe()
        os.write(writer, text.encode())
        os.close(writer)
        monkeypatch.setattr(sys, "stdin", os.fdopen(reader))

    for user, password in (("ada", "one"), ("a:b", "two"), ("ada", "three")):
        give(f"{password}\n")
        assert cli("passwd", "users", user) == (0, "", "")
        sys.stdin.close()
    lines = dict(line.rsplit(":", 1) for line in Path("users").read_text().splitlines())
    assert list(lines) == ["a:b", "ada"]
    assert passwords.verify("three", lines["ada"])
    assert not passwords.verify("one", lines["ada"])
    assert Path("users").stat().st_mode & 0o777 == 0o600
    assert cli("passwd", "--delete", "users", "ada").code == 0
    assert cli("passwd", "--delete", "users", "ada") == (1, "", "headrace: users has no user 'ada'\n")
    assert Path("users").read_text().startswith("a:b:scrypt$")
    give("\n")
    assert cli("passwd", "users", "eve") == (1, "", "headrace: no password given, nothing changed\n")
    sys.stdin.close()
    for name in ("#x", "", "a\nb"):
        assert cli("passwd", "users", name).code == 2


# -- samples -------------------------------------------------------------------------------------------------------

SAMPLES = sorted((ROOT / "sample_configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_passes_lint(cli: Headrace, path: Path) -> None:
    assert cli("lint", str(path)) == (0, "", "0 errors, 0 warnings\n")


def test_the_samples_are_found() -> None:
    assert {"alert", "device_events", "hello", "mqtt_to_http", "swap_sink"} <= {path.stem for path in SAMPLES}
