"""``${env:X}`` and ``${file:/path}``, put into the tree after parsing: what is put in is never parsed again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from headrace.config.problems import Mark, Problems, Text, suggest
from headrace.config.tree import Node, inside

__all__ = ["meaning", "substitute"]

MAX_FILE = 1 << 20
_PLACEHOLDER = re.compile(r"(\$?)\$\{(env|file):([^}]*)\}")


def substitute(node: Node, environ: Mapping[str, str], problems: Problems) -> None:
    """Replace placeholders in every text of the tree, in place. ``$${env:X}`` stands for ``${env:X}`` itself."""
    if isinstance(node.value, dict):
        for child in node.value.values():
            substitute(child, environ, problems)
    elif isinstance(node.value, list):
        for child in node.value:
            substitute(child, environ, problems)
    elif isinstance(node.value, str) and "${" in node.value:
        _text(node, environ, problems)


def meaning(text: str, environ: Mapping[str, str]) -> str:
    """The text with its placeholders filled in; as it is if one of them stands for nothing."""
    start = Mark(Text("", text), 1, 1)
    node, problems = Node(text, start, start), Problems()
    substitute(node, environ, problems)
    return text if problems.sorted() else str(node.value)


def _text(node: Node, environ: Mapping[str, str], problems: Problems) -> None:
    def value(found: re.Match[str]) -> str:
        escape, kind, body = found.groups()
        if escape:
            return found[0][1:]
        try:
            return _env(body, environ) if kind == "env" else _file(body)
        except ValueError as exc:
            before = found.string[: found.start()]
            mark = inside(node, before.count("\n") + 1, len(before) - before.rfind("\n"))
            problems.error(mark, str(exc))
            return ""

    text = _PLACEHOLDER.sub(value, node.value)
    if text != node.value:
        node.value, node.span = text, (0, 0)


def _env(body: str, environ: Mapping[str, str]) -> str:
    name, colon, rest = body.partition(":")
    if not re.fullmatch(r"[A-Za-z_]\w*", name) or (colon and rest[:1] not in ("-", "?")):
        raise ValueError(f"write ${{env:NAME}}, ${{env:NAME:-default}} or ${{env:NAME:?message}}, not ${{env:{body}}}")
    value = environ.get(name)
    if rest[:1] == "-":
        return value or rest[1:]  # as in the shell: an empty variable takes the default too
    if rest[:1] == "?" and not value:
        raise ValueError(f"{name}: {rest[1:] or 'must be set'}")
    if value is None:
        near = suggest(name, environ)
        raise ValueError(f"the environment variable {name!r} is not set{near}; a default is written ${{env:{name}:-…}}")
    return value


def _file(body: str) -> str:
    path = Path(body)
    if not path.is_absolute():
        raise ValueError(f"${{file:…}} needs an absolute path, not {body!r}")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ValueError(f"{body} is larger than 1 MB")
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{body} is not UTF-8 text") from None
    except OSError as exc:
        raise ValueError(f"cannot read {body}: {exc.strerror}") from None
