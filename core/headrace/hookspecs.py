"""The hooks a plugin may implement. All are synchronous, called once per plugin, and do no I/O.

A plugin is a module found through the entry-point group ``headrace``; built-in plugins are found the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pluggy

from headrace.components import Connector, PipelineInfo, Sink, Source, Transform

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "headrace"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_sources() -> Iterable[type[Source[Any]]]:  # type: ignore[empty-body]
    """Return source classes. Import a heavy client library inside ``open``, not in the module."""


@hookspec
def register_transforms() -> Iterable[type[Transform[Any]]]:  # type: ignore[empty-body]
    """Return transform classes."""


@hookspec
def register_sinks() -> Iterable[type[Sink[Any]]]:  # type: ignore[empty-body]
    """Return sink classes."""


@hookspec
def register_connectors() -> Iterable[type[Connector[Any]]]:  # type: ignore[empty-body]
    """Return connector classes."""


@hookspec
def register_functions() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return SQL functions by name: plain callables of positional arguments, no I/O; raise ValueError on bad ones."""


@hookspec
def pipeline_started(pipeline: PipelineInfo) -> None:
    """A pipeline is up. A notice only; what it raises is logged."""


@hookspec
def pipeline_stopped(pipeline: PipelineInfo, error: Exception | None) -> None:
    """A pipeline has ended, by ``error`` or in order. A notice only; what it raises is logged."""
