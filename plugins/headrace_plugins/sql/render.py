"""Expressions back to SQL, for people."""

from __future__ import annotations

import re

from headrace_plugins.sql.lexer import is_plain_name
from headrace_plugins.sql.nodes import (
    And,
    Between,
    Binary,
    By,
    Call,
    Case,
    Compare,
    End,
    Expr,
    In,
    IsNull,
    Like,
    ListOf,
    Literal,
    Not,
    Or,
    Path,
    Range,
    Slice,
    Step,
    Unary,
)

__all__ = ["render"]


def render(expr: Expr) -> str:
    """The text of an expression, with no more parentheses than it needs to be read."""
    match expr:
        case Literal(value):
            if isinstance(value, float):
                return re.sub(r"^(\d+)e", r"\1.0e", repr(value))  # 1e+16 would be the name e beside a 1
            return f"'{value}'" if isinstance(value, str) else str(value).lower()
        case Path(root, steps):
            return _name(root) + "".join(map(_step, steps))
        case Range(first, last):
            return f"[{first}..{last}]"
        case Slice(path, first, last):
            return f"{render(path)}[{first}..{last}]"
        case ListOf(items):
            return f"[{_all(items)}]"
        case Unary(op, operand):
            return f"{op}{_inner(operand)}"
        case Binary(op, left, right) | Compare(op, left, right):
            return f"{_inner(left)} {op} {_inner(right)}"
        case Call(name, args):
            return f"{name}({_all(args)})"
        case Case():
            return _case(expr)
        case _:
            return _condition(expr)


def _condition(expr: Expr) -> str:
    match expr:
        case And(items):
            return " AND ".join(map(_inner, items))
        case Or(items):
            return " OR ".join(map(_inner, items))
        case Not(operand):
            return f"NOT {_inner(operand)}"
        case In(operand, members):
            return f"{_inner(operand)} IN ({_all(members)})"
        case IsNull(operand):
            return f"{_inner(operand)} IS NULL"
        case Between(operand, low, high):
            return f"{_inner(operand)} BETWEEN {_inner(low)} AND {_inner(high)}"
        case Like(operand, pattern):
            return f"{_inner(operand)} LIKE {_inner(pattern)}"
    raise TypeError(expr)


def _case(case: Case) -> str:
    words = ["CASE"] if case.subject is None else ["CASE", render(case.subject)]
    for condition, value in case.whens:
        words += ["WHEN", render(condition), "THEN", render(value)]
    if case.default is not None:
        words += ["ELSE", render(case.default)]
    return " ".join([*words, "END"])


def _inner(expr: Expr) -> str:
    text = render(expr)
    return f"({text})" if isinstance(expr, Binary | And | Or) else text


def _all(exprs: tuple[Expr, ...]) -> str:
    return ", ".join(map(render, exprs))


def _name(name: str) -> str:
    return name if is_plain_name(name) else f'"{name}"'


def _step(step: Step) -> str:
    if isinstance(step, str):
        return f".{step}" if is_plain_name(step) else f".'{step}'"
    if isinstance(step, By):
        return f"[{render(step.path)}]"
    return "[0]" if isinstance(step, End) else f"[{step}]"
