"""What functions expect of their arguments, and what they say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import regex

from headrace_plugins.sql.values import MAX_BYTES, describe, from_bytes, is_number, to_bytes

__all__ = [
    "array",
    "choice",
    "from_one",
    "graphemes",
    "integer",
    "limited",
    "number",
    "octets",
    "one_of",
    "string",
    "together",
]


def octets(value: Any) -> str | bytes:
    """A string, UTF-8 or not; booleans pass as their names."""
    if isinstance(value, str | bytes):
        return value
    if type(value) is bool:
        return "true" if value else "false"
    raise ValueError(f"expected a string, not {describe(value)}")


def string(value: Any) -> str:
    """A string of characters; booleans pass as their names."""
    text = octets(value)
    if isinstance(text, str):
        return text
    raise ValueError("expected a string, not bytes that are not UTF-8")


def together(*values: Any) -> tuple[list[str], Callable[[str], str | bytes]]:
    """Strings that are compared with each other, and what makes a result of them a string again.

    If one is not UTF-8, a byte of each counts as a character.
    """
    texts = [octets(value) for value in values]
    if any(isinstance(text, bytes) for text in texts):
        return [to_bytes(text).decode("latin-1") for text in texts], lambda text: from_bytes(text.encode("latin-1"))
    return texts, lambda text: text  # type: ignore[return-value]  # all are str


def integer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"expected an integer, not {describe(value)}")
    return value


def number(value: Any) -> int | float:
    if not is_number(value):
        raise ValueError(f"expected a number, not {describe(value)}")
    return value  # type: ignore[no-any-return]  # is_number


def array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected an array, not {describe(value)}")
    return value


def choice(value: Any, *words: str) -> str:
    """One of a few words."""
    if value in words and isinstance(value, str):
        return value
    raise ValueError(f"expected one of {', '.join(words)}, not {describe(value)}")


def limited(size: int) -> int:
    """The size a result will have, if that is bearable."""
    if size > MAX_BYTES:
        raise ValueError(f"the result would be longer than {MAX_BYTES} bytes")
    return size


def graphemes(text: str) -> list[str]:
    """The characters as a reader counts them: letter and accent are one, CR LF is one."""
    if text.isascii() and "\r\n" not in text:
        return list(text)
    return regex.findall(r"\X", text)


# -- of literals, when the query is read


def one_of(at: int, *words: str) -> Callable[[dict[int, Any]], None]:
    """A check: the argument at this position is one of a few words."""

    def check(literals: dict[int, Any]) -> None:
        if at in literals:
            choice(literals[at], *words)

    return check


def from_one(literals: dict[int, Any]) -> None:
    """A check: the first argument is a position, and the first position is 1."""
    if 0 in literals and integer(literals[0]) < 1:
        raise ValueError("positions count from 1")
