"""The application: which address means what, and on what it listens."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from headrace.api import metrics
from headrace.events import json_bytes
from headrace.live import Live

__all__ = ["serve"]

LIVE = web.AppKey("live", Live)


async def serve(live: Live, listen: str) -> web.AppRunner:
    """Start listening on ``host:port``; the caller cleans the runner up. OSError if the address is taken."""
    host, _, port = listen.rpartition(":")
    runner = await _runner(live)
    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    return runner


async def _runner(live: Live) -> web.AppRunner:
    app = web.Application()
    app[LIVE] = live
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz),
            web.get("/metrics", _metrics),
            web.get("/api/v1/status", _status),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    return runner


async def _healthz(_request: web.Request) -> web.Response:
    """The process runs and its loop turns."""
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    """200 when events flow; 503 with the one sentence why they do not."""
    state, reason = request.app[LIVE].pipeline.state()
    return web.Response(status=200 if state == "running" else 503, text=f"{reason or state}\n")


async def _metrics(request: web.Request) -> web.Response:
    body = metrics.exposition(request.app[LIVE].pipeline)
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE_LATEST})


async def _status(request: web.Request) -> web.Response:
    return _json(request.app[LIVE].pipeline.snapshot())


def _json(document: Any) -> web.Response:
    return web.Response(body=json_bytes(document), content_type="application/json")
