"""What differs between two configurations: the parts that are new, changed or gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.config.model import ConnectorSpec, PipelineSpec, SinkSpec

__all__ = ["Changes", "Plan", "connection", "connectors_of", "why_idle"]

FIXED = ("name", "stream", "api", "tracing", "plugins", "state_dir")
"""What only a restart changes."""


@dataclass(frozen=True)
class Changes:
    """Names of one kind. ``changed`` includes those whose connector changed, or was switched on or off."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    @classmethod
    def between(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
        """Of two maps from names to whatever decides that a part is another one."""
        return cls(
            tuple(name for name in new if name not in old),
            tuple(name for name in new if name in old and new[name] != old[name]),
            tuple(name for name in old if name not in new),
        )


class Plan:
    """What leads from one configuration to another."""

    def __init__(self, old: PipelineSpec, new: PipelineSpec) -> None:
        self.sources = Changes.between(old.sources, new.sources)
        self.connectors = Changes.between(connectors_of(old), connectors_of(new))
        self.rules = Changes.between(old.rules, new.rules)
        self.sinks = Changes.between(_with_connectors(old), _with_connectors(new))
        self.fixed = tuple(key for key in FIXED if getattr(old, key) != getattr(new, key))
        """What differs and cannot be changed while it runs."""

    @classmethod
    def restart(cls, spec: PipelineSpec, kind: str, name: str) -> Plan:
        """Nothing differs, and one source, connector or sink is made anew; of a connector its sinks, too."""
        plan = cls(spec, spec)
        if kind == "sources":
            plan.sources = Changes(changed=(name,))
        elif kind == "connectors":
            plan.connectors = Changes(changed=(name,))
            plan.sinks = Changes(changed=tuple(each.name for each in spec.sinks.values() if each.connector == name))
        elif kind == "sinks":
            plan.sinks = Changes(changed=(name,))
        return plan

    def __bool__(self) -> bool:
        return bool(self.sources or self.connectors or self.rules or self.sinks)

    def snapshot(self) -> dict[str, dict[str, list[str]]]:
        """For people: kind → added, changed, removed → names. Inline connectors are their sinks' affair."""
        shown: dict[str, dict[str, list[str]]] = {}
        for kind in ("sources", "connectors", "rules", "sinks"):
            changes: Changes = getattr(self, kind)
            for how in ("added", "changed", "removed"):
                if names := [name for name in getattr(changes, how) if ":" not in name]:
                    shown.setdefault(kind, {})[how] = names
        return shown


def connectors_of(spec: PipelineSpec) -> dict[str, ConnectorSpec]:
    """All connections of a configuration; those that stand within a sink are called ``inline:SINK``."""
    return spec.connectors | {f"inline:{name}": inline for name, inline in spec.inline_connectors.items()}


def connection(spec: PipelineSpec, sink: SinkSpec) -> ConnectorSpec | None:
    """The connector of a sink, if it has one."""
    return spec.inline_connectors.get(sink.name) or spec.connectors.get(sink.connector or "")


def _with_connectors(spec: PipelineSpec) -> dict[str, tuple[SinkSpec, ConnectorSpec | None]]:
    return {name: (sink, connection(spec, sink)) for name, sink in spec.sinks.items()}


def why_idle(spec: PipelineSpec, sink: SinkSpec) -> tuple[str, str] | None:
    """Why a sink does not run: ``disabled``, ``resource`` (its connector is disabled) or ``broken``, and the reason."""
    connector = connection(spec, sink)
    if sink.broken or sink.cls is None or sink.config is None:
        return "broken", sink.broken or "broken"
    if sink.cls.connector_type is not None and (connector is None or connector.cls is None):
        return "broken", f"connector {sink.connector!r} is broken"
    if not sink.options.enable:
        return "disabled", "disabled"
    if connector is not None and not connector.enable:
        return "resource", f"connector {connector.name} is disabled"
    return None
