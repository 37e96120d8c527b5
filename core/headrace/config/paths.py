"""Where a pipeline keeps its files: one answer for those that write and those that read."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

__all__ = ["default_name", "log_directory", "status_socket", "user_state"]

MAX_SOCKET = 100
"""Bytes a socket's path may have: the system's limit is 104 to 108."""


def user_state() -> Path:
    """The directory of everything this user's pipelines keep."""
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "headrace"
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "headrace"
    return home / ".local" / "state" / "headrace"


def runtime_dir() -> Path:
    """A short directory of this user's for sockets; whoever makes it gives it the mode 0700."""
    if base := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(base) / "headrace"
    return Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}"


def default_name(path: Path | str) -> str:
    """A pipeline's name where its configuration gives none: stable, and another one for another path."""
    absolute = os.path.abspath(path)  # links are not followed: a mounted file stays the same pipeline
    stem = re.sub(r"[^0-9a-zA-Z_-]", "_", Path(absolute).stem).lstrip("_-")[:200] or "pipeline"
    return f"{stem}-{hashlib.sha256(absolute.encode()).hexdigest()[:6]}"


def log_directory(url: str | None, name: str) -> Path | None:
    """Where the embedded log, the dead letters and the status socket are; None if nothing is kept.

    ValueError if ``url`` is no stream address.
    """
    if url is None or url.startswith("kafka://"):
        if url is not None and not re.fullmatch(r"kafka://[^\s/,:]+:\d+(,[^\s/,:]+:\d+)*/?", url):
            raise ValueError("write kafka://host:port, or several as kafka://host:port,host:port")
        return user_state() / name
    if url.rstrip("/") == "embedded://memory":
        return None
    path = url.removeprefix("embedded://")
    if path != url and path.strip("/") and path.startswith("/"):
        return Path(path)
    if url.startswith("embedded:"):
        raise ValueError("the directory must be absolute, with three slashes: embedded:///var/lib/headrace/plant1")
    raise ValueError("write embedded:///directory, embedded://memory or kafka://host:port")


def status_socket(name: str, state_dir: Path | None) -> Path:
    """The unix socket on which a running pipeline tells its status."""
    if state_dir is None:
        beside = runtime_dir() / f"{name}.sock"
    else:
        beside = state_dir / "status.sock"
    if len(os.fsencode(beside)) <= MAX_SOCKET:
        return beside
    return runtime_dir() / f"{hashlib.sha256(os.fsencode(beside)).hexdigest()[:16]}.sock"
