"""The tree of a configuration → the plan of a pipeline, every reference checked."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from headrace.components import Component, ComponentConfig, Connector, JoiningSink, Sink, Source, Transform
from headrace.config import webhooks
from headrace.config.model import (
    NAME,
    NAME_RULE,
    ConnectorSpec,
    PartOptions,
    PipelineOptions,
    PipelineSpec,
    RuleOptions,
    RuleSpec,
    SinkOptions,
    SinkSpec,
    SourceSpec,
    TransformSpec,
)
from headrace.config.paths import log_directory
from headrace.config.problems import Mark, Problems, suggest
from headrace.config.tree import Node
from headrace.config.validate import field_names, filled, validate
from headrace.errors import PluginError
from headrace.registry import Kind, Registry

__all__ = ["build"]

_COMMON = ("type", *field_names(PartOptions))
COMPONENTS = ("sources", "connectors", "rules", "sinks")
GIVE_UP = ("dead_letter", "drop")
"""Values of ``on_error`` that are no sink."""


def build(root: Node, default: str, registry: Registry, problems: Problems) -> PipelineSpec | None:
    """The plan; None, or a plan not to be used, if there are errors in ``problems``."""
    return _Builder(webhooks.expand(root, registry, problems), registry, problems).build(default)


@dataclass
class _Part:
    """One entry of a section: its own keys, and the class of its ``type``."""

    name: str
    where: str
    mark: Mark
    entries: dict[str, Node]
    cls: type[Component[Any]] | None = None
    broken: str | None = None
    config: ComponentConfig | None = field(default=None)


class _Builder:
    def __init__(self, root: Node, registry: Registry, problems: Problems) -> None:
        self._root = root
        self._registry = registry
        self._problems = problems
        self._sections = {name: self._section(name) for name in COMPONENTS}
        self._inline: dict[str, ConnectorSpec] = {}
        self._used: set[tuple[str, str]] = set()

    def build(self, default: str) -> PipelineSpec | None:
        options = pipeline_options(self._root, self._problems)
        sources = {name: self._source(name, node) for name, node in self._sections["sources"].items()}
        connectors = {name: self._connector(name, node) for name, node in self._sections["connectors"].items()}
        rules = {name: self._rule(name, node) for name, node in self._sections["rules"].items()}
        sinks = {name: self._sink(name, node, connectors) for name, node in self._sections["sinks"].items()}
        self._check_fallbacks(sinks)
        self._warn(rules)
        name = options.name or default
        url = self._root.value["stream"].entries().get("url") if "stream" in self._root.value else None
        try:
            state_dir = log_directory(options.stream.url, name)
        except ValueError as exc:
            self._problems.error(url.mark if url else self._root.mark, f"stream.url: {exc}")
            return None
        return PipelineSpec(
            name=name,
            sources=sources,
            connectors=connectors,
            inline_connectors=self._inline,
            rules=rules,
            sinks=sinks,
            stream=options.stream,
            api=options.api,
            tracing=options.tracing,
            plugins=options.plugins,
            shutdown_timeout=options.shutdown_timeout,
            state_dir=state_dir,
        )

    # -- sections --------------------------------------------------------------------------------------------

    def _section(self, section: str) -> dict[str, Node]:
        node = self._root.value.get(section)
        if node is None or node.value is None:
            return {}
        if not node.is_map:
            self._problems.error(node.mark, f"{section} is a map of names")
            return {}
        for name, entry in node.value.items():
            if not re.match(NAME, name):
                self._problems.error(entry.key, f"{section}: {name!r} is no name: {NAME_RULE}")
        return dict(node.value)

    def _part(self, kind: Kind, where: str, node: Node) -> _Part:
        """The entry without its ``type``, and the class that means. A missing class is reported here."""
        part = _Part(where.rpartition(".")[2], where, node.key, dict(node.entries()))
        if not node.is_map:
            self._problems.error(node.mark, f"{where} is a map with a type")
            return part
        type_node = part.entries.pop("type", None)
        if type_node is None or not isinstance(type_node.value, str):
            known = ", ".join(self._registry.names(kind))
            self._problems.error(type_node.mark if type_node else node.key, f"{where}: needs 'type', one of {known}")
            return part
        try:
            part.cls = self._registry.find(kind, type_node.value)
        except PluginError as exc:
            part.broken = self._registry.broken(type_node.value)
            if part.broken is None:
                self._problems.error(type_node.mark, f"{where}: {exc}")
            else:
                self._problems.warn(type_node.mark, f"{where} cannot run: {part.broken}")
        return part

    def _validate(
        self, model: type[ComponentConfig], part: _Part, entries: Mapping[str, Node], also: Iterable[str] = ("type",)
    ) -> Any:
        context = {"functions": self._registry.functions}
        return validate(model, entries, part.mark, part.where, self._problems, also=also, context=context)

    def _source(self, name: str, node: Node) -> SourceSpec:
        part = self._part("source", f"sources.{name}", node)
        enable = self._enabled(part)
        config = self._validate(part.cls.Config, part, part.entries, _COMMON) if part.cls else None
        return SourceSpec(name, cast("type[Source[Any]] | None", part.cls), config, part.broken, enable)

    def _connector(self, name: str, node: Node) -> ConnectorSpec:
        part = self._part("connector", f"connectors.{name}", node)
        enable = self._enabled(part)
        config = self._validate(part.cls.Config, part, part.entries, _COMMON) if part.cls else None
        return ConnectorSpec(name, cast("type[Connector[Any]] | None", part.cls), config, part.broken, enable=enable)

    def _enabled(self, part: _Part) -> bool:
        """Take ``enable`` out of the entries; what is left is the component's own."""
        given = {key: part.entries.pop(key) for key in field_names(PartOptions) if key in part.entries}
        options = self._validate(PartOptions, part, given)
        return options is None or options.enable

    # -- rules -----------------------------------------------------------------------------------------------

    def _rule(self, name: str, node: Node) -> RuleSpec:
        where = f"rules.{name}"
        if not node.is_map:
            self._problems.error(node.mark, f"{where} is a map with sql and to")
            return RuleSpec(name, (), ())
        entries = dict(node.value)
        types = self._registry.names("transform")
        short = [key for key in entries if key not in RuleOptions.model_fields and self._is_transform(key)]
        steps = [self._step(where, key, entries.pop(key)) for key in short]
        listed = entries.pop("transforms", None)
        if listed is not None:
            steps += self._steps(where, listed)
        if len(short) > 1 or (short and listed is not None):
            self._problems.error(node.key, f"{where}: several transforms go into the list 'transforms', in their order")
        elif not steps and listed is None:
            self._problems.error(node.key, f"{where}: needs one of {', '.join([*types, 'transforms'])}")
        targets, origins = entries.pop("to", None), entries.pop("sources", None)
        enable = self._enabled(_Part(name, where, node.key, entries))
        if targets is None:
            self._problems.error(node.key, f"{where}: needs 'to', the name of a sink or a list of names")
        for key, extra in entries.items():
            near = suggest(key, [*types, *RuleOptions.model_fields])
            self._problems.error(extra.key, f"{where}: unknown key {key!r}{near}")
        return RuleSpec(
            name,
            tuple(steps),
            self._names(f"{where}.to", "sinks", targets),
            None if origins is None else self._names(f"{where}.sources", "sources", origins),
            enable,
        )

    def _is_transform(self, key: str) -> bool:
        """A transform's type; also one whose plugin is there but gives none, which is then said or is an error."""
        absent = any(row.name == key and (row.error or row.disabled) for row in self._registry.rows)
        return absent or key in self._registry.names("transform")

    def _step(self, where: str, kind: str, query: Node) -> TransformSpec:
        """``sql: …``, short for ``{type: sql, query: …}``; of a map, ``presence: {…}``, for that with the type."""
        options = query.value if query.is_map else {self._main_option(kind): query}
        type_node = Node(kind, query.key, query.key)
        return self._transform(f"{where}.{kind}", Node({**options, "type": type_node}, query.mark, query.key))

    def _main_option(self, kind: str) -> str:
        """What the short form of a transform gives: its query, or else the one option that it needs."""
        with contextlib.suppress(PluginError):
            fields = self._registry.find("transform", kind).Config.model_fields
            needed = [name for name, field in fields.items() if field.is_required()]
            if "query" not in fields and len(needed) == 1:
                return needed[0]
        return "query"

    def _steps(self, where: str, listed: Node) -> list[TransformSpec]:
        if not isinstance(listed.value, list):
            self._problems.error(listed.mark, f"{where}.transforms is a list of maps, each with a type")
            return []
        return [self._transform(f"{where}.transforms.{i}", step) for i, step in enumerate(listed.value)]

    def _transform(self, where: str, node: Node) -> TransformSpec:
        part = self._part("transform", where, node)
        config = self._validate(part.cls.Config, part, part.entries) if part.cls else None
        return TransformSpec(cast("type[Transform[Any]] | None", part.cls), config, part.broken)

    def _names(self, where: str, section: str, node: Node | None) -> tuple[str, ...]:
        """A name or a list of names, each of which the section has."""
        if node is None:
            return ()
        names: list[str] = []
        for each in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(each.value, str):
                self._problems.error(each.mark, f"{where}: takes a name or a list of names")
            elif each.value in names:
                self._problems.error(each.mark, f"{where}: {each.value!r} is named twice")
            elif self._known(where, section, each):
                names.append(each.value)
        return tuple(names)

    def _known(self, where: str, section: str, node: Node) -> bool:
        known = self._sections[section]
        if node.value in known:
            self._used.add((section, node.value))
            return True
        near = suggest(node.value, known)
        self._problems.error(node.mark, f"{where}: there is no {section[:-1]} {node.value!r}{near}")
        return False

    # -- sinks -----------------------------------------------------------------------------------------------

    def _sink(self, name: str, node: Node, connectors: Mapping[str, ConnectorSpec]) -> SinkSpec:
        part = self._part("sink", f"sinks.{name}", node)
        engine_keys = field_names(SinkOptions)
        engine = {key: part.entries.pop(key) for key in engine_keys if key in part.entries}
        options = self._validate(SinkOptions, part, engine) or SinkOptions()
        self._check_on_error(part, engine.get("on_error"))
        if part.cls is None:
            return SinkSpec(name, None, None, options, None, part.broken)
        cls = cast("type[Sink[Any]]", part.cls)
        if options.batch.size > 1 and not issubclass(cls, JoiningSink):
            text = f"{part.where}.batch: a sink of type {cls.name!r} cannot join events; each goes by itself"
            self._problems.warn(engine["batch"].key, text)
        connector, also = None, ["type", *engine_keys]
        if cls.connector_type is not None:
            connector = self._sink_connector(part, cls, connectors)
            also += ["connector", *field_names(cls.connector_type.Config)]
        config = self._validate(cls.Config, part, part.entries, also)
        options = self._with_defaults(part, cls, config, options)
        given = connectors.get(connector or "")
        if given is not None and given.broken and connector not in self._inline:
            return SinkSpec(name, None, None, options, connector, f"connector {given.name!r}: {given.broken}")
        return SinkSpec(name, cls, config, options, connector)

    def _with_defaults(
        self, part: _Part, cls: type[Sink[Any]], config: ComponentConfig | None, options: SinkOptions
    ) -> SinkOptions:
        """The options, and what the sink would have instead of the engine's defaults."""
        if config is None:
            return options
        try:
            return filled(options, SinkOptions.model_validate(cls.defaults(config)))
        except Exception as exc:  # noqa: BLE001 - a plugin may raise anything
            text = f"its defaults are wrong, which is the plugin's fault: {type(exc).__name__}: {exc}"
            self._problems.error(part.mark, f"{part.where}: {text}")
            return options

    def _sink_connector(self, part: _Part, cls: type[Sink[Any]], connectors: Mapping[str, ConnectorSpec]) -> str | None:
        """The name of the sink's connector, given by name or by its keys among the sink's own."""
        wanted = cls.connector_type
        assert wanted is not None
        keys = [key for key in field_names(wanted.Config) if key not in field_names(cls.Config)]
        inline = {key: part.entries.pop(key) for key in keys if key in part.entries}
        named = part.entries.pop("connector", None)
        if named is None:
            return self._inline_connector(part, wanted, inline)
        for key, node in inline.items():
            text = f"{part.where}: {key!r} is an option of the connector; give it there"
            self._problems.error(node.key, text)
        if not isinstance(named.value, str):
            self._problems.error(named.mark, f"{part.where}.connector: takes the name of a connector")
            return None
        if not self._known(f"{part.where}.connector", "connectors", named):
            return None
        given = connectors[named.value].cls
        if given is not None and not issubclass(given, wanted):
            text = f"{named.value!r} is of type {given.name!r}, a {cls.name!r} sink needs {wanted.name!r}"
            self._problems.error(named.mark, f"{part.where}.connector: {text}")
        return named.value

    def _inline_connector(self, part: _Part, wanted: type[Connector[Any]], inline: dict[str, Node]) -> str:
        model = wanted.Config
        required = [info.alias or key for key, info in model.model_fields.items() if info.is_required()]
        missing = [key for key in required if key not in inline]
        if missing:
            text = f"needs {' and '.join(map(repr, missing))}, or the name of a connector as 'connector'"
            self._problems.error(part.mark, f"{part.where}: {text}")
        else:
            config = self._validate(model, part, inline)
            self._inline[part.name] = ConnectorSpec(part.name, wanted, config, inline=True)
        return part.name

    def _check_on_error(self, part: _Part, node: Node | None) -> None:
        if node is None or not isinstance(node.value, str) or node.value in GIVE_UP:
            return
        sinks = self._sections["sinks"]
        if node.value not in sinks:
            near = suggest(node.value, [*GIVE_UP, *sinks])
            text = f"takes dead_letter, drop or the name of a sink, not {node.value!r}{near}"
            self._problems.error(node.mark, f"{part.where}.on_error: {text}")
        else:
            self._used.add(("sinks", node.value))

    def _check_fallbacks(self, sinks: Mapping[str, SinkSpec]) -> None:
        """An event that goes from sink to sink must come to an end."""
        for name in sinks:
            seen, at = [name], sinks[name].options.on_error
            while at in sinks and at not in seen:
                seen.append(at)
                at = sinks[at].options.on_error
            if at == name:
                node = self._sections["sinks"][name].entries()["on_error"]
                self._problems.error(node.mark, f"sinks.{name}.on_error: goes round: {' → '.join([*seen, at])}")

    def _warn(self, rules: Mapping[str, RuleSpec]) -> None:
        for section, what in (("sinks", "no rule or sink sends to it"), ("connectors", "no sink uses it")):
            for name, node in self._sections[section].items():
                if (section, name) not in self._used:
                    self._problems.warn(node.key, f"{section}.{name}: {what}")
        self._warn_of_plugins()
        for section, what in (("sources", "nothing comes in"), ("rules", "nothing goes out")):
            if not self._sections[section]:
                self._problems.warn(self._root.mark, f"no {section}: {what}")

    def _warn_of_plugins(self) -> None:
        section = self._root.child("plugins")
        known = {row.name for row in self._registry.rows}
        for listed in section.entries().values() if section else ():
            for name in listed.value if isinstance(listed.value, list) else ():
                if name.value not in known:
                    near = suggest(str(name.value), known)
                    self._problems.warn(name.mark, f"plugins: no plugin {name.value!r} is installed{near}")


def pipeline_options(root: Node, problems: Problems) -> PipelineOptions:
    """The engine's own part of the top level; defaults where it has problems."""
    entries = {
        key: Node({}, node.mark, node.key) if node.value is None and key in ("stream", "api", "plugins") else node
        for key, node in root.value.items()
        if key not in COMPONENTS
    }
    options = validate(PipelineOptions, entries, root.mark, "", problems, also=(*COMPONENTS, webhooks.SECTION))
    return options if isinstance(options, PipelineOptions) else PipelineOptions()
