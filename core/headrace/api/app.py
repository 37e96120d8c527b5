"""The application: which address means what, and on what it listens."""

from __future__ import annotations

import logging
import ssl

from aiohttp import web

from headrace.addresses import split_address
from headrace.api import configuration, dashboard, facts, kept, listing, metrics, openapi, parts, tap, trials
from headrace.api.access import Access
from headrace.api.answers import answer, refusals
from headrace.api.described import STRING, says
from headrace.api.finding import LIVE, pipeline
from headrace.config.model import ApiOptions
from headrace.errors import HeadraceError
from headrace.live import Live

__all__ = ["serve"]

MOST = 4 << 20
"""Bytes of a request's body."""


async def serve(live: Live, options: ApiOptions, log: logging.Logger) -> web.AppRunner:
    """Start listening; the caller cleans the runner up. HeadraceError or OSError says why that does not work."""
    log = log.getChild("api")
    try:
        access = Access(options, live, log)
        tls = _tls(options)
    except (OSError, ValueError) as exc:
        raise HeadraceError(f"api: {exc}") from exc
    host, port = split_address(options.listen)
    runner = web.AppRunner(_application(live, access, options.prefix), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
    except BaseException:
        await runner.cleanup()
        raise
    log.info("listening on %s://%s%s", "https" if tls else "http", options.listen, options.prefix)
    return runner


def _application(live: Live, access: Access, prefix: str) -> web.Application:
    app = web.Application(middlewares=[refusals, access.gate], client_max_size=MOST)
    app[LIVE] = live
    app[tap.TAPS] = set()
    app.on_shutdown.append(tap.end_taps)
    app.on_response_prepare.append(access.on_prepare)
    app.on_cleanup.append(access.on_cleanup)
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz),
            web.get("/metrics", _metrics),
            web.get("/api/v1/status", _status),
            *access.routes(),
            *dashboard.routes(),
            *trials.routes(),
            *facts.routes(),
            *listing.routes(),
            *kept.routes(),
            *configuration.routes(),
            *tap.routes(),
            *parts.routes(),
            *openapi.routes(),
        ]
    )
    if not prefix:
        return app
    outer = web.Application(client_max_size=MOST)
    outer.add_subapp(prefix, app)
    return outer


def _tls(options: ApiOptions) -> ssl.SSLContext | None:
    if options.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.tls.cert, options.tls.key)
    return context


@says(gives=STRING, media="text/plain")
async def _healthz(_request: web.Request) -> web.Response:
    """The process runs and its loop turns."""
    return web.Response(text="ok\n")


@says(gives=STRING, media="text/plain", also={503: "Events do not flow; why not"})
async def _readyz(request: web.Request) -> web.Response:
    """200 when events flow; 503 with the one sentence why they do not."""
    state, reason = pipeline(request).state()
    return web.Response(status=200 if state == "running" else 503, text=f"{reason or state}\n")


@says(gives=STRING, media="text/plain")
async def _metrics(request: web.Request) -> web.Response:
    """The counters, for Prometheus."""
    body = metrics.exposition(pipeline(request))
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE_LATEST})


@says()
async def _status(request: web.Request) -> web.Response:
    """States, reasons and counters of everything."""
    return answer(pipeline(request).snapshot())
