"""What a query is made of. ``at``: where it begins in the text, for messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = [
    "EXACT",
    "HEAD",
    "TAIL",
    "And",
    "Between",
    "Binary",
    "By",
    "Call",
    "Case",
    "Compare",
    "Condition",
    "End",
    "Expr",
    "Field",
    "Foreach",
    "In",
    "IsNull",
    "Like",
    "ListOf",
    "Literal",
    "Not",
    "Or",
    "Path",
    "Query",
    "Range",
    "Select",
    "Slice",
    "Step",
    "Topic",
    "Unary",
    "children",
    "walk",
]


@dataclass(frozen=True, slots=True)
class End:
    """The index ``[0]`` or ``[-0]``: as a target, before the first or after the last element; nothing to read."""

    name: str


EXACT: Final = ("$bridges/", "$sources/")
HEAD: Final = End("head")
TAIL: Final = End("tail")


@dataclass(frozen=True, slots=True)
class By:
    """An index that is the value of a path: ``a[i]``."""

    path: Path


Step: TypeAlias = str | int | End | By
"""A key, an index from 1 (or from the end: -1), an end, or an index by path."""


@dataclass(frozen=True, slots=True)
class Path:
    """A column, or something below it: ``topic``, ``payload.a[1]``."""

    root: str
    steps: tuple[Step, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | float | bool
    at: int


@dataclass(frozen=True, slots=True)
class Range:
    """``[1..5]``"""

    first: int
    last: int
    at: int


@dataclass(frozen=True, slots=True)
class Slice:
    """``path[1..5]``"""

    path: Path
    first: int
    last: int
    at: int


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Expr, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Unary:
    op: str
    operand: Expr
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    left: Expr
    right: Expr
    at: int


@dataclass(frozen=True, slots=True)
class Compare:
    op: str
    left: Expr
    right: Expr
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Expr, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Case:
    """``subject`` is None for ``CASE WHEN condition``; a missing ELSE is None."""

    subject: Expr | None
    whens: tuple[tuple[Expr, Expr], ...]
    default: Expr | None
    at: int


@dataclass(frozen=True, slots=True)
class And:
    items: tuple[Expr, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Or:
    items: tuple[Expr, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expr
    at: int


@dataclass(frozen=True, slots=True)
class In:
    operand: Expr
    members: tuple[Expr, ...]
    at: int


@dataclass(frozen=True, slots=True)
class IsNull:
    """``x IS NULL``: undefined, or JSON's null."""

    operand: Expr
    at: int


@dataclass(frozen=True, slots=True)
class Between:
    operand: Expr
    low: Expr
    high: Expr
    at: int


@dataclass(frozen=True, slots=True)
class Like:
    operand: Expr
    pattern: Expr
    at: int


Condition: TypeAlias = And | Or | Not | In | IsNull | Between | Like
"""What stands in conditions only. (A comparison is also a value.)"""
Expr: TypeAlias = Path | Literal | Range | Slice | ListOf | Unary | Binary | Compare | Call | Case | Condition


@dataclass(frozen=True, slots=True)
class Field:
    """One of a field list. ``expr`` is None for ``*``; ``text`` is the expression as it was written."""

    expr: Expr | None
    target: Path | None
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Topic:
    """One entry of FROM: a topic filter, and its named levels (name and position)."""

    filter: str
    names: tuple[tuple[str, int], ...]
    at: int

    @property
    def exact(self) -> bool:
        """Is it the name of messages from another system, which is compared as it is?"""
        return self.filter.startswith(EXACT)

    @property
    def wild(self) -> bool:
        return not {"+", "#"}.isdisjoint(self.filter.split("/"))


@dataclass(frozen=True, slots=True)
class Select:
    fields: tuple[Field, ...]
    topics: tuple[Topic, ...]
    where: Expr | None


@dataclass(frozen=True, slots=True)
class Foreach:
    """``do`` is empty where the query has no DO."""

    fields: tuple[Field, ...]
    do: tuple[Field, ...]
    incase: Expr | None
    topics: tuple[Topic, ...]
    where: Expr | None


Query: TypeAlias = Select | Foreach


def children(expr: Expr) -> Iterator[Expr]:
    """The expressions directly below one, left to right."""
    match expr:
        case Unary(_, operand) | Not(operand) | IsNull(operand):
            yield operand
        case Binary(_, left, right) | Compare(_, left, right) | Like(left, right):
            yield left
            yield right
        case ListOf(items) | And(items) | Or(items):
            yield from items
        case Call(_, args):
            yield from args
        case In(operand, members):
            yield operand
            yield from members
        case Between(operand, low, high):
            yield from (operand, low, high)
        case Slice(path):
            yield path
        case Case(subject, whens, default):
            if subject is not None:
                yield subject
            for condition, value in whens:
                yield condition
                yield value
            if default is not None:
                yield default


def walk(expr: Expr) -> Iterator[Expr]:
    """An expression and everything below it, without recursion."""
    todo = [expr]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(children(node))
