"""Plugins: good ones are used, a bad one is a row with its error."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace import Batch, ComponentConfig, Done, PipelineInfo, Sink, Source, hookimpl
from headrace.errors import PluginError
from headrace.registry import API_VERSION, PluginRow, Registry


class Print(Sink[ComponentConfig]):
    """Print."""

    name = "print"

    async def write(self, batch: Batch, done: Done) -> None: ...


def plugin(name: str = "made", **members: Any) -> ModuleType:
    module = ModuleType(name)
    for key, value in members.items():
        if callable(value) and not isinstance(value, type):
            value.__name__ = key
            value = hookimpl(value)
        setattr(module, key, value)
    return module


def gives(*values: Any) -> Callable[[], list[Any]]:
    return lambda: list(values)


def shout(text: str) -> str:
    """Louder."""
    return text.upper()


def test_a_plugin_gives_components_and_functions() -> None:
    registry = Registry()
    registry.register(plugin(register_sinks=gives(Print), register_functions=lambda: {"shout": shout}))
    assert registry.find("sink", "print") is Print
    assert registry.names("sink") == ["print"]
    assert registry.functions["shout"]("a") == "A"
    assert (registry.owner("sink", "print"), registry.owner("function", "shout")) == ("made", "made")
    assert registry.rows[0].provides == ["sink print", "function shout"]


class Wrong(Sink[ComponentConfig]):
    name = "Wrong-Name"

    async def write(self, batch: Batch, done: Done) -> None: ...


class Nameless(Sink[ComponentConfig]):
    async def write(self, batch: Batch, done: Done) -> None: ...


class Abstract(Sink[ComponentConfig]):
    name = "abstract"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"register_sink": gives(Print)}, "unknown hook 'register_sink' (did you mean 'register_sinks'?)"),
        ({"register_sinks": gives(Source)}, "which is no Sink class"),
        ({"register_sources": gives(Print)}, "which is no Source class"),
        ({"register_sinks": gives(42)}, "register_sinks gave 42"),
        ({"register_sinks": gives(Wrong)}, "Wrong.name must be lower snake case, not 'Wrong-Name'"),
        ({"register_sinks": gives(Nameless)}, "Nameless.name must be lower snake case, not None"),
        ({"register_sinks": gives(Abstract)}, "Abstract lacks write"),
        ({"register_sinks": gives(Print, Print)}, "the sink name 'print' is given twice"),
        ({"headrace_api": (API_VERSION + 1, API_VERSION + 2)}, f"made for plugin API {API_VERSION + 1}"),
        ({"headrace_api": "1"}, "headrace_api must be (lowest, highest), not '1'"),
        ({"register_functions": lambda: {"f": 7}}, "the function 'f' is 7, nothing to call"),
        ({"register_functions": lambda: {"a-b": shout}}, "a function's name is a letter, then letters, digits"),
        ({"register_sinks": lambda: 1 / 0}, "division by zero"),
        ({"register_sinks": lambda: 7}, "not iterable"),
    ],
)  # fmt: skip
def test_a_plugin_that_breaks_its_contract_is_refused_whole(members: dict[str, Any], message: str) -> None:
    registry = Registry()
    good = plugin("bad", register_functions=lambda: {"shout": shout})
    for key, value in vars(plugin("bad", **members)).items():
        if not key.startswith("__"):
            setattr(good, key, value)
    with pytest.raises(Exception, match=re.escape(message)):
        registry.register(good)
    assert registry.functions == {}
    assert all(registry.names(kind) == [] for kind in ("source", "transform", "sink", "connector"))
    registry.register(plugin("good", register_sinks=gives(Print)))
    assert registry.names("sink") == ["print"]


def test_a_taken_name_stays_with_the_first() -> None:
    registry = Registry()
    registry.register(plugin("first", register_sinks=gives(Print)))
    with pytest.raises(PluginError, match="the sink name 'print' is taken by plugin 'first'"):
        registry.register(plugin("second", register_sinks=gives(Print)))
    with pytest.raises(PluginError, match="a plugin named 'first' is there already"):
        registry.register(plugin("first", register_sinks=gives(Print)))
    assert registry.owner("sink", "print") == "first"


def test_an_api_range_that_holds_this_version_is_taken() -> None:
    registry = Registry()
    registry.register(plugin(headrace_api=(API_VERSION, API_VERSION + 5), register_sinks=gives(Print)))
    assert registry.names("sink") == ["print"]


def test_an_unknown_type_names_the_near_ones_and_the_failed_plugins() -> None:
    registry = Registry()
    registry.register(plugin(register_sinks=gives(Print)))
    with pytest.raises(PluginError, match=r"unknown sink type 'prin' \(did you mean 'print'\?\)$"):
        registry.find("sink", "prin")
    registry.rows.append(PluginRow("torn", "x", "1", error="ImportError: no"))
    with pytest.raises(PluginError, match="these plugins failed, see `headrace plugins`: torn"):
        registry.find("sink", "prin")
    assert registry.broken("torn") == "plugin 'torn' failed: ImportError: no"
    assert registry.broken("print") is None


def test_notices_reach_every_plugin_and_what_they_raise_comes_back() -> None:
    told: list[str] = []
    registry = Registry()

    def raises(pipeline: PipelineInfo) -> None:
        raise RuntimeError("no")

    def tell(pipeline: PipelineInfo) -> None:
        told.append(pipeline.name)

    registry.register(plugin("one", pipeline_started=raises))
    registry.register(plugin("two", pipeline_started=tell))
    assert [str(error) for error in registry.notify_started(PipelineInfo("p"))] == ["no"]
    assert told == ["p"]
    assert registry.notify_stopped(PipelineInfo("p"), None) == []


# -- discovery -----------------------------------------------------------------------------------------------------

GOOD = """
from headrace import ComponentConfig, Sink, hookimpl
class Stranger(Sink[ComponentConfig]):
    "A stranger."
    name = "{name}"
    async def write(self, batch, done): ...
@hookimpl
def register_sinks():
    return [Stranger]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``install(distribution, {entry point: module text})``: as if pip had installed it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(distribution: str, modules: dict[str, str]) -> None:
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        points = "".join(f"{name} = {distribution}_{name}\n" for name in modules)
        (info / "entry_points.txt").write_text(f"[headrace]\n{points}")
        for name, text in modules.items():
            (tmp_path / f"{distribution}_{name}.py").write_text(text)
        importlib.invalidate_caches()

    return run


def rows(registry: Registry, distribution: str) -> dict[str, tuple[list[str], str | None, bool]]:
    return {r.name: (r.provides, r.error, r.disabled) for r in registry.rows if r.distribution == distribution}


def test_a_strangers_plugin_is_found_as_our_own_are(install: Callable[..., None]) -> None:
    install("stranger", {"one": GOOD.format(name="one_sink")})
    registry = Registry.discover()
    assert rows(registry, "stranger") == {"one": (["sink one_sink"], None, False)}
    assert "console" in rows(registry, "headrace")
    assert registry.find("sink", "one_sink").name == "one_sink"


def test_a_broken_plugin_is_a_row_and_stops_no_other(install: Callable[..., None]) -> None:
    install(
        "stranger",
        {
            "raises": "raise RuntimeError('at import')",
            "exits": "import sys; sys.exit(3)",
            "syntax": "def",
            "missing": "import no_such_module",
            "takes": GOOD.format(name="console"),
            "typo": GOOD.format(name="typo_sink").replace("register_sinks", "register_sink"),
            "good": GOOD.format(name="good_sink"),
        },
    )
    registry = Registry.discover()
    found = {name: error for name, (_, error, _) in rows(registry, "stranger").items()}
    assert found["raises"] == "RuntimeError: at import"
    assert found["exits"] == "SystemExit: 3"
    assert found["syntax"] is not None
    assert "SyntaxError" in found["syntax"]
    assert found["missing"] == "ModuleNotFoundError: No module named 'no_such_module'"
    assert found["takes"] == "PluginError: the sink name 'console' is taken by plugin 'console'"
    assert found["typo"] == "PluginError: unknown hook 'register_sink' (did you mean 'register_sinks'?)"
    assert found["good"] is None
    assert registry.owner("sink", "console") == "console"


def test_a_plugin_not_allowed_is_not_imported(install: Callable[..., None]) -> None:
    install("stranger", {"one": "raise RuntimeError('imported')", "two": GOOD.format(name="two_sink")})
    registry = Registry.discover(deny=["one"])
    assert rows(registry, "stranger")["one"] == ([], None, True)
    registry = Registry.discover(allow=["two"])
    assert rows(registry, "stranger") == {"one": ([], None, True), "two": (["sink two_sink"], None, False)}
    assert registry.names("sink") == ["two_sink"]
    with pytest.raises(PluginError, match="the plugin 'console' is switched off by 'plugins'"):
        registry.find("sink", "console")
