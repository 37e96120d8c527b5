"""``GET openapi.json``: the API as OpenAPI 3.1 has it, made from its routes and from the models that check a file."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

import headrace
from headrace.api.answers import answer
from headrace.api.described import Says, Schema, said, says
from headrace.api.finding import KINDS, live
from headrace.engine import Pipeline
from headrace.reference import schema

__all__ = ["document", "routes"]

JSON = "application/json"
PAGES = re.compile(r"/$|/icon\.svg$|/assets/")
"""What browsers get: no part of the API."""
REFUSAL: Schema = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}
WAYS_IN: Schema = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
    "session": {"type": "apiKey", "in": "cookie", "name": "headrace"},
}


def routes() -> list[web.AbstractRouteDef]:
    """The address of the document."""
    return [web.get("/api/v1/openapi.json", _openapi)]


@says()
async def _openapi(request: web.Request) -> web.Response:
    """This document."""
    api = live(request).pipeline.spec.api
    return answer(document(request.app, live(request).pipeline, api.prefix if api else ""))


def document(app: web.Application, pipeline: Pipeline, prefix: str = "") -> dict[str, Any]:
    """The document of an application whose addresses begin with ``prefix``."""
    whole = schema(pipeline.registry)
    paths: dict[str, dict[str, Any]] = {}
    for method, path, kind, handler in _calls(app, prefix):
        paths.setdefault(path, {})[method] = _operation(method, path, kind, handler, whole)
    found = {
        "openapi": "3.1.0",
        "info": {"title": "headrace", "version": headrace.__version__},
        "servers": [{"url": prefix or "/"}],
        "security": [{}, *({name: []} for name in WAYS_IN)],
        "paths": paths,
        "components": {"schemas": {**whole["$defs"], "Refusal": REFUSAL}, "securitySchemes": WAYS_IN},
    }
    moved: dict[str, Any] = _moved(found)
    return moved


def _calls(app: web.Application, prefix: str) -> Iterator[tuple[str, str, str, Any]]:
    """Method, path, kind of part if it is about one, and handler of each call."""
    for route in app.router.routes():
        path = route.resource.canonical.removeprefix(prefix) if route.resource else ""
        if route.method in ("HEAD", "*") or PAGES.match(path):
            continue  # aiohttp answers HEAD wherever it answers GET
        for kind in KINDS if "{kind}" in path else (_kind(path),):
            yield route.method.lower(), path.replace("{kind}", kind), kind, route.handler


def _kind(path: str) -> str:
    return next((kind for kind in KINDS if path.startswith(f"/api/v1/{kind}/")), "")


def _operation(method: str, path: str, kind: str, handler: Any, whole: Mapping[str, Any]) -> dict[str, Any]:
    facts, text = said(handler), inspect.getdoc(handler) or ""
    found: dict[str, Any] = {
        "operationId": method + re.sub(r"\W+", "_", path.removeprefix("/api/v1")),
        "summary": text.partition("\n")[0],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _segment(name)} for name in _names(path)),
            *({"name": name, "in": "query", "schema": each} for name, each in facts.query.items()),
        ],
        "responses": _responses(facts),
    }
    if facts.body is not None:
        wanted = _part(whole, kind, named=facts.body == "named part") if isinstance(facts.body, str) else facts.body
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": wanted}}}
    return found


def _responses(facts: Says) -> dict[str, Any]:
    refused = {"description": "Refused", "content": {JSON: {"schema": {"$ref": "#/components/schemas/Refusal"}}}}
    done: dict[str, Any] = {"description": "Done"}
    if facts.gives is not None:
        done["content"] = {facts.media: {"schema": facts.gives}}
    if facts.headers:
        done["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in facts.headers.items()
        }
    others = {str(status): {**done, "description": text} for status, text in facts.also.items()}
    return {str(facts.status): done, **others, "default": refused}


def _names(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _segment(name: str) -> Schema:
    known: Mapping[str, Schema] = {"on": {"type": "boolean"}, "offset": {"type": "integer", "minimum": 0}}
    return known.get(name, {"type": "string", "minLength": 1})


def _part(whole: Mapping[str, Any], kind: str, *, named: bool) -> Schema:
    """The options of a part of a kind; ``named``: with the name that it shall have."""
    entry = whole["properties"][kind]["additionalProperties"]
    if not named:
        return dict(entry)
    name = {**whole["properties"][kind]["propertyNames"], "type": "string", "description": "What it is called."}
    variants = [
        {**each, "properties": {"name": name, **each["properties"]}, "required": ["name", *each.get("required", ())]}
        for each in entry.get("oneOf", [entry])
    ]
    return {"oneOf": variants} if len(variants) > 1 else variants[0]


def _moved(value: Any) -> Any:
    """The same, with references to where OpenAPI keeps schemas."""
    if isinstance(value, Mapping):
        return {
            key: each.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref" and isinstance(each, str)
            else _moved(each)
            for key, each in value.items()
        }
    return [_moved(each) for each in value] if isinstance(value, list | tuple) else value
