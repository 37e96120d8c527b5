"""jq: what a program gives, and that none takes more time, memory or rights than it may."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from headrace_plugins.sql.errors import EvaluationError


def test_a_program_gives_an_array_of_its_results(value: Callable[..., Any]) -> None:
    assert value("jq('.[] | . * 2', payload)", "[1, 2]") == [2, 4]
    assert value("jq('.a, .b', payload)", '{"a": {"b": 1}}') == [{"b": 1}, None]
    assert value("jq('empty', payload)") == []
    assert value("jq(payload.p, payload.v)", '{"p": ". + 1", "v": 1}') == [2]


@pytest.mark.parametrize("program", ["def f: f; f", "[range(1e12)]", "last(repeat(1))"])
def test_a_program_without_an_end_is_ended(program: str, value: Callable[..., Any]) -> None:
    began = time.monotonic()
    with pytest.raises(EvaluationError, match=r"jq\(\): (more than 200 ms|the program ended its process)"):
        value(f"jq('{program}', payload, 200)")
    assert time.monotonic() - began < 5
    assert value("jq('.', payload, 5000)", "1") == [1]


def test_results_are_limited(value: Callable[..., Any]) -> None:
    with pytest.raises(EvaluationError, match="more than 10000 results"):
        value("jq('range(20000)', payload, 5000)")
    with pytest.raises(EvaluationError, match="the time limit is 1 to 10000 ms"):
        value("jq('.', payload, 20000)")


def test_a_program_sees_neither_environment_nor_files(
    value: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    (tmp_path / "m.json").write_text("[1]")
    (tmp_path / "m.jq").write_text("def m: 1;")
    assert "A_SECRET" not in value("jq('env', payload, 5000)")[0]
    for statement in ("import", "include"):
        program = f'{statement} "m" {"as $m " if statement == "import" else ""}{{search: "{tmp_path}"}}; 1'
        with pytest.raises(EvaluationError, match="is no jq program"):
            value("jq(payload.p, payload)", json.dumps({"p": program}))


def test_a_bad_program_is_refused_when_the_query_is_read(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="is no jq program"):
        make("SELECT jq('.[', payload) AS v FROM \"t\"")
