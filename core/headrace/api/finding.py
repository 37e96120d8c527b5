"""What a request is about."""

from __future__ import annotations

from aiohttp import web

from headrace.engine import Pipeline
from headrace.live import Live

__all__ = ["KINDS", "LIVE", "live", "pipeline"]

KINDS = ("sources", "connectors", "rules", "sinks")
LIVE = web.AppKey("live", Live)


def live(request: web.Request) -> Live:
    """The pipeline and its files."""
    return request.app[LIVE]


def pipeline(request: web.Request) -> Pipeline:
    """The running pipeline."""
    return live(request).pipeline
