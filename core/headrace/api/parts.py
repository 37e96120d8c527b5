"""Sources, connectors, rules and sinks over HTTP: create, change, delete, enable. The file is written, then read."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from headrace.api.answers import Handler, Refused, answer, options
from headrace.api.asking import asked
from headrace.api.described import BOOLEAN, says
from headrace.api.finding import KINDS, live
from headrace.config.edit import Edit
from headrace.config.model import PipelineSpec
from headrace.engine.report import part
from headrace.live import Live

__all__ = ["routes"]

_Change = Callable[[Edit], Iterable[tuple[Path, str]]]


def routes() -> list[web.AbstractRouteDef]:
    """``POST sinks``, ``PUT``, ``DELETE sinks/{name}``; below that ``enable``, ``start``, ``status``, ``metrics``."""
    kind = "/api/v1/{kind:" + "|".join(KINDS) + "}"
    one = kind + "/{name}"
    return [
        web.post(kind, _on(_Parts.create)),
        web.put(one, _on(_Parts.update)),
        web.delete(one, _on(_Parts.delete)),
        web.put(one + "/enable/{on:true|false}", _on(_Parts.enable)),
        web.post(one + "/start", _on(_Parts.start)),
        web.get(one + "/status", _on(_Parts.status)),
        web.get(one + "/metrics", _on(_Parts.metrics)),
        web.put(one + "/metrics/reset", _on(_Parts.reset)),
    ]


def _on(act: Callable[[_Parts, web.Request], Awaitable[web.Response]]) -> Handler:
    @functools.wraps(act)
    async def handler(request: web.Request) -> web.Response:
        return await act(_Parts(live(request), request.match_info["kind"]), request)

    return handler


class _Parts:
    """The parts of one kind, as one request changes them."""

    def __init__(self, live: Live, kind: str) -> None:
        self._live = live
        self._kind = kind

    @property
    def _known(self) -> Mapping[str, Any]:
        known: Mapping[str, Any] = getattr(self._live.pipeline.spec, self._kind)
        return known

    def _named(self, request: web.Request) -> str:
        name = request.match_info["name"]
        if name not in self._known:
            raise Refused("NOT_FOUND", f"there is no {self._kind[:-1]} {name!r}", 404)
        return name

    @says(status=201, body="named part")
    async def create(self, request: web.Request) -> web.Response:
        """Create one: its options as in the file, and its name."""
        given = await options(request)
        name = given.pop("name", None)
        if not isinstance(name, str) or not name:
            raise Refused("BAD_REQUEST", "name: say what to call it", path="name")
        if name in self._known:
            raise Refused("ALREADY_EXISTS", f"there is a {self._kind[:-1]} {name!r} already", path="name")
        return await self._done(lambda edit: [edit.put(self._kind, name, given)], name, 201)

    @says(body="part")
    async def update(self, request: web.Request) -> web.Response:
        """Change one; where ****** comes back, the stored value is kept."""
        name = self._named(request)
        given = await options(request)
        given.pop("name", None)
        return await self._done(lambda edit: [edit.put(self._kind, name, given)], name)

    @says()
    async def enable(self, request: web.Request) -> web.Response:
        """Switch it on or off."""
        name, on = self._named(request), request.match_info["on"] == "true"

        def change(edit: Edit) -> list[tuple[Path, str]]:
            given = dict(edit.given(self._kind, name) or {})
            given.pop("enable", None)
            return [edit.put(self._kind, name, given if on else {**given, "enable": False})]

        return await self._done(change, name)

    @says(query={"also_delete_dep_actions": BOOLEAN})
    async def delete(self, request: web.Request) -> web.Response:
        """Remove it, unless it is in use. ``also_delete_dep_actions=true``: take a sink from its rules first."""
        name = self._named(request)
        spec = self._live.pipeline.spec
        users = _users(spec, self._kind, name)
        if asked(request).get("also_delete_dep_actions") and self._kind == "sinks":
            rules = [rule.name for rule in spec.rules.values() if name in rule.sinks]
            users = [user for user in users if not user.startswith("rule ")]
        else:
            rules = []
        if users:
            raise Refused("IN_USE", f"{self._kind[:-1]} {name} is in use by {', '.join(users)}", used_by=users)
        return await self._done(lambda edit: [*edit.detach(name, rules), edit.take(self._kind, name)], name)

    @says(status=204, gives=None)
    async def start(self, request: web.Request) -> web.Response:
        """Close it and open it anew, now; nothing else changes."""
        name = self._named(request)
        if self._kind == "rules":
            raise Refused("BAD_REQUEST", "a rule has no connection to start")
        if not getattr(self._known[name], "options", self._known[name]).enable:
            raise Refused("BAD_REQUEST", f"{self._kind[:-1]} {name} is disabled")
        await self._live.pipeline.restart(self._kind, name)
        return web.Response(status=204)

    @says()
    async def status(self, request: web.Request) -> web.Response:
        """What the status document has of it, and ``facts``: what else it tells of itself, such as subscriptions."""
        return answer(part(self._live.pipeline, self._kind, self._named(request)) or {})

    @says()
    async def metrics(self, request: web.Request) -> web.Response:
        """Its counters, rates and histograms."""
        shown = self._live.pipeline.snapshot()[self._kind].get(self._named(request), {})
        return answer({key: shown[key] for key in ("counters", "rates", "flow", "histograms") if key in shown})

    @says(status=204, gives=None)
    async def reset(self, request: web.Request) -> web.Response:
        """Count from now on."""
        self._live.pipeline.parts.reset(self._kind, self._named(request))
        return web.Response(status=204)

    async def _done(self, change: _Change, name: str, status: int = 200) -> web.Response:
        if self._live.read_only:
            raise Refused("READ_ONLY", "the configuration is read-only here: change its files", 403)
        return answer({"name": name, **await self._live.rewrite(change)}, status)


def _users(spec: PipelineSpec, kind: str, name: str) -> list[str]:
    if kind == "connectors":
        return [f"sink {sink.name}" for sink in spec.sinks.values() if sink.connector == name]
    if kind == "sinks":
        rules = [f"rule {rule.name}" for rule in spec.rules.values() if name in rule.sinks]
        return rules + [f"sink {sink.name}" for sink in spec.sinks.values() if sink.options.on_error == name]
    if kind == "sources":
        return [f"rule {rule.name}" for rule in spec.rules.values() if rule.sources and name in rule.sources]
    return []
