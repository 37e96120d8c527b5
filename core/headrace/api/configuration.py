"""The configuration as text: shown with its secrets starred out, checked, compared, written and read again."""

from __future__ import annotations

import asyncio
import difflib
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from headrace.api.answers import Refused, answer, options
from headrace.api.asking import asked
from headrace.api.described import BOOLEAN, STRING, says, sent
from headrace.api.finding import live
from headrace.config import effective
from headrace.config.edit import Edit
from headrace.config.show import to_yaml

__all__ = ["routes"]

TEXT = sent("file", "text", file=STRING, text=STRING, base=STRING)
CHANGED = {409: "The file is not `base` any more"}


class _Text(NamedTuple):
    """A new text for a file; ``base`` is what was shown of the file when somebody began to write it, if they say."""

    file: str
    text: str
    base: str | None

    def into(self, edit: Edit) -> tuple[Path, str]:
        """The file, and its text with the secrets of the old one. Refused if that is not ``base`` any more."""
        path = Path(self.file)
        if self.base is not None and path in edit.paths and edit.shown(path) != self.base:
            raise Refused("CHANGED", f"{path} was changed meanwhile: look at it, and change it again", 409)
        return edit.replaced(self.file, self.text)


def routes() -> list[web.AbstractRouteDef]:
    """``GET config``; ``PUT config`` and ``POST config/check`` with ``{file, text, base}``; ``POST config/reload``."""
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
    files = await asyncio.to_thread(lambda: [{"file": str(path), "text": edit.shown(path)} for path in edit.paths])
    return answer(
        {
            **found.pipeline.config.snapshot(),
            "read_only": found.read_only,
            "files": files,
            "effective": to_yaml(effective(found.pipeline.spec)),
        }
    )


@says(body=TEXT, also=CHANGED)
async def _write(request: web.Request) -> web.Response:
    """Write a file and go on with it. 400, and the file as it was, if that cannot be; 409 if it is not ``base``."""
    found = live(request)
    if found.read_only:
        raise Refused("READ_ONLY", "the configuration is read-only here: change its files", 403)
    given = await _given(request)
    return answer(await found.rewrite(lambda edit: [given.into(edit)]))


@says(body=TEXT, also=CHANGED)
async def _check(request: web.Request) -> web.Response:
    """What ``PUT config`` would change, and the difference to the file. Nothing is written."""
    given = await _given(request)
    found = live(request)
    edit = await found.edit()
    path, fresh = await asyncio.to_thread(given.into, edit)
    told = await found.rewritten({path: fresh})
    return answer({**told, "diff": await asyncio.to_thread(_difference, edit, path, fresh)})


def _difference(edit: Edit, path: Path, fresh: str) -> str:
    before, after = edit.shown(path).splitlines(True), edit.masked(fresh).splitlines(True)
    return "".join(difflib.unified_diff(before, after, str(path), str(path)))


async def _given(request: web.Request) -> _Text:
    given: dict[str, Any] = await options(request)
    file, text, base = given.get("file"), given.get("text"), given.get("base")
    if not isinstance(file, str) or not isinstance(text, str) or not isinstance(base, str | None):
        raise Refused("BAD_REQUEST", "send {file: …, text: …}, and as base the text that was changed")
    return _Text(file, text, base)


@says(query={"dry_run": BOOLEAN})
async def _reload(request: web.Request) -> web.Response:
    """Read the files again; with ``dry_run=true`` only say what that would change."""
    return answer(await live(request).answer(dry_run=asked(request).get("dry_run", False)))
