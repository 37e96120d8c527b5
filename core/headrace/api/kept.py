"""What waits and what was: dead letters, the delivery log, rates, and backlogs of sinks that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from headrace.api.answers import Refused, answer, options
from headrace.api.asking import MOST, PAGED, PAGES, USUAL, asked, page_of, paged
from headrace.api.described import ARRAY, BOOLEAN, OBJECT, STRING, number, one_of, says, sent
from headrace.api.finding import pipeline
from headrace.engine.calls import call
from headrace.engine.dead_letters import revive
from headrace.engine.journal import KEPT
from headrace.engine.rates import SPANS
from headrace.events import Event, now_ms
from headrace.explain import Explainer
from headrace.units import parse_duration

__all__ = ["routes"]

WHICH = ("sink", "rule", "reason", "id")
CHOICE = dict.fromkeys((*WHICH, "since"), STRING)


def routes() -> list[web.AbstractRouteDef]:
    """``dead_letters`` to list, show, replay and purge; ``sinks/{name}/deliveries``; ``history``; ``orphans``."""
    return [
        web.get("/api/v1/dead_letters", _letters),
        web.get("/api/v1/dead_letters/{offset:[0-9]+}", _letter),
        web.post("/api/v1/dead_letters/{offset:[0-9]+}/replay", _replay_one),
        web.post("/api/v1/dead_letters/replay", _replay),
        web.post("/api/v1/dead_letters/purge", _purge),
        web.get("/api/v1/sinks/{name}/deliveries", _deliveries),
        web.get("/api/v1/history", _history),
        web.get("/api/v1/{kind:sources|rules|sinks}/{name}/history", _history),
        web.get("/api/v1/orphans", _orphans),
        web.delete("/api/v1/orphans/{topic}", _purge_orphan),
    ]


@says(gives=ARRAY, query={**CHOICE, **PAGES, "limit": number(1, MOST, USUAL)}, headers=PAGED)
async def _letters(request: web.Request) -> web.Response:
    """The oldest that fit; ``since`` is an age, such as 2h."""
    given = asked(request)
    limit, page = given.pop("limit"), given.pop("page", 1)
    arguments = {"which": _which(given), "limit": limit + 1, "skip": (page - 1) * limit}  # one more: is there any?
    found = await call(pipeline(request), "dlq.ls", arguments)
    return paged(request, found[:limit], more=len(found) > limit)


@says()
async def _letter(request: web.Request) -> web.Response:
    """One letter, and the request as its sink would make it now. The sink is not opened: to look must do nothing."""
    letter = await _found(request)
    event = revive(Event(dict(letter)))
    made = Explainer(pipeline(request).spec, pipeline(request).registry).sent(event.sink, event)
    return answer({**letter, **({"render_error": made.error} if made.error else {"render": made.request})})


async def _found(request: web.Request) -> dict[str, Any]:
    """The letter that is asked for. Refused if there is none."""
    offset = request.match_info["offset"]
    found = await call(pipeline(request), "dlq.ls", {"which": {"id": offset}, "limit": 1})
    if not found or str(found[0]["offset"]) != offset:
        raise Refused("NOT_FOUND", f"there is no dead letter {offset}", 404)
    letter: dict[str, Any] = found[0]
    return letter


@says(body=sent(event=OBJECT))
async def _replay_one(request: web.Request) -> web.Response:
    """Give one to its sink once more; with ``event``, those columns instead of what the rule selected."""
    columns = (await options(request)).get("event")
    if columns is not None and not isinstance(columns, dict):
        raise Refused("BAD_REQUEST", "event: send an object, the columns", path="event")
    letter = await _found(request)
    which = {"id": str(letter["offset"]), "sink": letter["sink"]}
    return answer(await call(pipeline(request), "dlq.replay", {"which": which, "columns": columns}))


@says(body=sent(**CHOICE))
async def _replay(request: web.Request) -> web.Response:
    """Give dead letters to their sinks once more."""
    return answer(await call(pipeline(request), "dlq.replay", {"which": _which(await options(request))}))


@says(body=sent(**CHOICE))
async def _purge(request: web.Request) -> web.Response:
    """Delete dead letters."""
    return answer(await call(pipeline(request), "dlq.purge", {"which": _which(await options(request))}))


def _which(given: Mapping[str, Any]) -> dict[str, Any]:
    """Refused if it is unclear: nobody shall purge all by a misspelled word."""
    if unknown := set(given) - set(CHOICE):
        raise Refused("BAD_REQUEST", f"{', '.join(sorted(unknown))}: choose by {', '.join(CHOICE)}")
    which: dict[str, Any] = {key: str(given[key]) for key in WHICH if given.get(key) not in (None, "")}
    if (since := given.get("since")) not in (None, ""):
        try:
            which["since"] = now_ms() - int(parse_duration(str(since)) * 1000)
        except ValueError as exc:
            raise Refused("BAD_REQUEST", f"since: {exc}", path="since") from exc
    return which


@says(
    gives=ARRAY,
    query={**PAGES, "limit": number(1, 2 * KEPT, KEPT), "failures": BOOLEAN, "status": number(0, 999), "event": STRING},
    headers=PAGED,
)
async def _deliveries(request: web.Request) -> web.Response:
    """The last attempts of a sink, oldest first; a further page has those before. ``failures``: only those that failed.

    ``status``: those to which the peer answered so. ``event``: those of one event, by its id.
    """
    name, given = request.match_info["name"], asked(request)
    if name not in pipeline(request).sinks:
        raise Refused("NOT_FOUND", f"there is no sink {name!r} running", 404)
    arguments = {"sink": name, "limit": 2 * KEPT, "failures": given.get("failures", False)}
    found = [
        each
        for each in await call(pipeline(request), "deliveries", arguments)
        if given.get("status") in (None, each["status"]) and given.get("event") in (None, each["event"])
    ]
    return page_of(request, found, last=True)


@says(query={"span": one_of(*SPANS)})
async def _history(request: web.Request) -> web.Response:
    """For charts: how fast counters grew in the last hour (``span=1h``) or day (``24h``), the oldest first."""
    kind, name = request.match_info.get("kind"), request.match_info.get("name")
    if kind is not None and name not in pipeline(request).parts.watched()[kind]:
        raise Refused("NOT_FOUND", f"there is no {kind[:-1]} {name!r} running", 404)
    arguments = {"kind": kind, "name": name, **asked(request)}
    return answer(await call(pipeline(request), "history", arguments))


@says()
async def _orphans(request: web.Request) -> web.Response:
    """What sinks that are gone have left in the stream."""
    return answer(pipeline(request).snapshot()["stream"]["orphans"])


@says(status=204, gives=None)
async def _purge_orphan(request: web.Request) -> web.Response:
    """Delete what a sink that is gone has left."""
    topic = request.match_info["topic"]
    if topic not in pipeline(request).snapshot()["stream"]["orphans"]:
        raise Refused("NOT_FOUND", f"there is no orphan {topic!r}", 404)
    await pipeline(request).purge(topic)
    return web.Response(status=204)
