"""The source ``http``: events come in by POST."""

from __future__ import annotations

from headrace import hookimpl
from headrace_plugins.http_source.source import HttpSource


@hookimpl
def register_sources() -> list[type[HttpSource]]:
    return [HttpSource]
