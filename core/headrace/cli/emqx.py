"""``import emqx``: rules, HTTP actions and connectors of EMQX as a configuration of headrace.

What its API answers (``/api/v5/rules``, ``actions``, ``connectors``, and ``bridges`` of older versions) is told by its
shape: a rule has ``sql``, a connector ``url``, an action ``connector`` and ``parameters``, a bridge ``url`` and more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Imported", "imported"]

Item = Mapping[str, Any]
_CONNECTOR = {  # EMQX's option → ours, and what EMQX takes if it is not given
    "connect_timeout": ("connect_timeout", "15s"),
    "pool_size": ("pool_size", 8),
    "pool_type": ("pool_type", "random"),
    "max_inactive": ("max_inactive", "10s"),
    "enable_pipelining": ("pipelining", 100),
}
_TLS = {"cacertfile": "ca", "certfile": "cert", "keyfile": "key", "server_name_indication": "server_name"}
_BUFFER = {"request_ttl": "45s", "inflight_window": 100, "max_buffer_bytes": "256MB", "resume_interval": "15s"}
_PER_CONNECTION = frozenset({"connection", "keep-alive"})
_PLACEHOLDER = re.compile(r"\*{6,}")
_TYPES = ("http", "webhook")


class Imported:
    """The sections of the configuration, and what has to be looked at."""

    def __init__(self) -> None:
        self.sections: dict[str, dict[str, Any]] = {
            "sources": {"emqx": {"type": "mqtt", "url": "mqtt://localhost:1883"}},
            "connectors": {},
            "rules": {},
            "sinks": {},
        }
        self.remarks: list[str] = []


def imported(documents: list[Any]) -> Imported:
    """All that the documents hold, put together."""
    result = Imported()
    for item in (item for document in documents for item in _items(document)):
        name = _name(str(item.get("id") or item.get("name")))
        if "sql" in item:
            result.sections["rules"][name] = _rule(item, name, result)
        elif item.get("type", "http") not in _TYPES:
            result.remarks.append(f"{item.get('type')} {name}: only HTTP is taken over")
        elif "parameters" in item:
            result.sections["sinks"][name] = _sink(item, name, result)
        elif "method" in item or "body" in item:
            result.sections["sinks"][name] = _bridge(item, name, result)
        else:
            result.sections["connectors"][name] = _connector(item, name, result)
    return result


def _items(document: Any) -> Iterator[Item]:
    """The rules, actions and connectors of an answer of the API, or of a configuration as JSON."""
    if isinstance(document, list):
        for each in document:
            yield from _items(each)
    elif isinstance(document, Mapping):
        if isinstance(document.get("data"), list):
            yield from _items(document["data"])
        elif "sql" in document or {"type", "name"} <= document.keys():
            yield document
        else:
            yield from _configured(document)


def _configured(document: Item) -> Iterator[Item]:
    for name, rule in document.get("rule_engine", {}).get("rules", {}).items():
        yield {"id": name, **rule}
    for section in ("connectors", "actions", "bridges"):
        for kind, named in document.get(section, {}).items():
            yield from ({"type": kind, "name": name, **options} for name, options in named.items())


def _name(text: str) -> str:
    return re.sub(r"[^\w-]", "_", text, flags=re.ASCII).lstrip("_-") or "unnamed"


def _rule(item: Item, name: str, result: Imported) -> dict[str, Any]:
    targets = []
    for action in item.get("actions", ()):
        if isinstance(action, str) and action.partition(":")[0] in _TYPES:
            targets.append(_name(action.partition(":")[2]))
        elif isinstance(action, Mapping) and action.get("function") == "console":
            targets.append("console")
            result.sections["sinks"]["console"] = {"type": "console"}
        else:
            what = action.get("function") if isinstance(action, Mapping) else action
            result.remarks.append(f"rule {name}: its action {what} is left out")
    return {"sql": item["sql"].strip(), "to": targets, **_enabled(item)}


def _enabled(item: Item) -> dict[str, Any]:
    return {} if item.get("enable", True) else {"enable": False}


def _connector(item: Item, name: str, result: Imported) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "http", "url": item["url"], **_headers(item, name, result), **_enabled(item)}
    for theirs, (ours, default) in _CONNECTOR.items():
        if item.get(theirs, default) != default:
            made[ours] = item[theirs]
    ssl = item.get("ssl", {})
    if ssl.get("enable"):
        tls = {ours: ssl[theirs] for theirs, ours in _TLS.items() if ssl.get(theirs) not in (None, "", "disable")}
        if ssl.get("verify", "verify_none") == "verify_none":
            result.remarks.append(f"connector {name}: EMQX did not verify the server's certificate, headrace does")
        made |= {"tls": tls} if tls else {}
    if item.get("oauth2", {}).get("enable"):
        result.remarks.append(f"connector {name}: write its oauth2 as auth: {{oauth2: …}}")
    return made


def _headers(item: Item, name: str, result: Imported) -> dict[str, Any]:
    headers = {}
    for key, value in item.get("headers", {}).items():
        if key.lower() in _PER_CONNECTION:
            continue
        if _PLACEHOLDER.search(str(value)):
            variable = re.sub(r"\W", "_", f"{name}_{key}", flags=re.ASCII).upper()
            result.remarks.append(f"{name}: EMQX hides the value of {key}; set the environment variable {variable}")
            value = f"${{env:{variable}}}"
        headers[key] = value
    return {"headers": headers} if headers else {}


def _bridge(item: Item, name: str, result: Imported) -> dict[str, Any]:
    """Of older versions: an action and its connector in one, as our sinks may be."""
    connection = {key: value for key, value in item.items() if key != "headers"}
    return _connector(connection, name, result) | _sink({"parameters": item}, name, result)


def _sink(item: Item, name: str, result: Imported) -> dict[str, Any]:
    parameters, options = item["parameters"], item.get("resource_opts", item["parameters"].get("resource_opts", {}))
    made: dict[str, Any] = {"type": "http", "profile": "emqx"}
    if "connector" in item:
        made["connector"] = _name(item["connector"])
    if (method := parameters.get("method", "post").upper()) != "POST":
        made["method"] = method
    if parameters.get("path"):
        made["path"] = parameters["path"]
    made |= _headers(parameters, name, result)
    if "body" in parameters:
        made["body"] = parameters["body"]
    changed = {key: options[key] for key, default in _BUFFER.items() if options.get(key, default) != default}
    if "request_ttl" in changed:
        made["ttl"] = None if changed["request_ttl"] == "infinity" else changed["request_ttl"]
    if "inflight_window" in changed:
        made["inflight"] = changed["inflight_window"]
    if "max_buffer_bytes" in changed:
        made["buffer"] = {"max_bytes": changed["max_buffer_bytes"]}
    if "resume_interval" in changed:
        made["retry"] = {"max": changed["resume_interval"]}
    for n, other in enumerate(item.get("fallback_actions", ())):
        if n == 0 and other.get("kind") == "reference" and other.get("type") in _TYPES:
            made["on_error"] = _name(other["name"])
        else:
            result.remarks.append(f"sink {name}: a fallback action is left out: {other.get('name', other.get('kind'))}")
    return made | _enabled(item)
