"""``GET tap?node=sink:NAME``: events as they pass, as server-sent events: sampled, filtered, secrets starred out."""

from __future__ import annotations

import contextlib

from aiohttp import web

from headrace.api.answers import Refused
from headrace.api.asking import asked
from headrace.api.described import STRING, number, says, sent
from headrace.api.finding import pipeline
from headrace.engine.tapping import MOST_SAMPLE, NODES, Tap, TooMany, is_there, tapping

__all__ = ["TAPS", "end_taps", "routes"]

TAPS = web.AppKey("taps", set[Tap])


def routes() -> list[web.AbstractRouteDef]:
    """The address of the taps."""
    return [web.get("/api/v1/tap", _tap)]


async def end_taps(app: web.Application) -> None:
    """On shutdown: whoever looks is told that there is no more."""
    for tap in app[TAPS]:
        tap.end()


@says(
    gives=sent("data", event=STRING, data=STRING),
    media="text/event-stream",
    query={"node": STRING, "sample": number(1, MOST_SAMPLE, 1), "topic": STRING, "text": STRING},
)
async def _tap(request: web.Request) -> web.StreamResponse:
    """Events as they pass a part, as server-sent events."""
    given = asked(request)
    node = given.get("node", "")
    if not is_there(pipeline(request), node):
        raise Refused("NOT_FOUND", f"node: say {', '.join(f'{each}:NAME' for each in NODES)} of one that is there", 404)
    tap = Tap(given["sample"], given.get("topic", ""), given.get("text", ""))
    try:
        with tapping(pipeline(request), node, tap):
            return await _shown(request, tap)
    except TooMany as exc:
        raise Refused("TOO_MANY", str(exc), 429) from exc


async def _shown(request: web.Request, tap: Tap) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    request.app[TAPS].add(tap)
    try:
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            while not tap.ended:
                shown = b"".join(b"data: " + each + b"\n\n" for each in tap.take())
                await response.write(shown + b"event: passed\ndata: %d\n\n" % tap.passed)
                await tap.messages()
    finally:
        request.app[TAPS].discard(tap)
    return response
