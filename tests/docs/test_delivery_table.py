"""The table of docs/delivery.md names settings that exist, and leaves out none that the engine has for sinks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from headrace.config.model import RetryOptions, SinkOptions, StreamOptions
from headrace_plugins.http.config import HttpConnectorConfig, HttpSinkConfig

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "delivery.md"
MODELS: list[type[BaseModel]] = [SinkOptions, HttpSinkConfig, HttpConnectorConfig]


def rows() -> list[list[str]]:
    section = PAGE.read_text().split("## Setting by setting")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def settings() -> set[str]:
    """What is named in the first column, without its value."""
    words = [word for row in rows() for word in re.findall(r"`([^`]+)`", row[0])]
    return {word.partition(":")[0] for word in words} - {"drop_newest"}


def exists(model: type[BaseModel], path: str) -> bool:
    name, _, rest = path.partition(".")
    field: Any = model.model_fields.get(name)
    if field is None or not rest:
        return field is not None
    inner = [each for each in (field.annotation, *get_args(field.annotation)) if isinstance(each, type)]
    return any(issubclass(each, BaseModel) and exists(each, rest) for each in inner)


def test_every_row_says_what_may_be_lost_doubled_and_reordered() -> None:
    assert len(rows()) > 20
    assert all(len(row) == 4 and all(row) for row in rows())


def test_what_is_named_exists() -> None:
    for setting in settings() - {"shutdown_timeout"}:
        stage, _, rest = setting.partition(".")
        models = [StreamOptions] if stage == "stream" else MODELS
        assert any(exists(model, rest if stage == "stream" else setting) for model in models), setting


def test_no_setting_of_a_sink_is_left_out() -> None:
    named = {setting.partition(".")[0] for setting in settings()}
    assert named >= set(SinkOptions.model_fields)
    assert settings() >= {f"retry.{name}" for name in RetryOptions.model_fields}
