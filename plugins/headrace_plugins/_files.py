"""Files that others change while we run, and files of ours that are replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["replace_file", "version_of", "versions_of"]


def version_of(path: Path) -> tuple[int, int, int]:
    """What tells one version of a file from another. OSError if it is not there."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def versions_of(paths: Iterable[Path]) -> list[tuple[int, int, int] | None]:
    """The same of several files; not to be there is a version too."""
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            found.append(version_of(path))
        except OSError:
            found.append(None)
    return found


def replace_file(path: Path, text: str) -> None:
    """Write a file anew: after a crash it is the old one or the new one. OSError if that does not work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
