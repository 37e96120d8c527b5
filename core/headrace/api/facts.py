"""What the API tells without changing anything: what is installed, and what a query makes of an event."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from typing import Any

from aiohttp import web

from headrace.api.answers import Refused, answer, options
from headrace.api.described import ARRAY, OBJECT, STRING, says, sent
from headrace.api.finding import pipeline
from headrace.components import Context, Transform
from headrace.config import InvalidConfig
from headrace.config.problems import Mark, Problems, Text
from headrace.config.tree import Node
from headrace.config.validate import validate
from headrace.engine.meanings import meanings
from headrace.events import Event
from headrace.explain import Explainer
from headrace.reference import schema
from headrace.registry import Registry
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
    return answer(_known(pipeline(request).registry))


@says(gives=ARRAY)
async def _plugins(request: web.Request) -> web.Response:
    """What is installed, and what of it is broken."""
    return answer([dataclasses.asdict(row) for row in pipeline(request).registry.rows])


@says()
async def _counters(request: web.Request) -> web.Response:
    """What each counter counts, by the kind of the part that has it."""
    return answer(meanings(pipeline(request).spec))


def _known(registry: Registry) -> list[dict[str, str]]:
    """What queries may call, with the first line of what is said about each."""
    found = {name: (inspect.getdoc(call) or "").partition("\n")[0] for name, call in registry.functions.items()}
    for language in registry.names("transform"):
        cls = registry.find("transform", language)
        assert issubclass(cls, Transform)
        found |= cls.functions()
    return [{"name": name, "text": text} for name, text in sorted(found.items())]


# -- a query on an event -------------------------------------------------------------------------------------------


@says(body=sent("sql", sql=STRING, context=OBJECT))
async def _test_rule(request: web.Request) -> web.Response:
    """200 with the rows; 412 with the reason if there are none; 400 if the query or the event is wrong."""
    given = await options(request)
    if not isinstance(given.get("sql"), str):
        raise Refused("BAD_REQUEST", "send {sql: …, context: {the columns of an event}}")
    try:
        transform = await asyncio.to_thread(_transform, given["sql"], pipeline(request).registry)
    except InvalidConfig as exc:
        first = exc.problems[0]
        raise Refused("BAD_REQUEST", first.message, line=first.line, column=first.column) from exc
    context = given.get("context")
    if context is None:
        return answer({"inputs": transform.inputs()._asdict()})
    if not isinstance(context, dict):
        raise Refused("BAD_REQUEST", "context: send an object, the columns of an event")
    # a query may take as long as it likes, and events go on
    return await asyncio.to_thread(_tried, transform, make_event(context))


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


def _tried(transform: Transform[Any], event: Event) -> web.Response:
    inputs = transform.inputs()
    if not inputs.matching(event):
        wanted = ", ".join(f'"{each}"' for each in (*inputs.topics, *inputs.events))
        raise Refused("NOT_MATCH", f"The rule does not see this event: it reads from {wanted}.", 412)
    try:
        told = transform.explain(event)
    except Exception as exc:
        raise Refused("BAD_REQUEST", f"{type(exc).__name__}: {exc}") from exc
    if not told.rows:
        raise Refused("NOT_MATCH", "\n".join(told.lines) or "The query selects nothing of this event.", 412)
    return answer({"rows": list(told.rows), "explanation": list(told.lines)})


def _transform(query: str, registry: Registry) -> Transform[Any]:
    """The query checked as ``lint`` checks it, errors pointing into it."""
    cls = registry.find("transform", "sql")
    begin = Mark(Text("query", query), 1, 1)
    problems = Problems()
    node = Node(query, begin, begin, span=(0, len(query)))
    config = validate(cls.Config, {"query": node}, begin, "", problems, context={"functions": registry.functions})
    if config is None:
        raise InvalidConfig(problems.sorted())
    transform = cls(config, Context("query", functions=registry.functions))
    assert isinstance(transform, Transform)
    return transform
