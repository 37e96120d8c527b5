"""The page ``docs/reference.md``."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel

from headrace.components import Component, Sink
from headrace.config.model import PartOptions, PipelineOptions, RuleOptions, SinkOptions
from headrace.reference.options import example, options
from headrace.registry import Kind, Registry

__all__ = ["markdown"]


def markdown(registry: Registry, distribution: str = "headrace") -> str:
    """The reference page of all components that one distribution brings."""
    own = {row.name for row in registry.rows if row.distribution == distribution}
    parts = [_INTRODUCTION, _section("Top level", PipelineOptions), _section("Rules", RuleOptions)]
    parts += [_section("Every source and connector", PartOptions), _section("Every sink", SinkOptions)]
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
