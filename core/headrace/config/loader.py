"""``check`` and ``load``: files to a plan. ``lint`` and ``run`` use the very same path."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.config import files
from headrace.config.build import build
from headrace.config.model import PipelineSpec, PluginOptions
from headrace.config.paths import default_name, log_directory
from headrace.config.problems import InvalidConfig, Problem, Problems
from headrace.config.remarks import remark
from headrace.config.tree import Node
from headrace.config.validate import validate
from headrace.registry import Registry

__all__ = ["Checked", "check", "identify", "load"]


@dataclass(frozen=True)
class Checked:
    """What came of a configuration: a plan if there is no error, and all problems, warnings included."""

    spec: PipelineSpec | None
    problems: list[Problem]
    registry: Registry
    patterns: Sequence[str] = ()
    """The paths, directories and patterns it was read from, includes among them."""


def check(
    paths: Sequence[Path | str],
    overrides: Sequence[str] = (),
    *,
    registry: Registry | None = None,
    environ: Mapping[str, str] = os.environ,
    texts: Mapping[str, str] | None = None,
) -> Checked:
    """Read and check a configuration without raising and without touching the network.

    ``paths``: files, directories or patterns; ``overrides``: ``section.name.option=value``. Without a ``registry``
    the plugins that the configuration allows are loaded. ``texts``: as in ``files.read``.
    """
    problems, patterns = Problems(), list[str]()
    with _no_collection():
        root = files.read(paths, overrides, environ, problems, patterns, texts)
        if registry is None:
            registry = _discover(root)
        spec = build(root, default_name(paths[0]) if paths else "pipeline", registry, problems)
        if spec is not None:
            remark(root, spec, problems)
    return Checked(None if problems else spec, problems.sorted(), registry, patterns)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without the collector: what is made here stays, and searching it for garbage takes a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load(
    paths: Sequence[Path | str],
    overrides: Sequence[str] = (),
    *,
    registry: Registry | None = None,
    environ: Mapping[str, str] = os.environ,
) -> PipelineSpec:
    """The plan of a configuration. ``InvalidConfig``, a ``ConfigError``, holds every problem at once."""
    checked = check(paths, overrides, registry=registry, environ=environ)
    if checked.spec is None:
        raise InvalidConfig(checked.problems)
    return checked.spec


def identify(
    paths: Sequence[Path | str], overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> tuple[str, Path | None]:
    """Name and state directory of a pipeline, whatever else is wrong or unset in its configuration.

    ValueError if the stream's address is none.
    """
    root = files.read(paths, overrides, environ, Problems())
    name = root.child("name")
    stream = root.child("stream")
    url = stream.child("url") if stream else None
    called = str(name.value) if name and name.value else default_name(paths[0])
    return called, log_directory(str(url.value) if url and url.value else None, called)


def _discover(root: Node) -> Registry:
    """The plugins the configuration allows, and no other, even if it has errors elsewhere."""
    section = root.child("plugins")
    entries = section.entries() if section else {}
    options = validate(PluginOptions, entries, root.mark, "plugins", Problems())
    plugins = options if isinstance(options, PluginOptions) else PluginOptions()
    return Registry.discover(plugins.allow, plugins.deny)
