"""What people get to see: problems with their line, a plan as configuration, secrets never."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from headrace.config import Checked, effective, to_yaml
from headrace.config.paths import MAX_SOCKET, default_name, log_directory, runtime_dir, status_socket, user_state
from headrace.config.problems import Mark, Problem, Problems, Text, mask

Check = Callable[..., Checked]


# -- problems ------------------------------------------------------------------------------------------------------


def test_a_problem_shows_its_line_and_a_caret() -> None:
    problems = Problems()
    problems.error(Mark(Text("a.yaml", "x: 1\n\tkey: 2"), 2, 2), "wrong")
    (problem,) = problems.sorted()
    assert str(problem) == "a.yaml:2:2: error: wrong\n    2 | \tkey: 2\n      | \t^"


def test_a_problem_without_a_line_is_one_line() -> None:
    assert str(Problem("a.yaml", 1, 1, "no such file", "warning")) == "a.yaml:1:1: warning: no such file"


def test_problems_come_each_once_in_the_order_of_the_text() -> None:
    first, second = Text("b.yaml", "x\ny"), Text("a.yaml", "z")
    problems = Problems()
    for mark in (Mark(first, 2, 1), Mark(second, 1, 1), Mark(first, 1, 1), Mark(first, 2, 1)):
        problems.error(mark, "wrong")
    assert [(p.file, p.line) for p in problems.sorted()] == [("b.yaml", 1), ("b.yaml", 2), ("a.yaml", 1)]


def test_warnings_alone_are_no_failure() -> None:
    problems = Problems()
    problems.warn(Mark(Text("a", ""), 1, 1), "odd")
    assert not problems
    problems.error(Mark(Text("a", ""), 1, 1), "wrong")
    assert problems


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("password: hunter2", "password: *******"),
        ('{a: 1, password: "hun,ter2", b: 2}', "{a: 1, password: **********, b: 2}"),
        ("X-Api-Key: 'abc', b: 1", "X-Api-Key: *****, b: 1"),
        ('"client_secret": "abc"', '"client_secret": *****'),
        ("Authorization: Bearer abc.def", "Authorization: **************"),
        ("url: mqtt://user:hunter2@host:1883/", "url: mqtt://user:*******@host:1883/"),
        ("token=abc def", "token=*******"),
        ('password: "${env:PW}"', 'password: "${env:PW}"'),
        ("password: ${file:/run/pw}", "password: ${file:/run/pw}"),
        ("password: x${env:PW}", "password: **********"),
        ("path: /t/secrets", "path: /t/secrets"),
        ("key: ${topic}", "key: ${topic}"),
    ],
)
def test_a_line_is_shown_without_its_secrets(line: str, masked: str) -> None:
    assert mask(line) == masked
    assert len(mask(line)) == len(line)


def test_masking_a_long_line_takes_no_time() -> None:
    assert mask("secret" * 20_000 + "passw" * 20_000)


def test_an_error_beside_a_secret_does_not_show_it(checking: Check) -> None:
    checked = checking("sources: {t: {type: tick, password: hunter2, evry: 1s}}")
    text = "\n".join(map(str, checked.problems))
    assert "evry" in text
    assert "hunter2" not in text


def test_an_error_about_a_secret_filled_in_does_not_show_it(checking: Check) -> None:
    checked = checking("sinks: {a: {type: out, wait: '${env:PW}'}}\nname: ${env:PW}", PW="hunter 2")
    assert len([p for p in checked.problems if p.severity == "error"]) == 2
    assert "hunter" not in "\n".join(map(str, checked.problems))


# -- the plan as configuration -------------------------------------------------------------------------------------

TEXT = """
    name: plant
    sources: {t: {type: tick, every: 1500ms, password: "${env:PW}"}}
    connectors: {far: {type: wire, url: "tcp://me:hunter2@far:1", token: hunter2}}
    rules:
      r: {lang: x, to: a, sources: t}
      s: {transforms: [{type: step, n: 1}], to: [a, b]}
    sinks:
      a: {type: post, connector: far, headers: {Authorization: Bearer hunter2}, ttl: 1h}
      b: {type: post, url: "tcp://b", batch: {as: lines}, body: {a: "${a}", password: "${p}"}}
"""


def test_a_plan_is_shown_as_the_configuration_it_came_from(checking: Check) -> None:
    spec = checking(TEXT, "sinks.b.batch.size=5", PW="hunter2").spec
    assert spec is not None
    assert effective(spec) == {
        "name": "plant",
        "sources": {"t": {"type": "tick", "every": "1500ms", "password": "******"}},
        "connectors": {"far": {"type": "wire", "url": "tcp://me:*******@far:1", "token": "******"}},
        "rules": {
            "r": {"transforms": [{"type": "lang", "query": "x"}], "to": ["a"], "sources": ["t"]},
            "s": {"transforms": [{"type": "step", "n": 1}], "to": ["a", "b"]},
        },
        "sinks": {
            "a": {"type": "post", "connector": "far", "headers": {"Authorization": "******"}, "ttl": "1h"},
            "b": {"type": "post", "url": "tcp://b", "body": {"a": "${a}", "password": "******"},
                  "batch": {"size": 5, "as": "lines"}},
        },
        "shutdown_timeout": "20s",
    }  # fmt: skip


def test_defaults_are_shown_when_asked_for(checking: Check) -> None:
    spec = checking(TEXT, PW="x").spec
    assert spec is not None
    shown = effective(spec, defaults=True)
    assert shown["sinks"]["b"]["retry"]["max"] == "30s"
    assert shown["sinks"]["b"]["pool"] == 4
    assert shown["stream"]["sync"] == "normal"


def test_what_is_shown_reads_back_as_the_same_plan(checking: Check) -> None:
    text = TEXT.replace("hunter2", "x").replace("password", "passport").replace("passport:", "password:", 1)
    first = checking(text, PW="x").spec
    assert first is not None
    shown = to_yaml(effective(first))
    assert "hunter" not in shown
    again = checking(shown.replace("******", "x")).spec
    assert again is not None
    assert effective(again) == effective(first)


def test_yaml_keeps_the_order_and_the_letters() -> None:
    text = to_yaml({"b": {"z": "°C", "a": ["x: y", 5, None, True]}, "a": "5"})
    assert list(YAML(typ="safe", pure=True).load(text)) == ["b", "a"]
    assert text.index("°C") < text.index("x: y")


def test_a_broken_component_is_shown_with_its_reason(checking: Check) -> None:
    spec = checking("sinks: {a: {type: torn}}").spec
    assert spec is not None
    assert effective(spec)["sinks"]["a"] == {"broken": "plugin 'torn' failed: ImportError: no torn"}


# -- paths ---------------------------------------------------------------------------------------------------------


def test_the_state_directory_follows_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert user_state() == Path("/home/ada/.local/state/headrace")
    monkeypatch.setattr("sys.platform", "darwin")
    assert user_state() == Path("/home/ada/Library/Application Support/headrace")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert user_state() == Path("/state/headrace")
    assert log_directory(None, "p") == Path("/state/headrace/p")


def test_names_of_files_make_names_of_pipelines() -> None:
    assert default_name("/a/plant.yaml").startswith("plant-")
    assert default_name("/a/plant.yaml") != default_name("/b/plant.yaml")
    assert default_name("/a/my plant (2).yaml").startswith("my_plant__2_-")
    assert default_name("/a/-.yaml").startswith("pipeline-")


def test_the_status_socket_is_beside_the_log_or_at_a_short_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert status_socket("p", Path("/var/lib/p")) == Path("/var/lib/p/status.sock")
    assert status_socket("p", None) == Path("/run/user/7/headrace/p.sock")
    long = Path("/") / ("x" * 90)
    short = status_socket("p", long)
    assert short.parent == Path("/run/user/7/headrace")
    assert len(str(short)) <= MAX_SOCKET
    assert short != status_socket("p", Path("/") / ("y" * 90))
    assert len(str(status_socket("n" * 254, None))) <= MAX_SOCKET
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime_dir().name.startswith("headrace-")
