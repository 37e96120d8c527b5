"""Regular expressions: Perl's dialect, on characters; ``\\w``, ``\\d`` and ``\\s`` are ASCII.

On a text that is not UTF-8, the bytes are the characters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import regex

from headrace_plugins.sql.functions.arguments import limited, together
from headrace_plugins.sql.functions.base import function

_SECONDS: Final = 0.25
"""How long one match may take: some patterns need exponential time on some texts."""


# Perl's escapes that the package spells otherwise.
_ESCAPE: Final = regex.compile(r"\\Q(.*?)(?:\\E|\Z)|\\x\{([0-9A-Fa-f]{1,6})\}|\\(.)", regex.DOTALL)
_ESCAPES: Final = {
    "Z": r"(?=\n?\Z)",
    "z": r"\Z",
    "e": r"\x1b",
    "v": r"[\n-\r\x85]",
    "V": r"[^\n-\r\x85]",
    "H": r"[^\t \xa0]",
}


def _ours(found: regex.Match[str]) -> str:
    quoted, code, letter = found.groups()
    if quoted is not None:
        return regex.escape(quoted)
    return f"\\U{int(code, 16):08x}" if code else _ESCAPES.get(letter, found[0])


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> regex.Pattern[str]:
    if len(pattern) > 10_000:
        raise ValueError("the pattern is longer than 10000 characters")
    try:
        return regex.compile(_ESCAPE.sub(_ours, pattern), regex.ASCII)
    except (regex.error, OverflowError, RecursionError) as exc:
        raise ValueError(f"{pattern!r} is no regular expression: {exc}") from None


def _check(literals: dict[int, Any]) -> None:
    if isinstance(literals.get(1), str):
        _compiled(literals[1])


def _search(text: str, pattern: str) -> regex.Match[str] | None:
    try:
        return _compiled(pattern).search(text, timeout=_SECONDS)
    except TimeoutError:
        raise ValueError(f"{pattern!r} takes more than {_SECONDS} s on this text") from None


@function(kind="bool", check=_check)
def regex_match(value: Any, pattern: Any) -> bool:
    """Is there a match anywhere?"""
    (text, ours), _ = together(value, pattern)
    return _search(text, ours) is not None


@function(kind="list", check=_check)
def regex_extract(value: Any, pattern: Any) -> list[Any]:
    """The groups of the first match; groups at the end that did not take part are left out."""
    (text, ours), back = together(value, pattern)
    found = _search(text, ours)
    groups = list(found.groups()) if found else []
    while groups and groups[-1] is None:
        groups.pop()
    return [back(group or "") for group in groups]


_REFERENCE: Final = regex.compile(r"\\([1-9][0-9]*)|\\g\{?([0-9]+)\}?|\\(.)|(&)", regex.DOTALL)


@lru_cache(maxsize=1000)
def _template(replacement: str) -> tuple[str | int, ...]:
    """Texts and numbers of groups."""
    parts: list[str | int] = []
    end = 0
    for found in _REFERENCE.finditer(replacement):
        number, named, escaped, _ = found.groups()
        parts += [replacement[end : found.start()], escaped or int(number or named or 0)]
        end = found.end()
    return (*parts, replacement[end:])


@function(kind="str", check=_check)
def regex_replace(value: Any, pattern: Any, replacement: Any) -> str | bytes:
    r"""With every match replaced; ``\1`` is the first group, ``&`` the whole match, ``\&`` that sign."""
    (text, ours, with_), back = together(value, pattern, replacement)
    compiled, template = _compiled(ours), _template(with_)
    size = len(text)

    def expand(found: regex.Match[str]) -> str:
        nonlocal size
        groups = [found[0], *found.groups()]
        new = "".join(
            part if isinstance(part, str) else (groups[part] or "") if part < len(groups) else "" for part in template
        )
        size = limited(size + len(new))
        return new

    try:
        return back(compiled.sub(expand, text, timeout=_SECONDS))
    except TimeoutError:
        raise ValueError(f"{pattern!r} takes more than {_SECONDS} s on this text") from None
