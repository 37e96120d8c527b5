"""What the query of an address asks for, and a page of a list with what it is a page of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from headrace.api.answers import Refused, answer
from headrace.api.described import Schema, number, said

__all__ = ["MOST", "PAGED", "PAGES", "USUAL", "asked", "page_of", "paged"]

USUAL, MOST = 100, 1000
"""Entries of a page."""
MOST_PAGES = 1_000_000
PAGES: Mapping[str, Schema] = {"page": number(1, MOST_PAGES), "limit": number(1, MOST)}
"""Parameters of a list that is told whole unless a page of it is asked for."""
PAGED: Mapping[str, str] = {
    "X-Total-Count": "how many there are on all pages, where that is known",
    "Link": "the address of the next page, if there is one",
}


def asked(request: web.Request) -> dict[str, Any]:
    """The parameters, as the call describes them, with what they are if nobody says. Refused if they are others."""
    known, query = said(request.match_info.handler).query, request.query
    for name in query:
        if name not in known:
            raise _wrong(name, f"no parameter of this call; there is {', '.join(known)}")
    found = {name: schema["default"] for name, schema in known.items() if "default" in schema}
    return found | {name: _read(name, query.getall(name), known[name]) for name in query}


def _read(name: str, given: Sequence[str], schema: Schema) -> Any:
    if schema["type"] == "array":
        return list(given)
    if len(given) > 1:
        raise _wrong(name, "say it once")
    text = given[0]
    if schema["type"] == "boolean":
        if text not in ("true", "false"):
            raise _wrong(name, "true or false")
        return text == "true"
    if schema["type"] == "integer":
        low, high = schema["minimum"], schema["maximum"]
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
            raise _wrong(name, f"a number from {low} to {high}")
        return int(text)
    return text


def _wrong(name: str, message: str) -> Refused:
    return Refused("BAD_REQUEST", f"{name[:80]}: {message}", path=name[:80])


def page_of(request: web.Request, found: Sequence[Any], *, last: bool = False) -> web.Response:
    """All that was found, or the page that is asked for. ``last``: the first page is the end of it."""
    given, total = asked(request), len(found)
    if "page" not in given and "limit" not in given:
        return paged(request, found, more=False, total=total)
    limit: int = given.get("limit", USUAL)
    start = (given.get("page", 1) - 1) * limit
    end = start + limit
    page = found[max(total - end, 0) : max(total - start, 0)] if last else found[start:end]
    return paged(request, page, more=end < total, total=total)


def paged(request: web.Request, page: Sequence[Any], *, more: bool, total: int | None = None) -> web.Response:
    """A page. The list is the whole answer; the headers tell the rest, as RFC 8288 has it."""
    response = answer(page)
    if total is not None:
        response.headers["X-Total-Count"] = str(total)
    if more:
        following = request.rel_url.update_query(page=str(asked(request).get("page", 1) + 1)).raw_query_string
        response.headers["Link"] = f'<?{following}>; rel="next"'  # relative: a proxy may have taken a prefix away
    return response
