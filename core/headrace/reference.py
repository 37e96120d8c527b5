"""One description of every option, told in three ways: option tables, examples, and JSON Schema.

All of it comes from the models of the components that are there; ``python -m headrace.reference`` writes the page
``docs/reference.md`` for those that come with headrace.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from headrace.components import Component, Sink
from headrace.config.model import NAME, PipelineOptions, RuleOptions, SinkOptions
from headrace.config.tree import parse_scalar
from headrace.registry import KINDS, Kind, Registry
from headrace.units import format_duration, format_size

__all__ = ["Option", "example", "markdown", "options", "schema", "summary"]

Schema = dict[str, Any]
_WORD = re.compile(r"[A-Za-z0-9][\w./-]*(:[\w./-]+)*")


class Option(NamedTuple):
    """One option, ready to print. ``name`` is dotted below the top; ``default`` None means it must be given."""

    name: str
    type: str
    default: str | None
    description: str


def summary(cls: type[Component[Any]]) -> str:
    """The first line of a component's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def options(model: type[BaseModel], prefix: str = "") -> list[Option]:
    """Every option of a model, options of inner models below theirs."""
    found: list[Option] = []
    described = model.model_json_schema(by_alias=True)
    for name, field in model.model_fields.items():
        key = field.alias or name
        inner = _inner(field)
        part = described["properties"][key]
        kind = _type(part, described.get("$defs", {}))
        found.append(Option(prefix + key, kind, _default(field, inner), field.description or ""))
        if inner is not None:
            found += options(inner, f"{prefix}{key}.")
    return found


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is one, or that may be one."""
    waiting: list[Any] = [field.annotation]
    while waiting:
        item = waiting.pop()
        if inspect.isclass(item) and issubclass(item, BaseModel):
            return item
        waiting += getattr(item, "__args__", ())
    return None


def _default(field: FieldInfo, inner: type[BaseModel] | None) -> str | None:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if value is None or (inner is not None and isinstance(value, inner)):
        return ""
    return _yaml(_dump(field, value))


def _dump(field: FieldInfo, value: Any) -> Any:
    annotation: Any = field.rebuild_annotation()
    return TypeAdapter(annotation).dump_python(value, mode="json", by_alias=True)


def _type(part: Schema, defs: Mapping[str, Schema]) -> str:
    """A type in a word or two."""
    if "$ref" in part:
        target = defs[part["$ref"].rpartition("/")[2]]
        return "map" if "properties" in target else _type(target, defs)
    if "anyOf" in part:
        words = [_type(each, defs) for each in part["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "enum" in part or "const" in part:
        return " or ".join(str(each) for each in part.get("enum", [part.get("const")]))
    if "x-unit" in part:
        return str(part["x-unit"])
    if part.get("format") == "password":
        return "secret"
    match part.get("type"):
        case "array":
            items = part.get("items", {})
            return f"list of {_type(items, defs)}" if items else "list"
        case "object":
            return "map"
        case "string":
            return "path" if part.get("format") == "path" else "text"
        case None:
            return "any"
        case other:
            return str(other)


# -- examples ----------------------------------------------------------------------------------------------------


def example(cls: type[Component[Any]], *, comments: bool = True) -> str:
    """YAML of one component: what must be given, and, as comments, what may be."""
    lines = [f"type: {cls.name}"]
    for key, field in _own_fields(cls):
        text = f"  # {field.description}" if comments and field.description else ""
        if field.is_required():
            lines.append(f"{key}: {_yaml(_example_value(key, field))}{text}")
        elif comments:
            lines.append(f"# {key}: {_yaml(_possible_value(key, field))}{text}")
    return "\n".join(lines)


def _own_fields(cls: type[Component[Any]]) -> Iterator[tuple[str, FieldInfo]]:
    """The options of a component, those of an inline connection first."""
    fields = {info.alias or name: info for name, info in cls.Config.model_fields.items()}
    connector = getattr(cls, "connector_type", None)
    if connector is not None:
        inline = {info.alias or name: info for name, info in connector.Config.model_fields.items()}
        yield from ((key, info) for key, info in inline.items() if key not in fields)
    yield from fields.items()


def _possible_value(key: str, field: FieldInfo) -> Any:
    """The default, or where that is nothing, what might be given."""
    value = field.get_default(call_default_factory=True)
    if value is None:
        return _example_value(key, field)
    shown = _dump(field, value)
    return {k: v for k, v in shown.items() if v is not None} if isinstance(shown, dict) else shown


def _example_value(key: str, field: FieldInfo) -> Any:
    if field.examples:
        return field.examples[0]
    inner = _inner(field)
    if inner is not None:
        needed = ((info.alias or name, info) for name, info in inner.model_fields.items() if info.is_required())
        return {name: _example_value(name, info) for name, info in needed}
    annotation: Any = field.rebuild_annotation()
    part = TypeAdapter(annotation).json_schema()
    part = next((each for each in part.get("anyOf", ()) if each.get("type") != "null"), part)
    if part.get("examples") or part.get("enum"):
        return (part.get("examples") or part["enum"])[0]
    return {"integer": 1, "number": 1.0, "boolean": False, "array": [], "object": {}}.get(part.get("type", ""), key)


def _yaml(value: Any) -> str:
    """A value on one line: JSON is YAML, but plain words need no quotes, and double quotes stand in single ones."""
    if isinstance(value, str):
        if _WORD.fullmatch(value) and parse_scalar(value) == value:
            return value
        if '"' in value and "'" not in value and "\n" not in value:
            return f"'{value}'"
    return json.dumps(value, ensure_ascii=False)


# -- the page ----------------------------------------------------------------------------------------------------


def markdown(registry: Registry, distribution: str = "headrace") -> str:
    """The reference page of all components that one distribution brings."""
    own = {row.name for row in registry.rows if row.distribution == distribution}
    parts = [_INTRODUCTION, _section("Top level", PipelineOptions), _section("Rules", RuleOptions)]
    parts.append(_section("Every sink", SinkOptions))
    for kind in ("source", "connector", "transform", "sink"):
        mine = [name for name in registry.names(kind) if registry.owner(kind, name) in own]
        parts += [_component(kind, registry.find(kind, name)) for name in mine]
    return "\n".join(parts)


_INTRODUCTION = """# Reference

Every option of a configuration file, made from the program itself by `python -m headrace.reference`. An option
without a default must be given. `headrace show TYPE` prints the same for any type that is installed, and
`headrace schema` gives all of it as JSON Schema, for editors.

Durations carry a unit: `100ms`, `5s`, `10m`, `1h`, `1d`. Sizes do too: `64KB`, `256MB`, `1GB`, in steps of 1,024.
`${env:NAME}`, `${env:NAME:-default}`, `${env:NAME:?message}` and `${file:/path}` are filled in when the file is read;
`${field.path}` in a template is filled in from each event.
"""


def _component(kind: Kind, cls: type[Component[Any]]) -> str:
    text = inspect.getdoc(cls) or ""
    if issubclass(cls, Sink) and cls.connector_type is not None:
        text += (
            f"\n\nIts connection is a connector of type `{cls.connector_type.name}`, named by `connector: NAME` or "
            "given here by the connector's own options."
        )
    part, entry = f"{kind}s", example(cls, comments=False)
    if kind == "transform":
        part, entry = "rules", f"transforms:\n- {_indented(entry)}\nto: my_sink"
    mark = f"part={part}" if kind != "connector" else 'lint="no sink uses it"'
    shown = f"```yaml {mark}\nmy_{part[:-1]}:\n  {_indented(entry)}\n```\n"
    return _section(f"{kind.capitalize()} `{cls.name}`", cls.Config, f"{text}\n\n{shown}")


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _section(title: str, model: type[BaseModel], text: str = "") -> str:
    rows = ["| option | type | default | |", "|---|---|---|---|"]
    for option in options(model):
        default = "**required**" if option.default is None else f"`{option.default}`" if option.default else ""
        cells = [f"`{option.name}`", option.type, default, option.description]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if len(rows) == 2:
        rows = ["It has no options."]
    return f"## {title}\n\n{text or (inspect.getdoc(model) or '') + chr(10)}\n" + "\n".join(rows) + "\n"


# -- JSON Schema -------------------------------------------------------------------------------------------------


def schema(registry: Registry) -> Schema:
    """JSON Schema of a whole configuration file, with every component that is installed."""
    classes = [registry.find(kind, name) for kind in KINDS for name in registry.names(kind)]
    models: set[type[BaseModel]] = {PipelineOptions, RuleOptions, SinkOptions, *(cls.Config for cls in classes)}
    ordered = sorted(models, key=lambda model: (model.__module__, model.__qualname__))
    refs, defs = models_json_schema([(model, "validation") for model in ordered], by_alias=True)
    known: dict[str, Schema] = defs["$defs"]
    of = {model: known[refs[model, "validation"]["$ref"].rpartition("/")[2]] for model in ordered}
    for part in known.values():
        _loosen(part)
    top = dict(of[PipelineOptions])
    top["properties"] = {
        **top["properties"],
        "include": _one_or_more({"type": "string"}),
        "sources": _named([_variant(of[cls.Config], cls) for cls in _classes(registry, "source")]),
        "connectors": _named([_variant(of[cls.Config], cls) for cls in _classes(registry, "connector")]),
        "rules": _named([_rule(of, registry)]),
        "sinks": _named([_sink(of, cls) for cls in _classes(registry, "sink")]),
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


def _rule(of: Mapping[type[BaseModel], Schema], registry: Registry) -> Schema:
    rule = of[RuleOptions]
    steps = _classes(registry, "transform")
    short = {cls.name: of[cls.Config].get("properties", {}).get("query", {"type": "string"}) for cls in steps}
    listed = {"type": "array", "items": {"oneOf": [_variant(of[cls.Config], cls) for cls in steps]}}
    given = rule["properties"]
    names = {
        key: {**_one_or_more({"type": "string"}), "description": given[key].get("description", "")}
        for key in ("to", "sources")
    }
    return {
        "type": "object",
        "description": rule.get("description", ""),
        "properties": {**short, "transforms": {**given["transforms"], **listed}, **names},
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


if __name__ == "__main__":
    print(markdown(Registry.discover()), end="")
