"""Objects."""

from __future__ import annotations

from typing import Any

from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.runtime import get, put
from headrace_plugins.sql.values import U, decode_json, describe, fixed

__all__ = ["as_map"]


def as_map(value: Any) -> dict[str, Any]:
    """An object, or one that is JSON text."""
    found = decode_json(value) if isinstance(value, str | bytes) else value
    if found == [] and isinstance(value, list):
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, not {describe(value)}")
    return found


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a key is a string, not {describe(key)}")
    return key


@function()
def map_new() -> dict[str, Any]:
    """An object without members."""
    return {}


@function()
def map_get(key: Any, value: Any, default: Any = U) -> Any:
    """What a dotted key finds; the default where it finds nothing."""
    for step in _key(key).split("."):
        value = get(value, step)
        if value is U:
            return default
    return value


@function()
def map_put(key: Any, value: Any, target: Any) -> Any:
    """The object with a value at a dotted key."""
    return put(target if isinstance(target, dict | list) else {}, _key(key).split("."), value)


@function()
def mget(key: Any, value: Any, default: Any = U) -> Any:
    """A member by its whole name, dots and all."""
    members = as_map(value)
    return members.get(key, default) if isinstance(key, str) else default


@function()
def mput(key: Any, value: Any, target: Any) -> dict[str, Any]:
    """The object with a member by its whole name."""
    return {**as_map(target), _key(key): value}


@function(kind="list")
def map_keys(value: Any) -> list[Any]:
    """The keys of an object, in order."""
    return sorted(as_map(value))


@function(kind="list")
def map_values(value: Any) -> list[Any]:
    """The values, in the order of their keys."""
    members = as_map(value)
    return [members[key] for key in sorted(members)]


@function(kind="list")
def map_to_entries(value: Any) -> list[Any]:
    """The members of an object, each as {key, value}."""
    members = as_map(value)
    return [{"key": key, "value": members[key]} for key in sorted(members)]


@function(kind="num")
def map_size(value: Any) -> int:
    """How many members an object has."""
    return len(as_map(value))


@function(kind="list")
def map_to_redis_hset_args(value: Any) -> list[Any]:
    """Keys and values in a row, behind a marker, for a template of a Redis command."""
    try:
        members = as_map(value)
    except ValueError:
        members = {}
    fields: list[Any] = []
    for key in sorted(members, reverse=True):
        member = members[key]
        if isinstance(member, bool):
            fields += [key, "true" if member else "false"]
        elif isinstance(member, float):
            fields += [key, fixed(member, 6, compact=True)]
        elif isinstance(member, int | str | bytes):
            fields += [key, member if isinstance(member, str | bytes) else str(member)]
    return ["map_to_redis_hset_args", *fields]
