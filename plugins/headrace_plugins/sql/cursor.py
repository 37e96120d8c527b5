"""The place in the tokens, and error messages with hints."""

from __future__ import annotations

from typing import Final

from headrace_plugins.sql.errors import SqlError
from headrace_plugins.sql.lexer import Token

__all__ = ["COMPARISONS", "INDEX_HINT", "MAX_DEPTH", "Cursor"]

MAX_DEPTH: Final = 40
COMPARISONS: Final = frozenset({"=", "=~", "~=", "!=", "<>", "<", ">", "<=", ">="})
INDEX_HINT: Final = "an index is a number from 1 or a name; to compute one use nth(1 + 1, list)"


class Cursor:
    """Where the parser is in the tokens, and how it says what is wrong there."""

    def __init__(self, text: str, tokens: list[Token], strict: bool) -> None:
        self.text = text
        self.strict = strict
        self.tokens = tokens
        self.index = 0
        self.depth = 0
        self.seen_where = False

    # -- the cursor

    @property
    def now(self) -> Token:
        return self.tokens[self.index]

    @property
    def previous_end(self) -> int:
        return self.tokens[self.index - 1].end

    def advance(self) -> Token:
        token = self.tokens[self.index]
        self.index += 1
        return token

    def at_keyword(self, word: str) -> bool:
        return self.now.kind == "keyword" and self.now.value == word

    def take_keyword(self, word: str) -> bool:
        found = self.at_keyword(word)
        self.index += found
        return found

    def take_word(self, word: str) -> bool:
        """A word that means something in this place only, and is a plain name elsewhere. EMQX has none."""
        token = self.now
        found = not self.strict and token.kind == "name" and token.value.upper() == word
        self.index += found
        return found

    def at_op(self, *ops: str) -> bool:
        return self.now.kind == "op" and self.now.value in ops

    def take_op(self, op: str) -> bool:
        found = self.at_op(op)
        self.index += found
        return found

    def need_op(self, op: str, expected: str = "", hint: str = "") -> None:
        if not self.take_op(op):
            raise self.unexpected(expected or f"'{op}'", hint)

    def need_keyword(self, word: str, expected: str = "") -> None:
        if not self.take_keyword(word):
            raise self.unexpected(expected or word)

    # -- errors

    def error(self, at: int, message: str, hint: str = "") -> SqlError:
        return SqlError.at(self.text, at, message, hint)

    def unexpected(self, expected: str, hint: str = "") -> SqlError:
        token = self.now
        found = "the end of the query" if token.kind == "end" else self.text[token.at : token.end]
        if len(found) > 40:
            found = found[:37] + "…"
        if not hint:
            hint = self.hint(token)
        return self.error(token.at, f"found {found}, expected {expected}", hint)

    def hint(self, token: Token) -> str:
        before = self.tokens[self.index - 1] if self.index else None
        if token.kind == "op" and token.value == "=" and before is not None and before.value in COMPARISONS:
            return "equality is written with one ="
        if token.kind == "keyword" and before is not None and before.kind == "op" and before.value in (".", ",", "["):
            return f"{token.value} is a reserved word; as a key it goes in quotes: payload.'{token.value.lower()}'"
        if token.kind == "float" and before is not None and before.value == ".":
            return "as keys, numbers go in quotes here: payload.'1'.'5'"
        return ""

    def hint_in_fields(self) -> str:
        if self.now.kind == "keyword" and self.now.value in ("AND", "OR", "NOT", "IN"):
            return f"{self.now.value} is for conditions only; in a value use CASE WHEN … THEN true ELSE false END"
        if self.now.kind == "op" and self.now.value in COMPARISONS:
            return "a comparison in parentheses, or two in a row, is no value"
        return self.hint(self.now)

    def hint_for_value(self, token: Token) -> str:
        if token.kind == "keyword" and token.value == "CASE":
            return "a CASE is a whole field or an argument of a function; wrap it: coalesce(CASE … END, null())"
        return self.hint(token) or self.hint_in_fields()

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(self.now.at, f"nested more than {MAX_DEPTH} levels deep")
