"""Options and examples of components, from their models."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from headrace.components import Component
from headrace.config.tree import parse_scalar

__all__ = ["Option", "example", "options", "summary"]

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


def _type(part: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
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
