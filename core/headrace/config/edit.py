"""Changing single parts in the files of a configuration, with everything else in them as it was.

Comments, order and placeholders stay; a placeholder is neither filled in nor lost.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.scalarstring import FoldedScalarString, LiteralScalarString
from ruamel.yaml.tokens import CommentToken

from headrace.config.files import expand
from headrace.config.problems import InvalidConfig, Text, mask
from headrace.config.stars import Restored, kept, star, star_part
from headrace.errors import ConfigError
from headrace.registry import Registry

__all__ = ["Edit", "Replaced", "write"]

BLOCKS = (LiteralScalarString, FoldedScalarString)


class Edit:
    """The files of a configuration, to look parts up in and to change one. Reads when it is made; writes nothing."""

    def __init__(self, patterns: Iterable[str], registry: Registry | None = None) -> None:
        """``registry``: of the plugins whose options say which of them are secrets."""
        self._registry = registry or Registry()
        self._files: dict[Path, CommentedMap] = {}
        self._broken: list[Path] = []
        """Those that are no YAML now: they can be looked at and replaced, and no part of them can be changed."""
        for path in map(Path, dict.fromkeys(path for pattern in patterns for path in expand(pattern))):
            try:
                tree = _yaml().load(path.read_text("utf-8-sig"))
            except YAMLError:
                tree = None
                self._broken.append(path)
            self._files[path] = CommentedMap() if tree is None else tree
        if not self._files:
            raise ConfigError("there is no file to write to: this pipeline was not started from one")

    def given(self, section: str, name: str) -> Any:
        """What a file says of a part; None if none names it."""
        path = self._where(section, name)
        return None if path is None else self._files[path][section][name]

    def told(self, section: str, name: str) -> dict[str, Any] | None:
        """The same for people: secrets are starred out, placeholders are not filled in."""
        given = copy.deepcopy(self.given(section, name))
        if not isinstance(given, Mapping):
            return None
        star_part(section, given, self._registry)
        return dict(given)

    def put(self, section: str, name: str, options: Mapping[str, Any]) -> tuple[Path, str]:
        """The file a part belongs to, and its text with these options. ``******`` keeps what is there."""
        path = self._where(section, name)
        old = None if path is None else self._files[path][section][name]
        path = path or self._place(section)
        tree = self._files[path]
        if tree.get(section) is None:
            tree[section] = CommentedMap()
        if isinstance(old, CommentedMap):
            _change(old, options)
        else:
            tree[section][name] = kept(options, old)
        return path, _text(tree)

    @property
    def paths(self) -> list[Path]:
        """The files, in the order they are read."""
        return list(self._files)

    def shown(self, path: Path) -> str:
        """The text of a file for people: secrets are starred out."""
        return self.masked(path.read_text("utf-8-sig"))

    def masked(self, text: str) -> str:
        """A text for people; as it is where it has no secrets, or is no YAML."""
        try:
            tree = _yaml().load(text)
        except YAMLError:
            return "\n".join(map(mask, text.split("\n")))
        return _text(tree) if star(tree, self._registry) else text

    def replaced(self, file: str, text: str) -> tuple[Path, str]:
        """A whole new text for a file: that text, with the secrets of the old one where it has only stars.

        ConfigError if the file does not belong to the configuration; InvalidConfig says which stars stand for nothing.
        """
        path = next((path for path in self._files if str(path) == file), None)
        if path is None:
            raise ConfigError(f"{file} is no file of this configuration; there is {', '.join(map(str, self._files))}")
        try:
            tree = _yaml().load(text)
        except YAMLError:
            return path, text  # whoever checks it says what is wrong, and where
        if not isinstance(tree, CommentedMap):
            return path, text
        secrets = Restored(Text(file, text))
        secrets.put(tree, self._files[path])
        if secrets.missing:
            raise InvalidConfig(secrets.missing.sorted())
        return path, _text(tree) if secrets.found else text

    def take(self, section: str, name: str) -> tuple[Path, str]:
        """The file a part is in, and its text without it. ConfigError if no file names it."""
        path = self._where(section, name)
        if path is None:
            raise ConfigError(f"no file of the configuration names {section}.{name}")
        tree = self._files[path]
        _drop(tree[section], name)
        if not tree[section]:
            _drop(tree, section)
        return path, _text(tree)

    def detach(self, sink: str, rules: Iterable[str]) -> list[tuple[Path, str]]:
        """The files of these rules, and their texts without the sink among where each rule's results go."""
        touched: dict[Path, CommentedMap] = {}
        for rule in rules:
            path = self._where("rules", rule)
            if path is None:
                raise ConfigError(f"no file of the configuration names rules.{rule}")
            touched[path] = self._files[path]
            options = self._files[path]["rules"][rule]
            if isinstance(options["to"], list):
                options["to"].remove(sink)
            else:
                options["to"] = CommentedSeq()
        return [(path, _text(tree)) for path, tree in touched.items()]

    def _where(self, section: str, name: str) -> Path | None:
        if self._broken:
            raise ConfigError(f"{self._broken[0]} is not YAML as it is now: repair it first")
        for path, tree in self._files.items():
            entries = tree.get(section)
            if isinstance(entries, Mapping) and name in entries:
                return path
        return None

    def _place(self, section: str) -> Path:
        """For something new: the first file that has such a section, else the first."""
        return next((path for path, tree in self._files.items() if section in tree), next(iter(self._files)))


def _change(old: CommentedMap, options: Mapping[str, Any]) -> None:
    """Make a map say something else, leaving what stays the same alone, comments and style among it."""
    for key in [key for key in old if key not in options]:
        _drop(old, key)
    for key, value in options.items():
        before = old.get(key)
        if isinstance(before, CommentedMap) and isinstance(value, Mapping):
            _change(before, value)
        elif (fresh := kept(value, before)) != before or key not in old:
            old[key] = fresh


def _drop(tree: CommentedMap, key: str) -> None:
    """Delete an entry; the comments on lines of their own that follow it stay."""
    keys = list(tree)
    at = keys.index(key)
    place = _last(tree, key)
    after = _comment(*place)
    if not isinstance(place[0][place[1]], BLOCKS):
        _, _, after = after.partition("\n")  # what stands on the entry's own line goes with it
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


def _add_comment(tree: Any, key: Any, text: str) -> None:
    """More lines after an entry."""
    before = _comment(tree, key) or ("" if isinstance(tree[key], BLOCKS) else "\n")
    tree.ca.items.setdefault(key, [None] * 4)[_slot(tree)] = CommentToken(before + text, CommentMark(0), None)


def _slot(tree: Any) -> int:
    return 0 if isinstance(tree, CommentedSeq) else 2


class Replaced:
    """A file with a new text, until somebody is sure: ``undo`` brings the old one back."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._old = path.read_bytes()
        write(path, text.encode())

    def undo(self) -> None:
        write(self.path, self._old)


def write(path: Path, data: bytes) -> None:
    """Put a new text into a file: all of it or nothing, whenever the power goes. Its mode and owner stay."""
    path = path.resolve()  # a link stays one
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        before = path.stat()
        os.chmod(temporary, before.st_mode & 0o7777)
        with contextlib.suppress(PermissionError):
            os.chown(temporary, before.st_uid, before.st_gid)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _yaml() -> YAML:
    yaml = YAML()  # keeps comments, order and quotes
    yaml.preserve_quotes = True
    yaml.width = 1 << 20
    return yaml


def _text(tree: CommentedMap) -> str:
    text = io.StringIO()
    _yaml().dump(tree, text)
    return text.getvalue()
