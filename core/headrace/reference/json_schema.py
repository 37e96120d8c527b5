"""JSON Schema of a configuration file, for editors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from headrace.components import Component
from headrace.config.model import NAME, PartOptions, PipelineOptions, RuleOptions, SinkOptions
from headrace.config.webhooks import SINK
from headrace.reference.options import summary
from headrace.registry import KINDS, Kind, Registry
from headrace.units import format_duration, format_size

__all__ = ["schema"]

Schema = dict[str, Any]


def schema(registry: Registry) -> Schema:
    """JSON Schema of a whole configuration file, with every component that is installed."""
    classes = [registry.find(kind, name) for kind in KINDS for name in registry.names(kind)]
    models: set[type[BaseModel]] = {
        PartOptions,
        PipelineOptions,
        RuleOptions,
        SinkOptions,
        *(cls.Config for cls in classes),
    }
    ordered = sorted(models, key=lambda model: (model.__module__, model.__qualname__))
    refs, defs = models_json_schema([(model, "validation") for model in ordered], by_alias=True)
    known: dict[str, Schema] = defs["$defs"]
    of = {model: known[refs[model, "validation"]["$ref"].rpartition("/")[2]] for model in ordered}
    for part in known.values():
        _loosen(part)
    top, common = dict(of[PipelineOptions]), of[PartOptions]["properties"]
    top["properties"] = {
        **top["properties"],
        "include": _one_or_more({"type": "string"}),
        "sources": _named([_variant(of[cls.Config], cls, common) for cls in _classes(registry, "source")]),
        "connectors": _named([_variant(of[cls.Config], cls, common) for cls in _classes(registry, "connector")]),
        "rules": _named([_rule(of, registry)]),
        "sinks": _named([_sink(of, cls) for cls in _classes(registry, "sink")]),
        "webhooks": _named([_webhook(of, cls) for cls in _classes(registry, "sink") if cls.name == SINK]),
    }
    known["placeholder"] = {"type": "string", "pattern": r"\$\{(env|file):"}
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "headrace configuration"}
    return {**title, **{key: value for key, value in top.items() if key not in title}, "$defs": known}


def _classes(registry: Registry, kind: Kind) -> list[type[Component[Any]]]:
    return [registry.find(kind, name) for name in registry.names(kind)]


def _named(variants: list[Schema]) -> Schema:
    entry = {"oneOf": variants} if len(variants) != 1 else variants[0]
    return {"type": ["object", "null"], "propertyNames": {"pattern": NAME}, "additionalProperties": entry}


def _one_or_more(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _variant(part: Schema, cls: type[Component[Any]], more: Mapping[str, Schema] | None = None) -> Schema:
    """A component's options with its ``type`` among them."""
    own = {"type": {"const": cls.name, "description": summary(cls)}}
    return {
        "type": "object",
        "title": cls.name,
        "description": inspect.getdoc(cls) or "",
        "properties": {**own, **(more or {}), **part.get("properties", {})},
        "required": ["type", *part.get("required", [])],
        "additionalProperties": False,
    }


def _sink(of: Mapping[type[BaseModel], Schema], cls: type[Component[Any]]) -> Schema:
    engine = of[SinkOptions]["properties"]
    connector = getattr(cls, "connector_type", None)
    more: dict[str, Schema] = {}
    if connector is not None:
        inline = of.get(connector.Config, {})
        more = {"connector": {"type": "string", "description": f"Name of a connector of type {connector.name}."}}
        more |= inline.get("properties", {})
    return _variant({**of[cls.Config], "properties": {**of[cls.Config].get("properties", {}), **engine}}, cls, more)


def _webhook(of: Mapping[type[BaseModel], Schema], cls: type[Component[Any]]) -> Schema:
    """A URL, what to send there, and any option of connector and sink."""
    whole = _sink(of, cls)
    names = _one_or_more({"type": "string"})
    own = {
        "events": {**names, "description": "Client events to send: all, or names such as client.connected."},
        "topics": {**names, "description": "Topic filters of the messages to send."},
    }
    options = {key: value for key, value in whole["properties"].items() if key not in ("type", "connector")}
    return {
        "type": "object",
        "description": "Short for a connector, a rule and a sink of the same name.",
        "properties": {**own, **options},
        "required": ["url"],
        "additionalProperties": False,
    }


def _short(model: Schema) -> Schema:
    """What stands behind ``type:`` in a rule: the query, or a map of all options."""
    options = model.get("properties", {})
    if "query" in options:
        query: Schema = options["query"]
        return query
    return {"type": "object", "properties": options, "additionalProperties": False}


def _rule(of: Mapping[type[BaseModel], Schema], registry: Registry) -> Schema:
    rule = of[RuleOptions]
    steps = _classes(registry, "transform")
    short = {cls.name: _short(of[cls.Config]) for cls in steps}
    listed = {"type": "array", "items": {"oneOf": [_variant(of[cls.Config], cls) for cls in steps]}}
    given = rule["properties"]
    names = {
        key: {**_one_or_more({"type": "string"}), "description": given[key].get("description", "")}
        for key in ("to", "sources")
    }
    return {
        "type": "object",
        "description": rule.get("description", ""),
        "properties": {**short, "transforms": {**given["transforms"], **listed}, **names, "enable": given["enable"]},
        "required": ["to"],
        "additionalProperties": False,
    }


def _loosen(part: Any) -> None:
    """Where a number, a word or a unit is asked for, a placeholder for it is right too; defaults get their units."""
    if isinstance(part, list):
        for each in part:
            _loosen(each)
        return
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        if key == "properties":
            for each in value.values():
                _default_with_unit(each)
        if key not in ("default", "examples", "enum"):
            _loosen(value)
    strict = part.get("type") in ("integer", "number", "boolean") or "pattern" in part or "enum" in part
    if strict:
        notes = {key: part.pop(key) for key in ("title", "description", "default", "examples") if key in part}
        inner = dict(part)
        part.clear()
        part.update(notes, anyOf=[inner, {"$ref": "#/$defs/placeholder"}])


def _default_with_unit(part: Schema) -> None:
    units = [each.get("x-unit") for each in [part, *part.get("anyOf", ())]]
    if isinstance(part.get("default"), int | float):
        if "duration" in units:
            part["default"] = format_duration(part["default"])
        elif "size" in units:
            part["default"] = format_size(part["default"])
