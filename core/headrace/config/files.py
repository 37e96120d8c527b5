"""Which files make a configuration, and how they become one tree: include, merge, ``--set``."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from headrace.config.problems import Mark, Problems, Text
from headrace.config.substitute import substitute
from headrace.config.tree import Node, parse, parse_scalar

__all__ = ["SECTIONS", "expand", "read"]

MAX_FILE = 10 << 20
MAX_FILES = 1_000
SECTIONS = ("sources", "connectors", "rules", "sinks", "stream", "api", "plugins")
"""Top-level maps: several files may each give a part of one."""
_SUFFIXES = (".yaml", ".yml", ".json")


def read(
    paths: Sequence[Path | str],
    overrides: Sequence[str],
    environ: Mapping[str, str],
    problems: Problems,
    patterns: list[str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Node:
    """One tree of all the files, what they include, and the overrides, with placeholders filled in.

    ``patterns`` is given what was asked for and included: a file that is new there belongs to the configuration.
    ``texts``: what to take for the contents of a file, by its path.
    """
    start = Mark(Text(str(paths[0]) if paths else "configuration", ""), 1, 1)
    files = _Files(environ, problems, texts or {})
    for path in paths:
        files.add(str(path), start)
    if patterns is not None:
        patterns += files.patterns
    root = Node(files.merged, files.start or start, files.start or start)
    for override in overrides:
        _override(root, override, environ, problems)
    return root


class _Files:
    def __init__(self, environ: Mapping[str, str], problems: Problems, texts: Mapping[str, str]) -> None:
        self.merged: dict[str, Node] = {}
        self.start: Mark | None = None
        self.patterns: list[str] = []
        self._environ = environ
        self._problems = problems
        self._texts = texts
        self._seen: set[str] = set()

    def add(self, pattern: str, asked: Mark) -> None:
        self.patterns.append(pattern)
        found = list(expand(pattern))
        if not found:
            self._problems.error(asked, f"no such file or directory: {pattern}")
        for path in found:
            real = os.path.realpath(path)
            if real in self._seen:  # twice by way of two includes, or round in a circle: once is enough
                continue
            self._seen.add(real)
            if len(self._seen) > MAX_FILES:
                self._problems.error(asked, f"more than {MAX_FILES:,} files")
                return
            self._read(path, asked)

    def _read(self, path: str, asked: Mark) -> None:
        text = self._load(path, asked)
        if text is None:
            return
        self.start = self.start or Mark(text, 1, 1)
        tree = parse(text, self._problems)
        if tree is None:
            return
        if not tree.is_map:
            self._problems.error(tree.mark, "a configuration is a map of sections: sources, rules, sinks, …")
            return
        substitute(tree, self._environ, self._problems)
        include = tree.value.pop("include", None)
        self._merge(tree.value)
        if include is not None:
            self._include(include, os.path.dirname(path))

    def _load(self, path: str, asked: Mark) -> Text | None:
        try:
            data = self._bytes(path)
            if len(data) > MAX_FILE:
                raise ValueError("larger than 10 MB")
            return Text(path, data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n"))
        except UnicodeDecodeError as exc:
            self._problems.error(asked, f"{path} is not UTF-8 text (byte {exc.start})")
        except OSError as exc:
            self._problems.error(asked, f"cannot read {path}: {exc.strerror}")
        except ValueError as exc:
            self._problems.error(asked, f"{path}: {exc}")
        return None

    def _bytes(self, path: str) -> bytes:
        if (text := self._texts.get(path)) is not None:
            return text.encode("utf-8", "surrogatepass")
        with open(path, "rb") as file:
            return file.read(MAX_FILE + 1)

    def _include(self, include: Node, directory: str) -> None:
        for each in include.value if isinstance(include.value, list) else [include]:
            if isinstance(each.value, str):
                self.add(os.path.join(directory, each.value), each.mark)
            else:
                self._problems.error(each.mark, "include takes a path, or a list of paths")

    def _merge(self, tree: dict[str, Node]) -> None:
        for key, node in tree.items():
            known = self.merged.get(key)
            if known is None:
                self.merged[key] = node
            elif key in SECTIONS and known.is_map and node.is_map:
                for name, entry in node.value.items():
                    first = known.value.setdefault(name, entry)
                    if first is not entry:
                        self._twice(entry.key, f"{key}.{name}", first.key)
            else:
                self._twice(node.key, key, known.key)

    def _twice(self, mark: Mark, name: str, first: Mark) -> None:
        self._problems.error(mark, f"{name!r} is here twice; the first is in {first}")


def expand(pattern: str) -> Iterator[str]:
    """The files that a path, a directory or a pattern means now."""
    if os.path.isdir(pattern):
        try:
            inside = sorted(os.listdir(pattern))
        except OSError:  # it may be gone by now, or not ours to look into
            inside = []
        yield from (os.path.join(pattern, name) for name in inside if name.endswith(_SUFFIXES) and name[0] != ".")
    elif os.path.exists(pattern):
        yield pattern
    else:
        yield from sorted(glob.glob(pattern, recursive=True))


def _override(root: Node, override: str, environ: Mapping[str, str], problems: Problems) -> None:
    """``sinks.api.url=…``: set one value, whatever the files say."""
    path, equals, value = override.partition("=")
    text = Text("--set", override)
    steps = path.split(".")
    if not equals or not all(steps):
        problems.error(Mark(text, 1, 1), "write --set section.name.option=value")
        return
    mark = Mark(text, 1, len(path) + 2)
    node = _override_value(value, mark, text, problems)
    if node is None:
        return
    substitute(node, environ, problems)
    at = root
    for i, step in enumerate(steps):
        child = node if i == len(steps) - 1 else None
        following = _step(at, step, child, mark)
        if following is None:
            problems.error(Mark(text, 1, 1), f"{'.'.join(steps[:i]) or 'the configuration'} has no {step!r} to go into")
            return
        at = following


def _step(at: Node, step: str, put: Node | None, mark: Mark) -> Node | None:
    """Go to (or put in) one step of a path; maps are made on the way, items of a list must be there."""
    if at.value is None:
        at.value = {}
    index = int(step) if isinstance(at.value, list) and step.isascii() and step.isdigit() else step
    node = put or at.child(index)
    if isinstance(at.value, dict):
        node = at.value[step] = node or Node({}, mark, mark)
    elif isinstance(index, int) and index < len(at.value):
        at.value[index] = node
    else:
        return None
    return node


def _override_value(value: str, mark: Mark, text: Text, problems: Problems) -> Node | None:
    if value[:1] not in ("[", "{", '"', "'"):
        return Node(parse_scalar(value) if value else "", mark, mark)
    alone = Text(text.name, " " * (mark.column - 1) + value)
    alone.lines = text.lines  # errors show the whole override
    node = parse(alone, problems)
    return None if node is None else Node(node.value, mark, mark)
