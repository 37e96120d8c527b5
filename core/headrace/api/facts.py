"""What the API tells without changing anything: what is installed, and what a query makes of an event."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from aiohttp import web

from headrace.api.answers import Refused, answer, options
from headrace.api.described import ARRAY, OBJECT, STRING, says, sent
from headrace.api.finding import pipeline
from headrace.config import InvalidConfig, Problem
from headrace.engine.meanings import meanings
from headrace.explain import Explainer
from headrace.query import Language
from headrace.reference import schema
from headrace.samples import make_event, samples

__all__ = ["routes"]


def routes() -> list[web.AbstractRouteDef]:
    """``GET schemas``, ``events``, ``functions``, ``plugins``, ``counters``; ``POST rules/test``, ``explain``."""
    return [
        web.get("/api/v1/schemas", _schemas),
        web.get("/api/v1/events", _events),
        web.get("/api/v1/functions", _functions),
        web.get("/api/v1/plugins", _plugins),
        web.get("/api/v1/counters", _counters),
        web.post("/api/v1/rules/test", _test_rule),
        web.post("/api/v1/rules/{name}/explain", _explain),
    ]


@says()
async def _schemas(request: web.Request) -> web.Response:
    """JSON Schema of a configuration file."""
    return answer(schema(pipeline(request).registry))


@says(gives=ARRAY)
async def _events(_request: web.Request) -> web.Response:
    """The kinds of events, with a sample of each."""
    return answer([each._asdict() for each in samples()])


@says(gives=ARRAY)
async def _functions(request: web.Request) -> web.Response:
    """What queries may call."""
    return answer(pipeline(request).registry.callable())


@says(gives=ARRAY)
async def _plugins(request: web.Request) -> web.Response:
    """What is installed, and what of it is broken."""
    return answer([dataclasses.asdict(row) for row in pipeline(request).registry.rows])


@says()
async def _counters(request: web.Request) -> web.Response:
    """What each counter counts, by the kind of the part that has it."""
    return answer(meanings(pipeline(request).spec))


# -- a query on an event -------------------------------------------------------------------------------------------


@says(body=sent("sql", sql=STRING, context=OBJECT))
async def _test_rule(request: web.Request) -> web.Response:
    """200 with the rows; 412 with the reason if there are none; 400 if the query or the event is wrong.

    Without a ``context`` it is only checked, and what it reads is told.
    """
    given = await options(request)
    query, context = given.get("sql"), given.get("context")
    if not isinstance(query, str):
        raise Refused("BAD_REQUEST", "send {sql: …, context: {the columns of an event}}", path="sql")
    if not isinstance(context, dict | None):
        raise Refused("BAD_REQUEST", "context: send an object, the columns of an event", path="context")
    language = Language(pipeline(request).registry)
    try:
        # a query may take as long as it likes, and events go on
        if context is None:
            transform, found = await asyncio.to_thread(language.prepare, query)
            return answer({"inputs": transform.inputs()._asdict(), "warnings": list(map(_placed, found))})
        tried = await asyncio.to_thread(language.try_, query, make_event(context))
    except InvalidConfig as exc:
        raise Refused("BAD_REQUEST", **_placed(exc.problems[0])) from exc
    told, warnings = tried.explanation, list(map(_placed, tried.warnings))
    if not told.rows:
        why = "\n".join(told.lines) or "The query selects nothing of this event."
        raise Refused("NOT_MATCH", why, 412, warnings=warnings)
    return answer({"rows": list(told.rows), "explanation": list(told.lines), "warnings": warnings})


def _placed(problem: Problem) -> dict[str, Any]:
    return {"message": problem.message, "line": problem.line, "column": problem.column}


@says(body=sent("context", context=OBJECT))
async def _explain(request: web.Request) -> web.Response:
    """What the rule that runs and its sinks would do with an event, and why; nothing is sent, nothing is counted."""
    found, name = pipeline(request), request.match_info["name"]
    rule = found.spec.rules.get(name)
    if rule is None:
        raise Refused("NOT_FOUND", f"there is no rule {name!r}", 404)
    context = (await options(request)).get("context")
    if not isinstance(context, dict):
        raise Refused("BAD_REQUEST", "send {context: {the columns of an event}}")
    explainer = Explainer(found.spec, found.registry)
    told = await asyncio.to_thread(explainer.rule, rule, make_event(context))
    return answer(told.document())
