"""A plan as the configuration it was made of: merged, filled in, checked, secrets starred out."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr
from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from headrace.config.model import PipelineSpec, RuleSpec, SinkSpec, TransformSpec
from headrace.config.problems import looks_secret, mask
from headrace.units import format_duration

__all__ = ["effective", "to_yaml"]

HIDDEN = "******"
_DUMPED = str(SecretStr("x"))


def effective(spec: PipelineSpec, *, defaults: bool = False) -> dict[str, Any]:
    """The configuration a plan stands for; with ``defaults``, options that were not given too."""
    plain = _Plain(defaults)
    shown: dict[str, Any] = {"name": spec.name}
    shown["sources"] = {name: plain.component(part) for name, part in spec.sources.items()}
    shown["connectors"] = {name: plain.component(part) for name, part in spec.connectors.items()}
    shown["rules"] = {name: plain.rule(rule) for name, rule in spec.rules.items()}
    shown["sinks"] = {name: plain.sink(spec, sink) for name, sink in spec.sinks.items()}
    shown["stream"] = plain.model(spec.stream)
    if spec.api is not None:
        shown["api"] = plain.model(spec.api)
    shown["shutdown_timeout"] = format_duration(spec.shutdown_timeout)
    masked: dict[str, Any] = _masked({key: value for key, value in shown.items() if value != {}})
    return masked


class _Plain:
    def __init__(self, defaults: bool) -> None:
        self._defaults = defaults

    def model(self, model: BaseModel | None) -> dict[str, Any]:
        if model is None:
            return {}
        return model.model_dump(mode="json", by_alias=True, exclude_unset=not self._defaults)

    def component(self, part: Any) -> dict[str, Any]:
        if part.cls is None:
            return {"broken": part.broken}
        return {"type": part.cls.name, **self.enable(part), **self.model(part.config)}

    def enable(self, part: Any) -> dict[str, Any]:
        given = getattr(part, "enable", None)  # of a sink it is among the options, and a step of a rule has none
        return {} if given is None or (given and not self._defaults) else {"enable": given}

    def rule(self, rule: RuleSpec) -> dict[str, Any]:
        shown: dict[str, Any] = {"transforms": [self._step(step) for step in rule.transforms], "to": list(rule.sinks)}
        shown |= self.enable(rule)
        if rule.sources is not None:
            shown["sources"] = list(rule.sources)
        return shown

    def _step(self, step: TransformSpec) -> dict[str, Any]:
        return self.component(step)

    def sink(self, spec: PipelineSpec, sink: SinkSpec) -> dict[str, Any]:
        inline = spec.inline_connectors.get(sink.name)
        connection = {"connector": sink.connector} if inline is None and sink.connector else {}
        if inline is not None:
            connection = self.model(inline.config)
        return {**self.component(sink), **connection, **self.model(sink.options)}


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: HIDDEN if each and looks_secret(key) else _masked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if value == _DUMPED:
        return HIDDEN
    return mask(value) if isinstance(value, str) else value


class _Representer(SafeRepresenter):
    """Text of several lines stays that."""

    def represent_str(self, data: str) -> Any:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


def to_yaml(value: Mapping[str, Any]) -> str:
    """YAML, as a person would write it."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # the order is the user's
    yaml.allow_unicode = True
    yaml.width = 1 << 20
    text = io.StringIO()
    yaml.dump(dict(value), text)
    return text.getvalue()
