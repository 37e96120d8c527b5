"""Plugins: found, checked, listed. A broken plugin is a row with its error, never a crash."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import pluggy

from headrace import hookspecs
from headrace.components import Component, Connector, PipelineInfo, Sink, Source, Transform
from headrace.errors import PluginError

__all__ = ["API_VERSION", "PluginRow", "Registry"]

GROUP = "headrace"
API_VERSION = 1
"""A plugin module may say ``headrace_api = (lowest, highest)``; outside that range it is not used."""

Kind = Literal["source", "transform", "sink", "connector"]
KINDS: Mapping[Kind, type[Component[Any]]] = {
    "source": Source,
    "transform": Transform,
    "sink": Sink,
    "connector": Connector,
}
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_FUNCTION = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


@dataclass
class PluginRow:
    """One plugin, as ``headrace plugins`` lists it."""

    name: str
    distribution: str
    version: str
    provides: list[str] = field(default_factory=list)
    error: str | None = None
    disabled: bool = False


class Registry:
    """Every component type and SQL function that plugins gave, with who gave it."""

    def __init__(self) -> None:
        self.rows: list[PluginRow] = []
        self.functions: dict[str, Callable[..., Any]] = {}
        self._components: dict[tuple[Kind, str], type[Component[Any]]] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self._pm = pluggy.PluginManager(hookspecs.PROJECT)
        self._pm.add_hookspecs(hookspecs)

    @classmethod
    def discover(cls, allow: Iterable[str] | None = None, deny: Iterable[str] = ()) -> Registry:
        """Load every installed plugin. Only names in ``allow`` (if given) and not in ``deny`` are imported."""
        registry = cls()
        allowed, denied = None if allow is None else set(allow), set(deny)
        for point in sorted(entry_points(group=GROUP), key=_own_first):
            row = PluginRow(
                point.name, point.dist.name if point.dist else "?", point.dist.version if point.dist else ""
            )
            registry.rows.append(row)
            if point.name in denied or (allowed is not None and point.name not in allowed):
                row.disabled = True
                continue
            try:
                registry.register(point.load(), row)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - a plugin may raise anything at import
                row.error = f"{type(exc).__name__}: {exc}"
        return registry

    def register(self, plugin: object, row: PluginRow | None = None) -> None:
        """Add one plugin: all of it, or nothing. PluginError says what is wrong with it."""
        row = row or PluginRow(getattr(plugin, "__name__", repr(plugin)), "?", "")
        if row not in self.rows:
            self.rows.append(row)
        given = getattr(plugin, "headrace_api", (API_VERSION, API_VERSION))
        try:
            low, high = map(int, given)
        except (TypeError, ValueError):
            raise PluginError(f"headrace_api must be (lowest, highest), not {given!r}") from None
        if not low <= API_VERSION <= high:
            raise PluginError(f"made for plugin API {low} to {high}, this is {API_VERSION}")
        if self._pm.has_plugin(row.name):
            raise PluginError(f"a plugin named {row.name!r} is there already")
        self._pm.register(plugin, row.name)
        try:
            self._check_hooks(plugin)
            components, functions = self._collect(plugin)
        except Exception:
            self._pm.unregister(plugin)
            raise
        self._components.update(components)
        self.functions.update(functions)
        for kind, name in [*components, *(("function", name) for name in functions)]:
            self._owners[kind, name] = row.name
            row.provides.append(f"{kind} {name}")

    def _check_hooks(self, plugin: object) -> None:
        known = {name for name, _ in inspect.getmembers(hookspecs, lambda o: hasattr(o, f"{hookspecs.PROJECT}_spec"))}
        for caller in self._pm.get_hookcallers(plugin) or ():
            if caller.name not in known:
                raise PluginError(f"unknown hook {caller.name!r}{_suggest(caller.name, known)}")

    def _collect(
        self, plugin: object
    ) -> tuple[dict[tuple[Kind, str], type[Component[Any]]], dict[str, Callable[..., Any]]]:
        others = [p for p in self._pm.get_plugins() if p is not plugin]
        components: dict[tuple[Kind, str], type[Component[Any]]] = {}
        for kind, base in KINDS.items():
            for classes in self._pm.subset_hook_caller(f"register_{kind}s", others)():
                for cls in classes:
                    name = _component_name(cls, base, kind)
                    self._check_free(kind, name)
                    if (kind, name) in components:
                        raise PluginError(f"the {kind} name {name!r} is given twice")
                    components[kind, name] = cls
        functions: dict[str, Callable[..., Any]] = {}
        for given in self._pm.subset_hook_caller("register_functions", others)():
            for name, function in given.items():
                self._check_function(name)
                if not callable(function):
                    raise PluginError(f"the function {name!r} is {function!r}, nothing to call")
                functions[name] = function
        return components, functions

    def _check_function(self, name: object) -> None:
        if not (isinstance(name, str) and _FUNCTION.match(name)):
            raise PluginError(f"a function's name is a letter, then letters, digits and underscores, not {name!r}")
        self._check_free("function", name)
        for (_, language), cls in self._components.items():
            if issubclass(cls, Transform) and name in cls.functions():
                raise PluginError(f"the function name {name!r} is taken by the transform {language!r}")

    def _check_free(self, kind: str, name: str) -> None:
        owner = self._owners.get((kind, name))
        if owner:
            raise PluginError(f"the {kind} name {name!r} is taken by plugin {owner!r}")

    def find(self, kind: Kind, name: str) -> type[Component[Any]]:
        """The class registered as ``name``. PluginError names the near ones, and plugins that failed."""
        cls = self._components.get((kind, name))
        if cls is None:
            if any(row.disabled and row.name == name for row in self.rows):
                raise PluginError(f"the plugin {name!r} is switched off by 'plugins'")
            text = f"unknown {kind} type {name!r}{_suggest(name, self.names(kind))}"
            failed = [row for row in self.rows if row.error]
            if failed:
                text += f"; these plugins failed, see `headrace plugins`: {', '.join(row.name for row in failed)}"
            raise PluginError(text)
        return cls

    def broken(self, type_name: str) -> str | None:
        """Why a type is missing, if a plugin of that name was found but failed."""
        for row in self.rows:
            if row.error and row.name == type_name:
                return f"plugin {row.name!r} failed: {row.error}"
        return None

    def names(self, kind: Kind) -> list[str]:
        """All type names of one kind, sorted."""
        return sorted(name for k, name in self._components if k == kind)

    def owner(self, kind: str, name: str) -> str:
        """The plugin that gave a component or function."""
        return self._owners.get((kind, name), "?")

    def callable(self) -> list[dict[str, str]]:
        """What queries may call: the functions of each language, and those that plugins add for all of them."""
        rows = [
            {
                "name": name,
                "plugin": self.owner("function", name),
                "text": (inspect.getdoc(call) or "").partition("\n")[0],
            }
            for name, call in self.functions.items()
        ]
        for language in self.names("transform"):
            cls = self.find("transform", language)
            assert issubclass(cls, Transform)
            owner = self.owner("transform", language)
            rows += [{"name": name, "plugin": owner, "text": text} for name, text in cls.functions().items()]
        return sorted(rows, key=lambda row: row["name"])

    def notify_started(self, pipeline: PipelineInfo) -> list[Exception]:
        """Call ``pipeline_started``; returns what implementations raised."""
        return self._notify("pipeline_started", pipeline=pipeline)

    def notify_stopped(self, pipeline: PipelineInfo, error: Exception | None) -> list[Exception]:
        """Call ``pipeline_stopped``; returns what implementations raised."""
        return self._notify("pipeline_stopped", pipeline=pipeline, error=error)

    def _notify(self, hook: str, **kwargs: Any) -> list[Exception]:
        raised: list[Exception] = []
        for plugin in self._pm.get_plugins():
            others = [p for p in self._pm.get_plugins() if p is not plugin]
            try:
                self._pm.subset_hook_caller(hook, others)(**kwargs)
            except Exception as exc:  # noqa: BLE001 - one plugin's notice must not stop another's
                raised.append(exc)
        return raised


def _own_first(point: EntryPoint) -> tuple[bool, str]:
    # so that a stranger that takes a built-in's name is the one reported
    return (point.dist is None or point.dist.name != "headrace", point.name)


def _component_name(cls: object, base: type[Component[Any]], kind: str) -> str:
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise PluginError(f"register_{kind}s gave {cls!r}, which is no {base.__name__} class")
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _NAME.match(name):
        raise PluginError(f"{cls.__name__}.name must be lower snake case, not {name!r}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise PluginError(f"{cls.__name__} lacks {missing}")
    return name


def _suggest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
