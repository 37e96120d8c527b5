"""The source ``file``: the lines of a file, as they are written or all at once."""

from __future__ import annotations

from headrace import hookimpl
from headrace_plugins.file_source.source import FileSource


@hookimpl
def register_sources() -> list[type[FileSource]]:
    return [FileSource]
