"""``GET sinks``, ``sinks/{name}`` and so for each kind: what is configured, chosen by what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web

from headrace.api.answers import Handler, Refused, answer
from headrace.api.asking import PAGED, PAGES, asked, page_of
from headrace.api.described import ARRAY, BOOLEAN, STRING, STRINGS, Schema, says
from headrace.api.finding import KINDS, live, pipeline
from headrace.config import effective
from headrace.config.model import PipelineSpec, RuleSpec
from headrace.explain import Explainer
from headrace.registry import Registry
from headrace.topics import overlap, problem

__all__ = ["routes"]

_Choice = Mapping[str, Any]
_Test = Callable[[str], bool]
OF_ALL: Mapping[str, Schema] = {"enable": BOOLEAN, "like_id": STRING}
OF_KIND: Mapping[str, Mapping[str, Schema]] = {
    "sources": {"type": STRING},
    "connectors": {"type": STRING},
    "rules": {"from": STRING, "like_from": STRING, "match_from": STRING, "action": STRINGS, "source": STRINGS},
    "sinks": {"type": STRING, "connector": STRING},
}
"""By what parts are chosen; the names are EMQX's."""


def routes() -> list[web.AbstractRouteDef]:
    """The list of each kind, and each part."""
    kinds = "{kind:" + "|".join(KINDS) + "}"
    return [
        *(web.get(f"/api/v1/{kind}", _list(kind)) for kind in KINDS),
        web.get(f"/api/v1/{kinds}/{{name}}", _one),
    ]


def _list(kind: str) -> Handler:
    @says(gives=ARRAY, query={**PAGES, **OF_ALL, **OF_KIND[kind]}, headers=PAGED)
    async def handler(request: web.Request) -> web.Response:
        """As they run: placeholders are filled in. All that meet every condition given, in the order of the files."""
        found = pipeline(request)
        # elsewhere: what thousands of rules read takes time to say, and events go on
        return page_of(request, await asyncio.to_thread(_listed, found.spec, found.registry, kind, asked(request)))

    return handler


@says()
async def _one(request: web.Request) -> web.Response:
    """As its file has it, so that it can be changed and sent back; what no file names is told as it runs."""
    kind, name = request.match_info["kind"], request.match_info["name"]
    for each in _parts(pipeline(request).spec, kind):
        if each["name"] == name:
            told = (await live(request).edit()).told(kind, name)
            return answer(each if told is None else {"name": name, **told})
    raise Refused("NOT_FOUND", f"there is no {kind[:-1]} {name!r}", 404)


def _parts(spec: PipelineSpec, kind: str) -> list[dict[str, Any]]:
    shown: Mapping[str, Any] = effective(spec).get(kind, {})
    return [{"name": name, **options} for name, options in shown.items()]


# -- the choice ----------------------------------------------------------------------------------------------------


def _listed(spec: PipelineSpec, registry: Registry, kind: str, choice: _Choice) -> list[dict[str, Any]]:
    """The parts that meet every condition."""
    tests = [*_tests(choice), *(_of_rules(Explainer(spec, registry), choice) if kind == "rules" else ())]
    chosen = {part.name for part in getattr(spec, kind).values() if all(test(part) for test in tests)}
    return [each for each in _parts(spec, kind) if each["name"] in chosen]


def _tests(choice: _Choice) -> Iterator[Callable[[Any], bool]]:
    if (enable := choice.get("enable")) is not None:
        yield lambda part: getattr(part, "options", part).enable is enable
    if like := choice.get("like_id", "").lower():
        yield lambda part: like in part.name.lower()
    if kind := choice.get("type"):
        yield lambda part: part.cls is not None and part.cls.name == kind
    if connector := choice.get("connector"):
        yield lambda part: part.connector == connector


def _of_rules(explainer: Explainer, choice: _Choice) -> Iterator[Callable[[RuleSpec], bool]]:
    if actions := choice.get("action"):
        yield lambda rule: not set(actions).isdisjoint(rule.sinks)
    if sources := choice.get("source"):
        yield lambda rule: rule.sources is None or not set(sources).isdisjoint(rule.sources)
    if tests := list(_of_topics(choice)):
        yield lambda rule: all(any(map(test, explainer.reads(rule))) for test in tests)


def _of_topics(choice: _Choice) -> Iterator[_Test]:
    """What one of the topic filters of a rule must meet."""
    if exact := choice.get("from"):
        yield lambda each: each == exact
    if part := choice.get("like_from"):
        yield lambda each: part in each
    if other := choice.get("match_from"):
        if why := problem(other):
            raise Refused("BAD_REQUEST", f"match_from: {why}", path="match_from")
        yield lambda each: overlap(each, other)
