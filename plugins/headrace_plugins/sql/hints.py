"""What to do about an error: the mistakes people make who know another SQL, EMQX's docs by half, or JavaScript."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from headrace_plugins.sql.lexer import KEYWORDS, Token

__all__ = ["COMPARISONS", "INDEX_HINT", "hint_for"]

COMPARISONS: Final = frozenset({"=", "=~", "~=", "!=", "<>", "<", ">", "<=", ">="})
INDEX_HINT: Final = "an index is a number from 1 or a name; to compute one use nth(1 + 1, list)"
_TOPIC: Final = 'a topic filter goes in quotes: FROM "t/#"'
_ONE_EVENT: Final = "rule SQL looks at one event at a time: it has no {}"
_NAMED: Final = {
    "SELECT": "there are no sub-selects, and one query has one SELECT",
    "IF": "a choice is written: CASE WHEN a > 1 THEN 'high' ELSE 'low' END",
    "CASE": "a CASE is a whole field or an argument of a function; wrap it: coalesce(CASE … END, null())",
    "THEN": "without a value after CASE, WHEN comes first: CASE WHEN a = 1 THEN 'one' END",
    "DO": "DO comes before INCASE",
    "INCASE": "INCASE comes after DO and before FROM",
}
_OTHER_SQL: Final = ("GROUP", "ORDER", "LIMIT", "HAVING", "UNION", "JOIN")
_STATEMENTS: Final = ("INSERT", "UPDATE", "DELETE", "CREATE", "WITH")
_TESTS: Final = ("LIKE", "IS", "BETWEEN")


def hint_for(tokens: Sequence[Token], index: int, expected: str) -> str:
    """A hint for the token at ``index``, in whose place ``expected`` should be; empty if there is none."""
    now, before = tokens[index], tokens[index - 1] if index else None
    if now.kind == "keyword":
        return _of_keyword(now, before, expected)
    if now.kind == "name":
        return _of_name(now, before, expected)
    if now.kind == "op":
        return _of_operator(now, before, expected)
    return _of_other(now, before, expected)


def _of_keyword(now: Token, before: Token | None, expected: str) -> str:
    word = now.value
    last = before.value if before is not None else ""
    if last == "," and word in ("FROM", "WHERE", "DO", "INCASE"):
        return f"there is a comma too many before {word}"
    if last == "." and before is not None and before.end == now.at:
        return f"{word} is a reserved word; as a key it goes in quotes: payload.'{word.lower()}'"
    if (last == "AS" and word not in ("FROM", "WHERE")) or (expected == "a value" and word in ("END", "ELSE", "ELSIF")):
        return f'{word} is a reserved word; as a name it goes in double quotes: "{word.lower()}"'
    if word in ("AND", "OR", "NOT", "IN") and "condition" not in expected:
        return f"{word} is for conditions only; in a value use CASE WHEN … THEN true ELSE false END"
    if word == "WHERE" and "FROM" in expected:
        return "FROM comes before WHERE"
    if word == "AS" and "FROM" not in expected:
        return "only a field of SELECT, FOREACH or DO can be named"
    return _NAMED.get(word, "")


def _of_name(now: Token, before: Token | None, expected: str) -> str:
    word = now.value.upper()
    if word in _OTHER_SQL:
        return _ONE_EVENT.format(word)
    if expected.startswith("SELECT") and word in _STATEMENTS:
        return "a rule only reads events; what is done with its rows is the business of sinks"
    if before is not None and before.kind == "name" and before.value.upper() in _TESTS and "FROM" in expected:
        return f"{before.value.upper()} is for conditions only; in a value use CASE WHEN … THEN true ELSE false END"
    likely = [keyword for keyword in sorted(KEYWORDS) if keyword in expected]
    near = difflib.get_close_matches(word, likely, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    if expected.startswith("NULL"):
        return "IS is followed by NULL or NOT NULL; for values use ="
    if "AND, OR" in expected or expected == "an operator":
        return "conditions are joined by AND or OR"
    return ""


def _of_operator(now: Token, before: Token | None, expected: str) -> str:
    op, last = now.value, before.value if before is not None else ""
    if op == "=" and last in COMPARISONS:
        return "equality is written with one ="
    if last == "=" and op in ("<", ">"):
        return f"it is written {op}="
    if last == "-" and op == ">":
        return "a key follows a dot: payload.a"
    if (last == "/" and op in ("*", "/")) or (last == "(" and op == "*"):
        return "a comment begins with --" if last == "/" else _ONE_EVENT.format("aggregates")
    if expected == "a topic filter" or (op in ("/", ".") and "WHERE" in expected):
        return "there are no sub-selects" if op == "(" else _TOPIC
    if expected.startswith("'('"):
        return "the values go in parentheses: a IN (1, 2)"
    if op == "." and before is not None and before.kind == "range":
        return "nothing follows a slice; nth(1, list[2..3]) takes an element of it"
    if op == "." and before is not None and before.kind not in ("name", "quoted") and "key" not in expected:
        if expected == "',' or ']'":
            return "a range has no blanks and two ends: [1..5]"
        return "a number begins and ends with a digit: 0.5, 1.0"
    if op in COMPARISONS:
        return "a comparison in parentheses, or two in a row, is no value"
    return ""


def _of_other(now: Token, before: Token | None, expected: str) -> str:
    last = before.value.upper() if before is not None else ""
    if now.kind == "float" and last == ".":
        return "as keys, numbers go in quotes here: payload.'1'.'5'"
    if now.kind == "quoted" and "WHERE" in expected:
        return "several topics are separated by commas"
    if now.kind == "string" and last == "AS":
        return f'a name goes in double quotes, or in none: AS "{now.value}"'
    if last in _TESTS and "FROM" in expected:
        return f"{last} is for conditions only; in a value use CASE WHEN … THEN true ELSE false END"
    if expected.startswith("'('"):
        return "the values go in parentheses: a IN (1, 2)"
    if expected.startswith("NULL"):
        return "IS is followed by NULL or NOT NULL; for values use ="
    return ""
