"""The place in the tokens, and the errors that are found there."""

from __future__ import annotations

from typing import Final

from headrace_plugins.sql.errors import SqlError
from headrace_plugins.sql.hints import hint_for
from headrace_plugins.sql.lexer import Token

__all__ = ["MAX_DEPTH", "Cursor"]

MAX_DEPTH: Final = 40


class Cursor:
    """Where the parser is in the tokens, and how it says what is wrong there."""

    def __init__(self, text: str, tokens: list[Token], strict: bool) -> None:
        self.text = text
        self.strict = strict
        self.tokens = tokens
        self.index = 0
        self.depth = 0
        self.ranged = 0  # numbers in all ranges
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
        hint = hint or hint_for(self.tokens, self.index, expected)
        return self.error(token.at, f"found {found}, expected {expected}", hint)

    def unclosed(self, expected: str, opening: Token) -> SqlError:
        """Something else than what would close ``opening``."""
        hint = hint_for(self.tokens, self.index, expected)
        if not hint and (self.now.kind == "end" or self.at_keyword("FROM")):
            line, column = self.text.count("\n", 0, opening.at) + 1, opening.at - self.text.rfind("\n", 0, opening.at)
            hint = f"the {opening.value} at line {line}, column {column} is never closed"
        return self.unexpected(expected, hint)

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(self.now.at, f"nested more than {MAX_DEPTH} levels deep")
