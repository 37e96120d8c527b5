"""Secrets leave as stars, and stars that come back keep what is there."""

from __future__ import annotations

import os
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from headrace.config.model import PipelineOptions
from headrace.config.problems import Mark, Problems, Text, is_reference, looks_secret, mask, suggest
from headrace.config.show import HIDDEN
from headrace.config.substitute import meaning
from headrace.config.webhooks import SECTION, SINK
from headrace.errors import ConfigError, PluginError
from headrace.registry import Kind, Registry

__all__ = ["Restored", "kept", "star", "star_part"]

_KINDS: dict[str, Kind] = {"sources": "source", "connectors": "connector", "sinks": "sink"}
_HIDDEN = re.compile(r"\*{6,}\Z")
_LABEL = re.compile(r"auth|cookie|credential|key|token|secret|passw|signature|\bsig\b", re.IGNORECASE)
"""In the name of a header or a parameter: its value is a secret."""
_STARRED = re.compile(r"://(?:[^/?#\s]*:\*+@|\S*[?&][^=&\s]*=\*+(?:[&#]|\Z))")
"""A URL as it is shown, with stars for its password or a token in its query."""


# -- out -----------------------------------------------------------------------------------------------------------


def star(tree: Any, registry: Registry) -> bool:
    """Star out the secrets in a whole configuration; False if there are none."""
    starred = _star(tree, (PipelineOptions,))
    for section, entries in _entries(tree):
        if section in _KINDS or section in ("rules", SECTION):
            for _, part in _entries(entries):
                starred |= star_part(section, part, registry)
    return starred


def star_part(section: str, part: Any, registry: Registry) -> bool:
    """The same for one part: what the model of its type says is a secret, and what is called like one."""
    if not isinstance(part, Mapping):
        return False
    if section != "rules":
        kind, name = _KINDS.get(section, "sink"), part.get("type", SINK)
        return _star(part, _models(registry, kind, name))
    starred = _star(part, ())
    known = registry.names("transform")
    steps = [(key, options) for key, options in part.items() if key in known]
    steps += [(each.get("type"), each) for _, each in _entries(part.get("transforms")) if isinstance(each, Mapping)]
    for name, options in steps:
        starred |= _star(options, _models(registry, "transform", name))
    return starred


def _models(registry: Registry, kind: Kind, name: Any) -> tuple[Any, ...]:
    """What the options of a type are; also those of a connection that may stand among them."""
    try:
        cls = registry.find(kind, str(name))
    except PluginError:
        return ()
    connector = getattr(cls, "connector_type", None)
    return (cls.Config, connector.Config) if connector else (cls.Config,)


def _star(tree: Any, models: Iterable[Any]) -> bool:
    starred = False
    for key, value in list(_entries(tree)):
        inner = [each for model in models for each in _within(model, key)]
        if isinstance(value, Mapping | list):
            starred |= _star(value, inner)
            continue
        text = value if isinstance(value, str) else ""
        secret = value and (SecretStr in inner or (isinstance(key, str) and looks_secret(key)))
        # what a placeholder stands for is no text of ours
        fresh = HIDDEN if secret and not is_reference(text) else mask(text)
        if fresh != text:
            tree[key] = fresh
            starred = True
    return starred


def _within(kind: Any, key: Any) -> Iterator[Any]:
    """What a value of that key may be, in a value of this kind."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            if key in (name, info.alias):
                yield from _each(info.annotation)
    elif isinstance(key, int):
        for inner in get_args(kind):
            yield from _each(inner)
    elif get_origin(kind) is dict:
        found = list(_each(get_args(kind)[1]))
        if SecretStr not in found or _LABEL.search(str(key)):  # most headers are no secret, and people want to see them
            yield from found


def _each(kind: Any) -> Iterator[Any]:
    """The kinds that one is made of: of ``A | None`` A and None."""
    if get_origin(kind) is Annotated:
        yield from _each(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for each in get_args(kind):
            yield from _each(each)
    else:
        yield kind


# -- back ----------------------------------------------------------------------------------------------------------


def kept(value: Any, before: Any) -> Any:
    """The value; where it has only stars the secret of before, and where it is what a placeholder stands for that."""
    if isinstance(before, str) and value != before and _is_shown(before, value):
        return before
    if isinstance(value, str) and value != before and _STARRED.search(value):
        raise ConfigError(f"{mask(value)}: give the secret once more, as the rest of the URL is another")
    if isinstance(value, str) and _HIDDEN.match(value):
        if before is None:
            raise ConfigError(f"{HIDDEN} keeps the value that is there, and there is none: give it in full")
        return before
    if isinstance(value, Mapping):
        inner = before if isinstance(before, Mapping) else {}
        return {key: kept(each, inner.get(key)) for key, each in value.items()}
    if isinstance(value, list):
        known = _by_place(before, len(value))
        return [kept(each, known[i]) for i, each in enumerate(value)]
    return value


def _is_shown(before: str, value: Any) -> bool:
    """Is it what people are shown of a text? Passwords within a URL are starred out, placeholders filled in."""
    return value == mask(before) or ("${" in before and str(value) in (full := meaning(before, os.environ), mask(full)))


def _by_place(before: Any, count: int) -> Sequence[Any]:
    """What was in a list; nothing if one came or went, for then stars no longer tell which of them they are."""
    return before if isinstance(before, list) and len(before) == count else [None] * count


class Restored:
    """Puts the secrets of the text that a file had where a new one has stars."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self.found = False
        """Was any put?"""
        self.missing = Problems()
        """Stars that stand for nothing: each at the key that the old text does not have."""

    def put(self, tree: Any, old: Any, place: str = "", lost: tuple[Mark, str] | None = None) -> None:
        """``lost``: the key of the new text from which on the old one had nothing, and what to say of that."""
        if isinstance(tree, list):
            old = _by_place(old, len(tree))
        known = dict(_entries(old))
        for key, value in list(_entries(tree)):
            here = f"{place}.{key}" if place else str(key)
            mark = self._mark(tree, key)
            gone = lost
            if gone is None and key not in known:
                gone = mark, f"; the file has no {here}{suggest(str(key), map(str, known))}"
            if isinstance(value, Mapping | list):
                self.put(value, known.get(key), here, gone)
                continue
            try:
                fresh = kept(value, known.get(key))
            except ConfigError as exc:
                at, why = gone or (mark, "")
                self.missing.error(at, f"{here}: {exc}{why}")
                continue
            if fresh is not value:
                tree[key] = fresh
                self.found = True

    def _mark(self, tree: Any, key: Any) -> Mark:
        line, column = (tree.lc.data or {}).get(key, (tree.lc.line, tree.lc.col))[:2]
        return Mark(self._text, line + 1, column + 1)


def _entries(tree: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(tree, Mapping):
        return tree.items()
    return enumerate(tree) if isinstance(tree, list) else ()
