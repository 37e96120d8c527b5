"""Who published: a subscriber is not told, so the configuration says where to look."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from headrace import Event

__all__ = ["ClientId", "parse_mapping"]

ClientId = Callable[[Event], str | None]

_TOPIC = re.compile(r"topic\[(-?[1-9]\d*)\]\Z")
_PROPERTY = re.compile(r"user_property\.(.+)\Z")
_PAYLOAD = re.compile(r"payload\.([^.\s]+(?:\.[^.\s]+)*)\Z")


def parse_mapping(text: str) -> ClientId:
    """``topic[2]``, ``user_property.NAME`` or ``payload.PATH``; with ``|`` the first that gives something.

    ValueError says what is wrong.
    """
    ways = [_parse(part.strip()) for part in text.split("|")]
    if len(ways) == 1:
        return ways[0]

    def first(event: Event) -> str | None:
        for way in ways:
            found = way(event)
            if found is not None:
                return found
        return None

    return first


def _parse(text: str) -> ClientId:
    if found := _TOPIC.match(text):
        return _of_topic(int(found[1]))
    if found := _PROPERTY.match(text):
        return _of_property(found[1])
    if found := _PAYLOAD.match(text):
        return _of_payload(found[1].split("."))
    raise ValueError(f"{text!r} is none of topic[2], user_property.NAME, payload.PATH")


def _of_topic(level: int) -> ClientId:
    index = level - 1 if level > 0 else level

    def way(event: Event) -> str | None:
        levels = event["topic"].split("/")
        return levels[index] or None if -len(levels) <= index < len(levels) else None

    return way


def _of_property(name: str) -> ClientId:
    def way(event: Event) -> str | None:
        value: str | None = event["pub_props"].get("User-Property", {}).get(name)
        return value or None

    return way


def _of_payload(path: list[str]) -> ClientId:
    def way(event: Event) -> str | None:
        try:
            value: Any = event.json()
        except ValueError:
            return None
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value) or None
        return None

    return way
