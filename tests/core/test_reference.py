"""The reference page, the examples and the JSON Schema, all from the models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import Field, SecretStr
from ruamel.yaml import YAML

from headrace import ComponentConfig, Duration, Size
from headrace.config.model import PipelineOptions, SinkOptions
from headrace.reference import Option, example, markdown, options, schema
from headrace.registry import KINDS, Registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="module")
def validator(registry: Registry) -> Any:
    described = schema(registry)
    jsonschema.Draft202012Validator.check_schema(described)
    return jsonschema.Draft202012Validator(described)


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


# -- options -------------------------------------------------------------------------------------------------------


class Inner(ComponentConfig):
    size: Size = Field(description="How big.")
    as_: Literal["a", "b"] = Field("a", alias="as", description="Which.")


class Everything(ComponentConfig):
    needed: str = Field(description="Text.")
    wait: Duration = Field(90.0, description="How long.")
    most: Size | None = Field(None, description="How much.")
    secret: SecretStr | None = Field(None, description="Hidden.")
    path: Path | None = Field(None, description="Where.")
    codes: tuple[int | Literal["all"], ...] = Field((1, "all"), description="Which.")
    inner: Inner | None = Field(None, description="More.")
    tree: Any = Field(None, description="Anything.")
    yes: bool = Field(True, description="Or no.")


def test_options_are_told_with_type_default_and_description() -> None:
    assert options(Everything) == [
        Option("needed", "text", None, "Text."),
        Option("wait", "duration", "90s", "How long."),
        Option("most", "size", "", "How much."),
        Option("secret", "secret", "", "Hidden."),
        Option("path", "path", "", "Where."),
        Option("codes", "list of integer or all", '[1, "all"]', "Which."),
        Option("inner", "map", "", "More."),
        Option("inner.size", "size", None, "How big."),
        Option("inner.as", "a or b", "a", "Which."),
        Option("tree", "any", "", "Anything."),
        Option("yes", "boolean", "true", "Or no."),
    ]


def test_options_of_inner_models_have_dotted_names() -> None:
    found = {option.name: option for option in options(SinkOptions)}
    assert found["retry.max"] == Option("retry.max", "duration", "30s", "Longest wait between two attempts.")
    assert found["batch.as"].type == "array or ndjson or lines"


def test_every_option_of_every_component_is_described(registry: Registry) -> None:
    for kind in KINDS:
        for name in registry.names(kind):
            undescribed = [o.name for o in options(registry.find(kind, name).Config) if not o.description]
            assert undescribed == [], f"{kind} {name}"


# -- examples ------------------------------------------------------------------------------------------------------


def test_the_example_of_every_component_is_accepted_by_it(registry: Registry) -> None:
    for kind in KINDS:
        for name in registry.names(kind):
            cls = registry.find(kind, name)
            shown = load(example(cls))
            assert shown.pop("type") == name
            connector = getattr(cls, "connector_type", None)
            own = {key: value for key, value in shown.items() if key in cls.Config.model_fields}
            if connector is not None:
                connector.Config.model_validate({key: value for key, value in shown.items() if key not in own})
            else:
                assert own == shown
            cls.Config.model_validate(own)


def test_what_an_example_has_in_comments_is_yaml_with_every_option(registry: Registry) -> None:
    for name in ("http", "file", "console"):
        cls = registry.find("sink", name)
        uncommented = "\n".join(line.removeprefix("# ") for line in example(cls).splitlines())
        assert set(load(uncommented)) >= set(cls.Config.model_fields)


# -- the page ------------------------------------------------------------------------------------------------------


def test_the_page_is_up_to_date(registry: Registry) -> None:
    written = (ROOT / "docs" / "reference.md").read_text()
    assert written == markdown(registry), "run: python -m headrace.reference > docs/reference.md"


def test_the_page_tells_every_own_component_and_no_strangers(registry: Registry) -> None:
    headings = re.findall(r"^## (\w+) `(\w+)`$", markdown(registry), re.MULTILINE)
    own = {row.name for row in registry.rows if row.distribution == "headrace"}
    expected = {
        (kind.capitalize(), name)
        for kind in KINDS
        for name in registry.names(kind)
        if registry.owner(kind, name) in own
    }
    assert set(headings) == expected


# -- JSON Schema ---------------------------------------------------------------------------------------------------

GOOD = """
name: plant
sources: {g: {type: generate, rate: 5, devices: "${env:N}"}}
connectors: {far: {type: http, url: "http://localhost", connect_timeout: 2s}}
rules:
  one: {sql: SELECT * FROM "#", to: [a, b], sources: g}
  two: {transforms: [{type: sql, query: x}], to: a}
sinks:
  a: {type: http, connector: far, body: {x: "${y}"}, retry: {on: [503, 5xx, network], max: "${env:MAX}"}}
  b: {type: http, url: "http://localhost", batch: {size: 10, as: lines}, buffer: {max_bytes: 64KiB}}
  c: {type: file, path: x, rotate: {size: 1MB}, sync: true}
stream: {url: "embedded://memory", sync: full}
api: {}
include: [more.yaml]
shutdown_timeout: 5s
"""


def test_the_schema_accepts_what_the_loader_accepts(validator: Any) -> None:
    assert [error.message for error in validator.iter_errors(load(GOOD))] == []


def test_the_schema_accepts_the_samples(validator: Any) -> None:
    for path in sorted((ROOT / "sample_configs").glob("*.yaml")):
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(load(path.read_text()))]
        assert errors == [], path.name


@pytest.mark.parametrize(
    "change",
    [
        "sorces: {}",
        "name: a b",
        "sources: {g: {type: generat}}",
        "sources: {g: {type: generate, cuont: 3}}",
        "sources: {g: {type: generate, devices: many}}",
        "sources: {-g: {type: generate}}",
        "sinks: {c: {type: file}}",
        "sinks: {c: {type: file, path: x, url: y}}",
        "sinks: {c: {type: console, retry: {max: 5}}}",
        "sinks: {c: {type: console, order: some}}",
        "sinks: {c: {type: console, buffer: {max_bytes: 5 apples}}}",
        "rules: {r: {sql: x}}",
        "rules: {r: {sqll: x, to: a}}",
        "shutdown_timeout: 5",
        "stream: {sync: half}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(validator: Any, change: str) -> None:
    assert list(validator.iter_errors({**load(GOOD), **load(change)})) != []


def test_the_schema_has_descriptions_and_defaults_with_units(validator: Any) -> None:
    defs = validator.schema["$defs"]
    assert validator.schema["properties"]["shutdown_timeout"]["default"] == "20s"
    assert defs["BufferOptions"]["properties"]["max_bytes"]["default"] == "1GB"
    for key in PipelineOptions.model_fields:
        assert key in validator.schema["properties"]
    assert defs["SinkOptions"]["properties"]["ttl"]["description"]
