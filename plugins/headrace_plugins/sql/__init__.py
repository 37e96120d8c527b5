"""Rule SQL: what EMQX rules are written in, compiled to Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace import Transform, hookimpl
from headrace_plugins.sql.errors import SqlError
from headrace_plugins.sql.transform import Sql, SqlConfig

__all__ = ["Sql", "SqlConfig", "SqlError"]


@hookimpl
def register_transforms() -> Iterable[type[Transform[Any]]]:
    return [Sql]
