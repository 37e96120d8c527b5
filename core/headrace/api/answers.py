"""What the API says: documents as JSON, and refusals that give programs a word and people a sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from headrace.config import InvalidConfig
from headrace.errors import HeadraceError
from headrace.events import json_bytes

__all__ = ["Handler", "Refused", "answer", "body", "options", "refusals"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE"}


def answer(document: Any, status: int = 200) -> web.Response:
    """A document as JSON."""
    return web.Response(body=json_bytes(document), content_type="application/json", status=status)


class Refused(Exception):
    """Raised by a handler that does not do what was asked. ``more`` stands beside code and message."""

    def __init__(self, code: str, message: str, status: int = 400, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.more = more

    def response(self) -> web.Response:
        response = answer({"code": self.code, "message": str(self), **self.more}, self.status)
        if "retry_in" in self.more:
            response.headers["Retry-After"] = str(self.more["retry_in"])
        return response


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever says no, says it the same way."""
    try:
        return await handler(request)
    except Refused as exc:
        return exc.response()
    except InvalidConfig as exc:
        found = [
            {"message": each.message, "file": each.file, "line": each.line, "column": each.column}
            for each in exc.problems
        ]
        told = "; ".join(each.message for each in exc.problems)
        return Refused("BAD_REQUEST", told, problems=found).response()
    except HeadraceError as exc:
        return Refused("BAD_REQUEST", str(exc)).response()
    except RecursionError:
        return Refused("BAD_REQUEST", "the body is nested too deep").response()
    except web.RequestPayloadError:
        return Refused("BAD_REQUEST", "the body is not what Content-Encoding says").response()
    except web.HTTPException as exc:
        if "/api/" not in request.path or exc.status < 400:
            raise
        refused = Refused(CODES.get(exc.status, "BAD_REQUEST"), f"{request.path}: {exc.reason}", exc.status)
        response = refused.response()
        if allow := exc.headers.get("Allow"):
            response.headers["Allow"] = allow
        return response


async def body(request: web.Request) -> Any:
    """The JSON that was sent; None if nothing was. Refused if it is none."""
    if not request.body_exists:
        return None
    if request.content_type != "application/json":
        raise Refused("UNSUPPORTED_MEDIA_TYPE", "send JSON, and say Content-Type: application/json", 415)
    raw = await request.read()
    try:
        return json.loads(raw, parse_constant=_no_number, parse_float=_number) if raw else None
    except ValueError as exc:
        raise Refused("BAD_REQUEST", f"this is not JSON: {exc}") from exc


def _number(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON's")


async def options(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent. Refused if it is something else."""
    found = await body(request)
    if not isinstance(found, dict):
        raise Refused("BAD_REQUEST", "send a JSON object")
    return found
