"""The text of one file as a tree to change: what is not changed stays as somebody wrote it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.scalarstring import FoldedScalarString, LiteralScalarString
from ruamel.yaml.tokens import CommentToken
from ruamel.yaml.util import load_yaml_guess_indent

from headrace.config.problems import Problems, Text
from headrace.config.tree import parse

__all__ = ["Document"]

BLOCKS = (LiteralScalarString, FoldedScalarString)
_MARKED = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*---(?=\s)")


class Document:
    """One file. ValueError if the text is no YAML, or no map.

    Comments, order, quotes and indentation stay; what is JSON stays JSON.
    """

    def __init__(self, text: str) -> None:
        self._load(text)

    def _load(self, text: str) -> None:
        if "&" in text and "*" in text:  # aliases may stand for more than fits anywhere: ``parse`` says so
            problems = Problems()
            if parse(Text("", text), problems) is None and problems:
                raise ValueError(problems.sorted()[0].message)
        self._yaml = yaml = YAML()  # keeps comments and order
        yaml.preserve_quotes = True
        yaml.width = 1 << 20
        yaml.explicit_start = bool(_MARKED.match(text))
        try:
            tree, indent, dash = load_yaml_guess_indent(text, yaml=yaml)
        except (YAMLError, RecursionError) as exc:
            raise ValueError(str(exc)) from exc
        if not isinstance(tree, CommentedMap | None):
            raise ValueError("it is no map of sections")
        maps = _indent(text) or 2
        yaml.indent(mapping=maps, sequence=maps if dash is None else max(indent, dash + 2), offset=dash or 0)
        self._json = _json_indent(text)
        self.tree: CommentedMap = CommentedMap() if tree is None else tree

    @property
    def text(self) -> str:
        """As it is now."""
        if self._json is not None:
            indent = self._json or None
            return json.dumps(self.tree, indent=indent, ensure_ascii=False, default=str) + "\n"
        text = io.StringIO()
        self._yaml.dump(self.tree, text)
        return text.getvalue()

    def entries(self, section: str) -> Mapping[str, Any]:
        """The parts of a section."""
        found = self.tree.get(section)
        return {_name(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}

    def _key(self, section: str, name: str) -> Any:
        """As the tree has the name of a part."""
        return next((key for key in self.tree[section] if _name(key) == name), name)

    def put(self, section: str, name: str, options: Mapping[str, Any]) -> None:
        """Make a part say this; every other part says what it said, also where anchors or ``<<`` share something."""
        before, wanted = self.text, {**_plain(self.tree)}
        old = self.entries(section).get(name)
        if self.tree.get(section) is None:
            self.tree[section] = CommentedMap()
        name = self._key(section, name)
        wanted[section] = {**(wanted.get(section) or {}), name: _plain(options)}
        if isinstance(old, CommentedMap):
            _change(old, options)
        else:
            _append(self.tree[section], name, options)
        if self._meaning() != wanted:
            self._load(before)
            self.tree[section][name] = _written(options)

    def _meaning(self) -> Any:
        """What the text says to whoever reads it."""
        try:
            return _plain(Document(self.text).tree)
        except ValueError:
            return None

    def take(self, section: str, name: str) -> None:
        """Remove a part, and its section if it was the last."""
        _drop(self.tree[section], self._key(section, name))
        if not self.tree[section]:
            _drop(self.tree, section)


def _name(key: object) -> str:
    """The name that a key is: written without quotes, 1 and true are no texts to YAML, and names to us."""
    return str(key).lower() if isinstance(key, bool) else str(key)


def _indent(text: str) -> int | None:
    """By how much the first map within a map is indented."""
    found = re.search(r"^[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*( +)[^\s#-]", text, re.MULTILINE)
    return len(found[1]) if found else None


def _json_indent(text: str) -> int | None:
    """The indentation of JSON, 0 for none; None if it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        json.loads(text)
    except ValueError:
        return None
    found = re.search(r"\n( +)", text)
    return len(found[1]) if found else 0


def _plain(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(each) for each in tree] if isinstance(tree, list) else tree


def _change(old: CommentedMap, options: Mapping[str, Any]) -> None:
    """Make a map say something else, leaving what stays the same alone, comments and style among it."""
    for key in [key for key in old if key not in options]:
        _drop(old, key)
    for key, value in options.items():
        if key in old:
            _set(old, key, value)
        else:
            _append(old, key, value)


def _set(tree: Any, key: Any, value: Any) -> None:
    before = tree[key]
    if isinstance(before, CommentedMap) and isinstance(value, Mapping) and value:
        _change(before, value)
    elif isinstance(before, CommentedSeq) and isinstance(value, list) and value and before:
        for at, each in enumerate(value[: len(before)]):
            _set(before, at, each)
        while len(before) > len(value):
            _drop(before, len(before) - 1)
        for each in value[len(before) :]:
            _append(before, len(before), each)
    elif before != value or type(before) is bool or type(value) is bool:
        own, line, after = _parted(*_last(tree, key))
        _put_comment(*_last(tree, key), own + line)
        tree[key] = _written(value)
        if after:
            _add_comment(*_last(tree, key), after)


def _written(value: Any) -> Any:
    """As it is put into a tree; a text of several lines is one that people can read."""
    if isinstance(value, Mapping):
        return CommentedMap({key: _written(each) for key, each in value.items()})
    if isinstance(value, list):
        return CommentedSeq(map(_written, value))
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value


def _append(tree: Any, key: Any, value: Any) -> None:
    """Add an entry at the end, before the comments on lines of their own that follow the last."""
    after = ""
    if tree:
        place = _last(tree, _keys(tree)[-1])
        own, line, after = _parted(*place)
        _put_comment(*place, own + line)
    if isinstance(tree, CommentedSeq):
        tree.append(_written(value))
    else:
        tree[key] = _written(value)
    if after:
        _add_comment(*_last(tree, key), after)


def _keys(tree: Any) -> list[Any]:
    return list(tree) if isinstance(tree, Mapping) else list(range(len(tree)))


def _drop(tree: Any, key: Any) -> None:
    """Delete an entry; the comments on lines of their own that follow it stay."""
    keys = _keys(tree)
    at = keys.index(key)
    _, _, after = _parted(*_last(tree, key))  # what stands on the entry's own line goes with it
    del tree[key]
    tree.ca.items.pop(key, None)
    if not after or not tree:
        return
    if at < len(keys) - 1:
        slots = tree.ca.items.setdefault(keys[at + 1], [None] * 4)
        slots[1] = [CommentToken(after, CommentMark(0), None), *(slots[1] or ())]
    else:
        _add_comment(*_last(tree, keys[-2]), after)


def _last(tree: Any, key: Any) -> tuple[Any, Any]:
    """Where the comment after an entry is kept: at the last entry within it that has a line of its own."""
    value = tree[key]
    while isinstance(value, CommentedMap | CommentedSeq) and value and not value.fa.flow_style():
        tree, key = value, list(value)[-1] if isinstance(value, CommentedMap) else len(value) - 1
        value = tree[key]
    return tree, key


def _comment(tree: Any, key: Any) -> str:
    token = tree.ca.items.get(key, [None] * 4)[_slot(tree)]
    return "" if token is None else str(token.value)


def _parted(tree: Any, key: Any) -> tuple[str, str, str]:
    """The comment after an entry: what is on its own line, the line's end, and the lines after it."""
    text = _comment(tree, key)
    return ("", "", text) if isinstance(tree[key], BLOCKS) else text.partition("\n")


def _put_comment(tree: Any, key: Any, text: str) -> None:
    slots, slot = tree.ca.items.setdefault(key, [None] * 4), _slot(tree)
    mark = slots[slot].start_mark if slots[slot] else CommentMark(0)  # its column stays
    slots[slot] = CommentToken(text, mark, None) if text else None


def _add_comment(tree: Any, key: Any, text: str) -> None:
    """More lines after an entry."""
    before = _comment(tree, key) or ("" if isinstance(tree[key], BLOCKS) else "\n")
    _put_comment(tree, key, before + text)


def _slot(tree: Any) -> int:
    return 0 if isinstance(tree, CommentedSeq) else 2
