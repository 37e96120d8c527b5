"""Several files, include, ``--set``, and what is filled in: how texts become one tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Checked, check, identify
from headrace.registry import Registry

Errors = Callable[..., list[str]]
Check = Callable[..., Checked]
BASE = "sources: {t: {type: tick}}\nrules: {r: {lang: x, to: a}}\n"
SINK = "sinks: {a: {type: out}}\n"


@pytest.fixture
def several(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Checked]:
    """``several({name: text, …}, path, …)``: the result for those paths among those files."""
    monkeypatch.chdir(tmp_path)

    def run(files: dict[str, str], *paths: str, **environ: str) -> Checked:
        for name, text in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
        return check(paths, registry=registry, environ=environ)

    return run


def texts(checked: Checked) -> list[str]:
    return [str(problem).splitlines()[0] for problem in checked.problems if problem.severity == "error"]


@pytest.mark.parametrize(
    "paths",
    [("a.yaml", "b.json"), ("b.json", "a.yaml"), (".",), ("*.[yj]*",), ("a.yaml", "b.json", "./a.yaml")],
)
def test_files_directories_and_patterns_make_one_configuration(several: Any, paths: tuple[str, ...]) -> None:
    checked = several({"a.yaml": BASE, "b.json": '{"sinks": {"a": {"type": "out"}}}', "c.txt": "]["}, *paths)
    assert texts(checked) == []
    assert list(checked.spec.sinks) == ["a"]


def test_sections_merge_and_a_name_may_be_given_once(several: Any) -> None:
    second = "name: x\nsinks:\n  a: {type: out}\n  b: {type: out}\nstream: {sync: full}\nname: y\n"
    checked = several({"a.yaml": BASE + SINK + "name: x\n", "b.yaml": second}, "a.yaml", "b.yaml")
    assert texts(checked) == [
        "b.yaml:1:1: error: 'name' is here twice; the first is in a.yaml:4:1",
        "b.yaml:3:3: error: 'sinks.a' is here twice; the first is in a.yaml:3:9",
        "b.yaml:6:1: error: 'name' is here twice; the first is in b.yaml:1:1",
    ]
    checked = several({"a.yaml": "stream: {sync: full}\n", "b.yaml": "stream: {max_bytes: 8MB}\n"}, "a.yaml", "b.yaml")
    assert (checked.spec.stream.sync, checked.spec.stream.max_bytes) == ("full", 8 << 20)


def test_include_is_relative_to_its_file_and_may_go_round(several: Any) -> None:
    files = {
        "main.yaml": BASE + "include: parts\n",
        "parts/one.yaml": SINK + "include: [../main.yaml, 'deep/*.yaml']\n",
        "parts/deep/two.yaml": "shutdown_timeout: 3s\n",
    }
    checked = several(files, "main.yaml")
    assert texts(checked) == []
    assert (list(checked.spec.sinks), checked.spec.shutdown_timeout) == (["a"], 3.0)


def test_include_of_nothing_is_an_error_where_it_is_asked(several: Any) -> None:
    checked = several({"main.yaml": BASE + SINK + "include: [gone.yaml, 7, 'x/*.yaml']\n"}, "main.yaml")
    assert texts(checked) == [
        "main.yaml:4:11: error: no such file or directory: gone.yaml",
        "main.yaml:4:22: error: include takes a path, or a list of paths",
        "main.yaml:4:25: error: no such file or directory: x/*.yaml",
    ]


def test_include_may_be_filled_in(several: Any) -> None:
    checked = several({"main.yaml": BASE + 'include: "${env:PART}.yaml"\n', "p1.yaml": SINK}, "main.yaml", PART="p1")
    assert list(checked.spec.sinks) == ["a"]


def test_a_path_that_is_not_there_is_an_error(several: Any) -> None:
    assert texts(several({}, "gone.yaml")) == ["gone.yaml:1:1: error: no such file or directory: gone.yaml"]


def test_a_file_too_large_or_not_text_is_an_error(several: Any, tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * ((10 << 20) + 1))
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe4\n")
    assert texts(several({}, "big.yaml", "latin.yaml")) == [
        "big.yaml:1:1: error: big.yaml: larger than 10 MB",
        "big.yaml:1:1: error: latin.yaml is not UTF-8 text (byte 6)",
    ]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(several: Any, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_bytes(
        "\ufeff".encode() + BASE.replace("\n", "\r\n").encode() + b"sinks: {b: {type: x}}"
    )
    checked = several({}, "w.yaml")
    assert [text.partition(" error")[0] for text in texts(checked)] == ["w.yaml:2:26:", "w.yaml:3:19:"]


# -- --set ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("sinks.a.wait=5s", lambda spec: spec.sinks["a"].config.wait, 5.0),
        ("sinks.a.inflight=7", lambda spec: spec.sinks["a"].options.inflight, 7),
        ("sinks.a.path=SELECT a: b # c", lambda spec: spec.sinks["a"].config.path, "SELECT a: b # c"),
        ("sinks.a.path=", lambda spec: spec.sinks["a"].config.path, ""),
        ('sinks.a.path="5"', lambda spec: spec.sinks["a"].config.path, "5"),
        ("sinks.a.ttl=null", lambda spec: spec.sinks["a"].options.ttl, None),
        ("sinks.a.retry.on=[503, network]", lambda spec: spec.sinks["a"].options.retry.on, (503, "network")),
        ("sinks.a.retry={max_attempts: 2}", lambda spec: spec.sinks["a"].options.retry.max_attempts, 2),
        ("sinks.a.path=${env:X}", lambda spec: spec.sinks["a"].config.path, "from env"),
        ("sinks.new={type: out}", lambda spec: list(spec.sinks), ["a", "new"]),
        ("rules.r.transforms.1.n=9", lambda spec: spec.rules["r"].transforms[1].config.n, 9),
        ("name=other", lambda spec: spec.name, "other"),
        ("stream.sync=full", lambda spec: spec.stream.sync, "full"),
    ],
)
def test_an_override_wins(checking: Check, override: str, read: Any, expected: Any) -> None:
    text = """
        name: one
        sources: {t: {type: tick}}
        rules: {r: {transforms: [{type: lang, query: x}, {type: step, n: 1}], to: a}}
        sinks: {a: {type: out, path: /x, wait: 1s, ttl: 5s}}
    """
    checked = checking(text, override, X="from env")
    assert checked.spec is not None, checked.problems
    assert read(checked.spec) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sinks.a.wiat=5s", "1:14: sinks.a: unknown key 'wiat' (did you mean 'wait'?)"),
        ("sinks.a.wait=5", "1:14: sinks.a.wait: a duration needs a unit, such as 5s or 100ms"),
        ("sinks.a.wait", "1:1: write --set section.name.option=value"),
        ("sinks..wait=1", "1:1: write --set section.name.option=value"),
        ("=1", "1:1: write --set section.name.option=value"),
        ("rules.r.transforms.5.n=1", "1:1: rules.r.transforms has no '5' to go into"),
        ("sinks.a.path.deeper=1", "1:1: sinks.a.path has no 'deeper' to go into"),
        ("sinks.a.retry=[1", "1:17: expected ',' or ']', but got 'stream end'"),
    ],
)
def test_a_wrong_override_is_an_error_in_it(checking: Check, override: str, expected: str) -> None:
    text = "rules: {r: {transforms: [{type: step, n: 1}], to: a}}\nsinks: {a: {type: out, path: /x}}\n"
    (problem,) = [p for p in checking(text, override).problems if p.severity == "error"]
    assert (problem.file, f"{problem.line}:{problem.column}: {problem.message}") == ("--set", expected)
    assert override in str(problem)


# -- placeholders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("${env:A}", "one"),
        ("x ${env:A} ${env:A}", "x one one"),
        ("${env:NO:-two words}", "two words"),
        ("${env:EMPTY:-two}", "two"),
        ("${env:EMPTY}", ""),
        ("${env:NO:-}", ""),
        ("${env:A:?must}", "one"),
        ("$${env:A}", "${env:A}"),
        ("${env:YAML}", "{a: ${env:A}, b: [1"),
        ("${payload.msg} ${FOO} ${$}{env:A}", "${payload.msg} ${FOO} ${$}{env:A}"),
        ("${file:FILE}", "hunter2\n two"),
    ],
)
def test_a_placeholder_is_filled_in_and_never_read_again(
    checking: Check, tmp_path: Path, written: str, expected: str
) -> None:
    (tmp_path / "secret").write_text("hunter2\n two\r\n")
    written = written.replace("FILE", str(tmp_path / "secret"))
    text = f"sinks:\n  a: {{type: out, path: '{written}'}}\n"
    checked = checking(text, A="one", EMPTY="", YAML="{a: ${env:A}, b: [1")
    assert checked.spec is not None, checked.problems
    config: Any = checked.spec.sinks["a"].config
    assert config.path == expected


def test_a_placeholder_takes_the_type_its_option_has(checking: Check) -> None:
    checked = checking("sinks: {a: {type: out, wait: '${env:W}', inflight: '${env:N}'}}", W="3s", N="12")
    assert checked.spec is not None, checked.problems
    assert (checked.spec.sinks["a"].config.wait, checked.spec.sinks["a"].options.inflight) == (3.0, 12)  # type: ignore[union-attr]


def test_keys_are_not_filled_in(errors: Errors) -> None:
    (error,) = errors("sinks: {'${env:A}': {type: out}}", A="x")
    assert "'${env:A}' is no name" in error


@pytest.mark.parametrize(
    ("written", "column", "message"),
    [
        ("${env:MSG}", 24, "the environment variable 'MSG' is not set; a default is written ${env:MSG:-…}"),
        ("a b ${env:HOMES}", 28, "the environment variable 'HOMES' is not set (did you mean 'HOME'?)"),
        ("${env:MSG:?ask Ada}", 24, "MSG: ask Ada"),
        ("${env:EMPTY:?}", 24, "EMPTY: must be set"),
        ("${env:}", 24, "write ${env:NAME}, ${env:NAME:-default} or ${env:NAME:?message}, not ${env:}"),
        ("${env:A-B}", 24, "write ${env:NAME}"),
        ("${env:A:B}", 24, "write ${env:NAME}"),
        ("${file:rel/path}", 24, "${file:…} needs an absolute path, not 'rel/path'"),
        ("${file:/no/such/file}", 24, "cannot read /no/such/file: No such file or directory"),
    ],
)
def test_what_cannot_be_filled_in_is_an_error_at_its_place(
    errors: Errors, written: str, column: int, message: str
) -> None:
    (error,) = errors(f"sinks: {{a: {{type: out, path: '{written}'}}}}", HOME="/", EMPTY="")
    place, _, text = error.partition(": ")
    assert place == f"1:{column + 7}"
    assert text.startswith(message)


def test_what_cannot_be_filled_in_is_found_within_a_block(errors: Errors) -> None:
    (error,) = errors("rules:\n  r:\n    to: []\n    lang: |\n      SELECT a\n        FROM ${env:NO}\n")
    assert error.startswith("6:14: the environment variable 'NO'")


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff", "is not UTF-8 text"), (b"x" * ((1 << 20) + 1), "is larger than 1 MB")]
)
def test_a_secret_file_is_small_and_text(errors: Errors, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    (error,) = errors(f"sinks: {{a: {{type: out, path: '${{file:{tmp_path}/secret}}'}}}}")
    assert message in error


# -- identify ------------------------------------------------------------------------------------------------------


def test_a_pipeline_is_identified_whatever_else_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    path = tmp_path / "p.yaml"
    path.write_text("name: plant\nsinks: {a: {type: gone, key: '${env:NOT_SET}'}}\nrulez: 7\n")
    assert identify([path]) == ("plant", Path("/state/headrace/plant"))
    assert identify([path], ["stream.url=embedded:///x"]) == ("plant", Path("/x"))
    path.write_text("]")
    assert identify([path])[0].startswith("p-")
