"""Strings. Positions and lengths count characters as a reader does (graphemes)."""

from __future__ import annotations

from typing import Any, Final

from headrace_plugins.sql.functions.arguments import (
    array,
    choice,
    graphemes,
    integer,
    limited,
    octets,
    one_of,
    string,
    together,
)
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.runtime import join
from headrace_plugins.sql.values import U, from_bytes, json_text, text, to_bytes, unescaped

_BLANKS: Final = " \t\n\v\f\r\x85\u200e\u200f\u2028\u2029"


@function(kind="str")
def lower(value: Any) -> str:
    """In lower-case letters."""
    text = string(value)  # each character alone: a sigma at the end of a word is like any other
    return text.lower() if text.isascii() else "".join(map(str.lower, text))


@function(kind="str")
def upper(value: Any) -> str:
    """In upper-case letters."""
    return string(value).upper()


@function(kind="str")
def trim(value: Any) -> str:
    """Without the blanks at both ends."""
    return string(value).strip(_BLANKS)


@function(kind="str")
def ltrim(value: Any) -> str:
    """Without the blanks at the beginning."""
    return string(value).lstrip(_BLANKS)


@function(kind="str")
def rtrim(value: Any, characters: Any = _BLANKS) -> str:
    """Without the blanks, or the characters of a set, at the end."""
    return string(value).rstrip(string(characters))


@function(kind="str")
def reverse(value: Any) -> str:
    """The characters from the last to the first."""
    return "".join(reversed(graphemes(string(value))))


@function(kind="str")
def rm_prefix(value: Any, prefix: Any) -> str | bytes:
    """Without a prefix, where there is one."""
    return from_bytes(to_bytes(octets(value)).removeprefix(to_bytes(octets(prefix))))


@function(kind="num")
def strlen(value: Any) -> int:
    """How many characters a reader counts."""
    return len(graphemes(string(value)))


@function(kind="str")
def substr(value: Any, start: Any, count: Any = None) -> str:
    """From a position on (0 is the first), at most ``count`` characters."""
    text = string(value)
    if integer(start) < 0 or (count is not None and integer(count) < 0):
        raise ValueError("a position or a length is not negative")
    return "".join(graphemes(text)[start : None if count is None else start + count])


_SPLITS: Final = ("notrim", "leading", "leading_notrim", "trailing", "trailing_notrim")
_SIDES: Final = ("trailing", "leading", "both")


@function(kind="list", check=one_of(2, *_SPLITS))
def split(value: Any, separator: Any, how: Any = ...) -> list[Any]:
    """The parts between separators, without empty ones unless ``…notrim``; ``leading``, ``trailing``: at one only."""
    text, mark = string(value), string(separator)
    how = "" if how is ... else choice(how, *_SPLITS)
    if not mark:
        parts = [text]
    elif how.startswith("leading"):
        parts = text.split(mark, 1)
    elif how.startswith("trailing"):
        parts = text.rsplit(mark, 1)
    else:
        parts = text.split(mark)
    return parts if how.endswith("notrim") else [part for part in parts if part]


@function(kind="list", check=one_of(2, "nocrlf"))
def tokens(value: Any, separators: Any, nocrlf: Any = ...) -> list[Any]:
    """The parts between any of some characters, without empty ones."""
    (text, marks), back = together(value, separators)
    if nocrlf is not ...:
        choice(nocrlf, "nocrlf")
        marks += "\r\n"
    if not marks:
        return [back(text)] if text else []
    table = dict.fromkeys(map(ord, marks), marks[0])
    return [back(part) for part in text.translate(table).split(marks[0]) if part]


@function(kind="str")
def concat(value: Any, other: Any = ...) -> str | bytes:
    """The texts of two values, or of all elements of an array, as one."""
    return join(*array(value)) if other is ... else join(value, other)


@function(kind="str", check=one_of(2, *_SIDES))
def pad(value: Any, width: Any, side: Any = "trailing", filler: Any = " ") -> str:
    """Filled up to a width, at the end, the beginning or both."""
    text, fill = string(value), string(filler)
    choice(side, *_SIDES)
    missing = max(0, integer(width) - len(graphemes(text)))
    limited(len(text) + missing * len(fill))
    before = {"leading": missing, "both": missing // 2}.get(side, 0)
    return fill * before + text + fill * (missing - before)


@function(kind="str", check=one_of(3, "all", "leading", "trailing"))
def replace(value: Any, pattern: Any, replacement: Any, which: Any = "all") -> str:
    """With a text in place of another: everywhere, or at the first or last place."""
    text, old, new = string(value), string(pattern), string(replacement)
    choice(which, "all", "leading", "trailing")
    if not old:
        return text
    if which == "trailing":
        before, found, after = text.rpartition(old)
        return before + new + after if found else text
    count = text.count(old) if which == "all" else 1
    limited(len(text) + count * max(0, len(new) - len(old)))
    return text.replace(old, new, count)


@function(kind="num")
def ascii_(value: Any) -> int:
    """The first byte."""
    data = to_bytes(octets(value))
    if not data:
        raise ValueError("the string is empty")
    return data[0]


@function(kind="str", check=one_of(2, "leading", "trailing"))
def find(value: Any, pattern: Any, side: Any = "leading") -> str:
    """The rest of the text from the first or last place of a pattern; empty if there is none."""
    text, mark = string(value), string(pattern)
    choice(side, "leading", "trailing")
    if not mark:
        return text
    at = text.find(mark) if side == "leading" else text.rfind(mark)
    return text[at:] if at >= 0 else ""


@function(kind="str")
def join_to_string(separator: Any, values: Any = ...) -> str | bytes:
    """The texts of all elements with a separator between; ``join_to_string(values)`` takes comma and blank."""
    if values is ...:
        separator, values = ", ", separator
    mark = text(octets(separator))
    between = [part for value in array(values) for part in (mark, value)]
    return join(*between[1:])


@function(kind="str")
def join_to_sql_values_string(values: Any) -> str:
    """The elements as SQL literals, with commas between."""
    return ", ".join(map(_sql_literal, array(values)))


def _sql_literal(value: Any) -> str:
    if value is U:
        return "NULL"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(text(value))
    shown = json_text(value) if isinstance(value, list | dict) else text(value)
    quoted = string(shown).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"


@function(kind="str")
def unescape(value: Any) -> str:
    r"""With ``\n``, ``\x1F600`` and the like in place of what they stand for."""
    return unescaped(string(value))
