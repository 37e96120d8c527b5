"""A connector or a sink tried out before it is configured: ``POST connectors/test`` and ``POST sinks/test``."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from headrace.api.answers import Handler, Refused, answer, options
from headrace.api.described import says
from headrace.api.finding import live
from headrace.config import files
from headrace.config.build import build
from headrace.config.model import PipelineSpec
from headrace.config.problems import Mark, Problems, Text
from headrace.config.stars import kept
from headrace.config.substitute import substitute
from headrace.config.tree import Node, parse, plain
from headrace.engine.trial import Trial
from headrace.errors import HeadraceError
from headrace.live import Live

__all__ = ["routes"]

PATIENCE = 15.0
"""Seconds a test may take."""
REQUEST = "request"


def routes() -> list[web.AbstractRouteDef]:
    """The body is the part's options, and its ``name`` if it has one already."""
    return [
        web.post("/api/v1/connectors/test", _on("connectors", _connector)),
        web.post("/api/v1/sinks/test", _on("sinks", _sink)),
    ]


def _on(kind: str, act: Callable[[Trial, str, bool], Awaitable[web.Response]]) -> Handler:
    @functools.wraps(act)
    async def handler(request: web.Request) -> web.Response:
        given = await options(request)
        send = given.pop("send", True)
        name = str(given.pop("name", "") or "test")
        try:
            spec = await asyncio.to_thread(_spec, live(request), kind, name, given)
            async with asyncio.timeout(PATIENCE), Trial(spec, live(request).pipeline.registry) as trial:
                return await act(trial, name, bool(send))
        except TimeoutError as exc:
            raise Refused("TEST_FAILED", f"no result within {PATIENCE:g} s") from exc

    return handler


@says(body="part")
async def _connector(trial: Trial, name: str, _send: bool) -> web.Response:
    """Try the way to the peer, stage by stage; nothing is stored."""
    steps = await trial.test_connector(name)
    shown = [dataclasses.asdict(step) for step in steps]
    if bad := next((step for step in steps if not step.ok), None):
        raise Refused("TEST_FAILED", bad.detail, steps=shown)
    return answer({"ok": True, "steps": shown})


@says(body="part")
async def _sink(trial: Trial, name: str, send: bool) -> web.Response:
    """What the sink makes of a sample event; with ``send``, which is usual, what comes back when it is sent, once."""
    try:
        event = trial.sample(name)
        request = await trial.render(event)
        result = dict(await trial.send(event)) if send else {"ok": True}
    except HeadraceError as exc:
        raise Refused("TEST_FAILED", str(exc)) from exc
    if not result.get("ok"):
        raise Refused("TEST_FAILED", str(result.get("error") or "it was not delivered"), request=request, result=result)
    return answer({**result, "request": request})


def _spec(live: Live, kind: str, name: str, options: dict[str, Any]) -> PipelineSpec:
    """The configuration as it would be with this part. HeadraceError says what is wrong with the part."""
    elsewhere, problems = Problems(), Problems()
    root = files.read(live.origin.paths, live.origin.overrides, os.environ, elsewhere)
    start = Mark(Text(REQUEST, ""), 1, 1)
    section = root.child(kind) or Node({}, start, start)
    if not section.is_map:
        section = Node({}, start, start)
    before = section.child(name)
    text = json.dumps(kept(options, plain(before) if before is not None else None))
    node = parse(Text(REQUEST, text), problems)
    assert node is not None
    substitute(node, os.environ, problems)
    section.value[name] = root.value.setdefault(kind, section).value[name] = node
    spec = build(root, "test", live.pipeline.registry, problems)
    wrong = [each.message for each in problems.sorted() if each.severity == "error" and each.file == REQUEST]
    if wrong or spec is None:
        raise HeadraceError("; ".join(wrong) or "the configuration has errors elsewhere")
    return spec
