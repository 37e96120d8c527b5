"""The dashboard's files: what ``ui/build.py`` has built, or a page that says how to build it."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

__all__ = ["BUILT", "routes"]

BUILT = Path(__file__).parents[1] / "ui" / "dist"
HEADERS = {
    # styles within the page are the editor's and the browser's own; scripts come from our files only
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
MISSING = """headrace runs, but its dashboard is not built here.

In a check-out `make dashboard` builds it; nothing else needs to be installed, and headrace need not be restarted.
Elsewhere `HEADRACE_UI=1 pip install --force-reinstall --no-deps CHECK-OUT` installs headrace with it.
The API is at /api/v1, the counters for Prometheus at /metrics; `headrace status` shows them, too.
"""


def routes(built: Path = BUILT) -> list[web.AbstractRouteDef]:
    """Addresses of the page and its files; ``built`` is looked at with each request."""

    async def page(_request: web.Request) -> web.StreamResponse:
        index = built / "index.html"
        if not index.is_file():
            return web.Response(text=MISSING, headers=HEADERS)
        return web.FileResponse(index, headers={**HEADERS, "Cache-Control": "no-cache"})

    async def icon(_request: web.Request) -> web.StreamResponse:
        return _file(built / "icon.svg", "max-age=86400")

    async def asset(request: web.Request) -> web.StreamResponse:
        # the name of an asset changes with what is in it
        return _file(built / "assets" / request.match_info["name"], "max-age=31536000, immutable")

    return [
        web.get("/", page),
        web.get("/icon.svg", icon),
        web.get(r"/assets/{name:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+}", asset),
    ]


def _file(path: Path, cache: str) -> web.StreamResponse:
    if not path.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={**HEADERS, "Cache-Control": cache})
