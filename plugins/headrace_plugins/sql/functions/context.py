"""The event's own columns as functions, and topic lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.topics import matches
from headrace_plugins.sql.functions.arguments import array, from_one, integer, string
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.runtime import get
from headrace_plugins.sql.values import U, decode_json, same

Columns = dict[str, Any]


@function(first="columns")
def msgid(columns: Columns) -> Any:
    """The id of the message."""
    return columns.get("id", U)


@function(first="columns")
def qos(columns: Columns) -> Any:
    """The QoS of the message."""
    return columns.get("qos", U)


@function(first="columns", check=from_one)
def topic(columns: Columns, level: Any = None) -> Any:
    """The topic, or its level n, from 1."""
    value = columns.get("topic", U)
    if level is None or value is U:
        return value
    levels = string(value).split("/")
    if not 1 <= integer(level) <= len(levels):
        raise ValueError(f"the topic has {len(levels)} levels, no level {level}")
    return levels[level - 1]


@function(first="columns")
def flags(columns: Columns) -> Any:
    """The flags of the message, an object."""
    return columns.get("flags", {})


@function(first="columns")
def flag(columns: Columns, name: Any) -> Any:
    """One flag of the message, by its name."""
    return get(columns.get("flags", U), string(name))


@function(first="columns")
def clientid(columns: Columns) -> Any:
    """The client id."""
    return columns.get("clientid", U)


@function(first="columns")
def username(columns: Columns) -> Any:
    """The user name."""
    return columns.get("username", U)


@function("clientip", first="columns")
@function(first="columns")
def peerhost(columns: Columns) -> Any:
    """The client's address."""
    return columns.get("peerhost", U)


@function(first="columns")
def payload(columns: Columns, path: Any = None) -> Any:
    """The payload, or what a dotted path finds in it as JSON."""
    value = columns.get("payload", U)
    if path is None:
        return value
    if not isinstance(value, str | bytes):
        return U
    found = decode_json(value)
    for key in string(path).split("."):
        found = get(found, key)
    return found


def _filters(entries: Any, topic: Any, test: Callable[[str, str], bool], qos: Any) -> bool:
    for entry in array(entries):
        name = get(entry, "topic")
        if isinstance(name, str) and test(name, string(topic)):
            return qos is U or same(get(entry, "qos"), qos)
    return False


@function(kind="bool")
def contains_topic(entries: Any, topic: Any, qos: Any = U) -> bool:
    """Does the first entry of this topic exist, and have this QoS?"""
    return _filters(entries, topic, str.__eq__, qos)


@function(kind="bool")
def contains_topic_match(entries: Any, filter: Any, qos: Any = U) -> bool:
    """The same, for the first entry that a topic filter matches."""
    return _filters(entries, filter, lambda name, wanted: matches(wanted, name), qos)
