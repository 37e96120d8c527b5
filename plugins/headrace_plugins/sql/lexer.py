"""Query text to tokens."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from headrace_plugins.sql.errors import SqlError
from headrace_plugins.sql.values import unescaped

__all__ = ["KEYWORDS", "MAX_QUERY", "Token", "is_plain_name", "tokenize"]

MAX_QUERY: Final = 65_536
_MAX_DIGITS: Final = 300  # of an integer; a float has no more either

KEYWORDS: Final = frozenset(
    [
        "AND",
        "AS",
        "CASE",
        "IF",
        "ELSE",
        "ELSIF",
        "FROM",
        "IN",
        "NOT",
        "OR",
        "SELECT",
        "WHEN",
        "THEN",
        "FOREACH",
        "INCASE",
        "END",
        "DO",
        "WHERE",
    ]
)
OPERATOR_WORDS: Final = frozenset({"div", "mod"})

Kind = Literal["keyword", "name", "quoted", "string", "int", "float", "range", "op", "end"]


class Token(NamedTuple):
    """``value``: the keyword in capitals, a name, the text of a string. ``number`` and ``ends`` of what has them."""

    kind: Kind
    value: str
    at: int
    end: int
    number: int | float = 0
    ends: tuple[int, int] = (0, 0)


_TOKEN: Final = re.compile(
    r"""
      (?P<space>   [ \t\r\n]+ )
    | (?P<comment> --[^\n]*\n )
    | (?P<string>  '[^']*(?:''[^']*)*' )
    | (?P<quoted>  "[^"]*(?:""[^"]*)*" )
    | (?P<range>   \[ [-+]?[0-9]+ \.\. [-+]?[0-9]+ \] )
    | (?P<word>    [A-Za-z][A-Za-z0-9_$@~]* )
    | (?P<float>   [0-9]+\.[0-9]+ (?:[eE][+-]?[0-9]+)? )
    | (?P<int>     [0-9]+ )
    | (?P<op>      =~ | ~= | != | <> | <= | >= | [-+*/()\[\],.=<>] )
    """,
    re.VERBOSE,
)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_$@~]*")
_ESCAPED: Final = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
# What the scanner takes as one number and then cannot read: 1.5f, 10e2. (1e3 is the integer 1 and the name e3.)
_BAD_NUMBER: Final = re.compile(r"[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?[fFdD]|[0-9]{2,}(?:[eE][+-]?[0-9]+[fFdD]?|[fFdD])")

_HINTS: Final = {
    "'": "a string begins here and never ends; a quote inside one ends it (or is written '', with escapes: true)",
    '"': "a quoted name begins here and never ends",
    "`": "quote a name with \"double quotes\", a value with 'single quotes'",
    "%": "the remainder is written a mod b; a pattern of LIKE goes in 'single quotes'",
    "||": "strings are joined with +; in a condition write OR",
    "&&": "in a condition write AND",
    "|": "there are no operators on bits; use bitor(a, b)",
    "&": "there are no operators on bits; use bitand(a, b)",
    "^": "there are no operators on bits; use bitxor(a, b)",
    ";": "a query has no semicolon at its end",
    "#": 'a topic filter goes in quotes: FROM "t/#"; a comment begins with --',
    "!": "in a condition write NOT; unequal is written != or <>",
    "?": "there are no placeholders",
    "$": "a column is named as it is, payload.a; ${…} is for sinks",
    "{": "there are no object literals; use map_put('key', value, map_new())",
    ":": "a value is named with AS: payload.a AS b",
    "_": "a name begins with a letter; quote others: \"_x\", payload.'_x'",
    **dict.fromkeys("‘’“”„«»", "a typographic quote; write ' around a value, \" around a name"),
}


def tokenize(query: str, *, comment_at_end: bool = False, escapes: bool = False) -> list[Token]:
    """All tokens, with one of kind ``end`` last. SqlError for text that is none.

    ``--`` begins a comment if a newline or a blank follows. On the last line, and directly before something else, it
    is two minus signs (``3--2``) unless ``comment_at_end``. ``escapes``: see ``parse``.
    """
    if len(query) > MAX_QUERY:
        raise SqlError.at(query, 0, f"the query is longer than {MAX_QUERY} characters")
    tokens: list[Token] = []
    length = len(query)
    pos = 0
    while pos < length:
        found = (escapes and _ESCAPED.match(query, pos)) or _TOKEN.match(query, pos)
        if found is None:
            raise _unknown(query, pos)
        kind, text, at = found.lastgroup, found[0], pos
        pos = found.end()
        if kind in ("space", "comment"):
            continue
        if text == "-" and query.startswith("--", at) and (comment_at_end or query[at + 2 : at + 3] in "- \t"):
            break  # the last line, or a newline would have made it a comment already
        if found.re is _ESCAPED:
            tokens.append(Token("string", _unescaped(query, text, at), at, pos))
        else:
            tokens.append(_token(query, kind, text, at, pos))
    tokens.append(Token("end", "", length, length))
    return tokens


def is_plain_name(text: str) -> bool:
    """Can this name stand without quotes?"""
    return _NAME.fullmatch(text) is not None and text.upper() not in KEYWORDS and text not in OPERATOR_WORDS


def _token(query: str, kind: str | None, text: str, at: int, end: int) -> Token:
    if kind == "word":
        capitals = text.upper()
        if capitals in KEYWORDS:
            return Token("keyword", capitals, at, end)
        return Token("op" if text in OPERATOR_WORDS else "name", text, at, end)
    if kind == "string":
        return Token("string", text.strip("'"), at, end)
    if kind == "quoted":
        return Token("quoted", text.strip('"'), at, end)
    if kind == "op":
        return Token("op", text, at, end)
    return _number(query, kind, text, at, end)


def _unescaped(query: str, text: str, at: int) -> str:
    try:
        return unescaped(text[1:-1].replace("''", "'"))
    except ValueError as exc:
        raise SqlError.at(query, at, str(exc), "a backslash itself is written twice") from None


def _number(query: str, kind: str | None, text: str, at: int, end: int) -> Token:
    if kind == "range":
        first, last = text[1:-1].split("..")
        if len(text) > _MAX_DIGITS:
            raise SqlError.at(query, at, "the number is too large")
        return Token("range", text, at, end, ends=(int(first), int(last)))
    if bad := _BAD_NUMBER.match(query, at):
        raise SqlError.at(query, at, f"{bad[0]} is no number", "write 1.5, 1500 or 1.5e3")
    if len(text) > _MAX_DIGITS or (kind == "float" and float(text) == float("inf")):
        raise SqlError.at(query, at, "the number is too large")
    if kind == "float":
        return Token("float", text, at, end, float(text))
    return Token("int", text, at, end, int(text))


def _unknown(query: str, pos: int) -> SqlError:
    char = query[pos]
    hint = _HINTS.get(query[pos : pos + 2]) or _HINTS.get(char, "")
    if not hint and not char.isascii():
        hint = "a name with other letters than a-z goes in quotes: payload.'größe'"
    return SqlError.at(query, pos, f"unexpected character {char!r}", hint)
