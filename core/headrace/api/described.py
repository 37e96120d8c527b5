"""What each call of the API takes and gives, said beside its handler; its summary is the handler's docstring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

__all__ = [
    "ARRAY", "BOOLEAN", "OBJECT", "STRING", "STRINGS", "Says", "Schema", "number", "one_of", "said", "says", "sent",
]  # fmt: skip

Schema = Mapping[str, Any]
Part = Literal["named part", "part"]
STRING: Final[Schema] = {"type": "string"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
OBJECT: Final[Schema] = {"type": "object"}
ARRAY: Final[Schema] = {"type": "array"}
STRINGS: Final[Schema] = {"type": "array", "items": STRING}
_Call = TypeVar("_Call", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True)
class Says:
    """``body`` is a schema, or stands for the options of a part of that kind, from its model."""

    status: int = 200
    gives: Schema | None = field(default_factory=lambda: OBJECT)
    media: str = "application/json"
    query: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the answer, and what each says."""
    body: Schema | Part | None = None
    also: Mapping[int, str] = field(default_factory=dict)
    """Other answers of that media type."""


def says(**facts: Any) -> Callable[[_Call], _Call]:
    """Give a handler its ``Says``."""

    def mark(call: _Call) -> _Call:
        call.__dict__["says"] = Says(**facts)
        return call

    return mark


def said(call: Callable[..., Any]) -> Says:
    """What a handler takes and gives; ``functools.wraps`` hands it on."""
    found: Says = call.__dict__.get("says") or Says()
    return found


def sent(*required: str, **properties: Schema) -> Schema:
    """An object with these entries."""
    return {"type": "object", "properties": properties, "required": list(required)}


def number(low: int, high: int, usual: int | None = None) -> Schema:
    """A whole number within bounds, and what it is if nobody says."""
    return {"type": "integer", "minimum": low, "maximum": high, **({} if usual is None else {"default": usual})}


def one_of(*words: str) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(words)}
