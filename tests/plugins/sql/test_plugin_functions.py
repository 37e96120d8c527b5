"""Functions of plugins: found, listed, checked when the configuration is read, and called."""

from __future__ import annotations

import decimal
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace import UNDEFINED, Event, hookimpl
from headrace.errors import PluginError
from headrace.registry import Registry
from headrace.testing.pipelines import run_pipeline
from headrace_plugins.sql.errors import EvaluationError

PLUGIN = '''
from headrace import hookimpl

def fahrenheit(celsius, decimals=1):
    """The same temperature in Fahrenheit."""
    return round(celsius * 9 / 5 + 32, decimals)

@hookimpl
def register_functions():
    return {"fahrenheit": fahrenheit}
'''
CONFIG = """
sources: {devices: {type: generate, rate: 100, count: 3}}
rules: {warm: {sql: "SELECT fahrenheit(payload.temp) AS f, payload.temp AS c FROM \\"#\\"", to: out}}
sinks: {out: {type: file, path: "%s"}}
"""


def plugin(**functions: Callable[..., Any]) -> ModuleType:
    module = ModuleType("small")

    @hookimpl
    def register_functions() -> Mapping[str, Callable[..., Any]]:
        return functions

    vars(module)["register_functions"] = register_functions
    return module


async def test_a_rule_calls_the_function_of_a_plugin(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    fahrenheit = {"fahrenheit": lambda celsius: round(celsius * 9 / 5 + 32, 1)}
    async with run_pipeline(CONFIG % out, plugins=[plugin(**fahrenheit)]) as pipeline:
        await pipeline.until(lambda status: status["sinks"]["out"]["counters"]["success"] == 3)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 3
    assert all(math.isclose(row["f"], row["c"] * 9 / 5 + 32, abs_tol=0.06) for row in rows)


def test_an_installed_plugin_is_listed_and_its_functions_are_checked(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(PLUGIN)
    info = tmp_path / "small-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headrace]\nsmall = small\n")
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(CONFIG % (tmp_path / "rows"))
    bad.write_text(good.read_text().replace("(payload.temp)", "(payload.temp, 1, 2)"))

    def headrace(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from headrace.cli import main; raise SystemExit(main())", *args]
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    rows = json.loads(headrace("list", "functions", "-o", "json").stdout)
    row = {"name": "fahrenheit", "plugin": "small", "text": "The same temperature in Fahrenheit."}
    assert row in rows
    assert headrace("lint", str(good)).returncode == 0
    refused = headrace("lint", str(bad))
    assert refused.returncode == 78
    assert "fahrenheit() takes 1 to 2 arguments, not 3" in refused.stdout + refused.stderr


@pytest.mark.parametrize("name", ["upper", "jq"])
def test_a_function_of_the_language_cannot_be_replaced(name: str) -> None:
    registry = Registry.discover()
    with pytest.raises(PluginError, match=f"the function name '{name}' is taken by the transform 'sql'"):
        registry.register(plugin(**{name: str}))


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ((1, {2}), [1, [2]]),
        ({2: None, True: 1.5}, {"2": None, "true": 1.5}),
        (decimal.Decimal("1.5"), "1.5"),
        (math.nan, "nan"),
        (b"abc", "abc"),
        (b"\xff", b"\xff"),
        (UNDEFINED, UNDEFINED),
        ("\ud800", b"\xed\xa0\x80"),
    ],
)
def test_what_a_function_returns_becomes_a_value_of_sql(given: object, value: object, make: Callable[..., Any]) -> None:
    rule = make('SELECT f() AS v FROM "#"', functions={"f": lambda: given})
    assert rule.process([Event({})]).rows == [(0, {"v": value})]


def endless() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (endless, "the value is nested too deeply"),
        (lambda: 10**400, "the number is too large"),
        (lambda: {}["a"], "KeyError: 'a'"),
        (max, "TypeError: max expected at least 1 argument, got 0"),
    ],
)
def test_a_function_that_fails_fails_its_event(
    call: Callable[..., Any], message: str, make: Callable[..., Any]
) -> None:
    output = make('SELECT f() AS v FROM "#"', functions={"f": call}).process([Event({}), Event({})])
    assert isinstance(output.exceptions[0], EvaluationError)
    assert message in str(output.exceptions[0])
    assert len(output.exceptions) == 2
