"""The configuration as text: shown with its secrets starred out, checked, compared, written and read again."""

from __future__ import annotations

import asyncio
import difflib
from typing import Any

from aiohttp import web

from headrace.api.answers import Refused, answer, options
from headrace.api.described import BOOLEAN, STRING, says, sent
from headrace.api.finding import live
from headrace.config import effective
from headrace.config.show import to_yaml

__all__ = ["routes"]

TEXT = sent("file", "text", file=STRING, text=STRING)


def routes() -> list[web.AbstractRouteDef]:
    """``GET config``; ``PUT config`` and ``POST config/check`` with ``{file, text}``; ``POST config/reload``."""
    return [
        web.get("/api/v1/config", _show),
        web.put("/api/v1/config", _write),
        web.post("/api/v1/config/check", _check),
        web.post("/api/v1/config/reload", _reload),
    ]


@says()
async def _show(request: web.Request) -> web.Response:
    """The files as they are, what all of them together mean, which generation runs, and what is wrong with a newer."""
    found = live(request)
    edit = await found.edit()
    return answer(
        {
            **found.pipeline.config.snapshot(),
            "read_only": found.read_only,
            "files": [{"file": str(path), "text": edit.shown(path)} for path in edit.paths],
            "effective": to_yaml(effective(found.pipeline.spec)),
        }
    )


@says(body=TEXT)
async def _write(request: web.Request) -> web.Response:
    """Write a file and go on with it. 400, and the file as it was, if that cannot be."""
    found = live(request)
    if found.read_only:
        raise Refused("READ_ONLY", "the configuration is read-only here: change its files", 403)
    file, text = await _given(request)
    return answer(await found.rewrite(lambda edit: [edit.replaced(file, text)]))


@says(body=TEXT)
async def _check(request: web.Request) -> web.Response:
    """What ``PUT config`` would change, and the difference to the file. Nothing is written."""
    file, text = await _given(request)
    found = live(request)
    edit = await found.edit()
    path, fresh = await asyncio.to_thread(edit.replaced, file, text)
    told = await found.rewritten({path: fresh})
    before, after = edit.shown(path).splitlines(True), edit.masked(fresh).splitlines(True)
    return answer({**told, "diff": "".join(difflib.unified_diff(before, after, file, file))})


async def _given(request: web.Request) -> tuple[str, str]:
    given: dict[str, Any] = await options(request)
    file, text = given.get("file"), given.get("text")
    if not isinstance(file, str) or not isinstance(text, str):
        raise Refused("BAD_REQUEST", "send {file: …, text: …}")
    return file, text


@says(query={"dry_run": BOOLEAN})
async def _reload(request: web.Request) -> web.Response:
    """Read the files again; with ``dry_run=true`` only say what that would change."""
    return answer(await live(request).answer(dry_run=request.query.get("dry_run") == "true"))
