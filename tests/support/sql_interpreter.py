"""Rule SQL read node by node, from the rules of docs/sql.md, with no code made: what compiled queries are held against.

Operators and functions are the plugin's own; what is read here anew is which value a name means, what is evaluated and
in which order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace import UNDEFINED, Event
from headrace_plugins.sql import comparison, runtime
from headrace_plugins.sql.fields import target_of
from headrace_plugins.sql.functions import lookup
from headrace_plugins.sql.nodes import (
    And,
    Between,
    Binary,
    By,
    Call,
    Case,
    Compare,
    Condition,
    End,
    Expr,
    Field,
    Foreach,
    In,
    IsNull,
    Like,
    ListOf,
    Literal,
    Not,
    Or,
    Path,
    Query,
    Range,
    Select,
    Slice,
    Step,
    Unary,
)
from headrace_plugins.sql.values import strictly_same

__all__ = ["rows_of"]

_ARITHMETIC = {
    "+": runtime.add, "-": runtime.subtract, "*": runtime.multiply, "/": runtime.divide,
    "div": runtime.div, "mod": runtime.mod,
}  # fmt: skip
_COMPARISON = {
    "=": comparison.eq, "!=": comparison.ne, "<>": comparison.ne, "<": comparison.lt, ">": comparison.gt,
    "<=": comparison.le, ">=": comparison.ge, "=~": comparison.like_topic,
}  # fmt: skip


def rows_of(query: Query, event: Event) -> list[dict[str, Any]]:
    """The rows of an event; none if WHERE is false. ValueError or ArithmeticError if it fails."""
    reader = _Reader(event)
    return reader.select(query) if isinstance(query, Select) else reader.foreach(query)


@dataclass
class _Names:
    """``list``: the fields of the same list so far. ``above``: names that hide columns."""

    above: dict[str, Any] = field(default_factory=dict)
    list: dict[str, Any] = field(default_factory=dict)


class _Reader:
    def __init__(self, event: Event) -> None:
        self._event = event
        self._payload: Any = None  # another one than the event's
        self._last: Any = None

    # -- statements

    def select(self, query: Select) -> list[dict[str, Any]]:
        row, whole = self._fields(query.fields, {}, self._event.columns)
        opened = any(field.target and field.target.root == "payload" and field.target.steps for field in query.fields)
        if opened and len(whole) > len(row):  # of `*`, with members of the payload replaced
            self._payload = row["payload"]
        return [whole] if query.where is None or self._holds(query.where, _Names(row)) else []

    def foreach(self, query: Foreach) -> list[dict[str, Any]]:
        row, _ = self._fields(query.fields, {}, {})
        items, last = self._last, query.fields[-1]
        if isinstance(last.expr, Path) and last.expr.root == "payload" and not last.expr.steps:
            items = runtime.decoded_text(items)
        if query.where is not None and not self._holds(query.where, _Names(row)):
            return []
        element = last.target.root if last.target else "item"
        rows = []
        for item in items if isinstance(items, list) else []:
            above = {**row, element: item}
            if query.incase is None or self._holds(query.incase, _Names(above)):
                whole = {**self._event.columns, **above}
                rows.append(self._fields(query.do, above, whole)[1] if query.do else whole)
        return rows

    def _fields(
        self, fields: tuple[Field, ...], above: dict[str, Any], columns: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the fields give, and the row with the columns, if ``*`` is among them."""
        names = _Names(above)
        star = any(field.expr is None for field in fields)
        row: dict[str, Any] = {}
        opened = False
        for each in fields:
            if each.expr is None:
                continue
            value = self._last = self._value(each.expr, names)
            target = target_of(each)
            if target.steps:
                start = self._start(target.root, row, names, star, opened)
                value = runtime.put(start, [self._place(step, names) for step in target.steps], value)
                opened = opened or target.root == "payload"
            row[target.root] = value
            if target.steps or target.root != "payload" or each.expr != Path("payload", (), each.expr.at):
                names.list[target.root] = value
        return row, {**columns, **row} if star else row

    def _start(self, root: str, row: dict[str, Any], names: _Names, star: bool, opened: bool) -> Any:
        """What a target below ``root`` is written into."""
        if root == "payload" and not opened:
            if root in row:
                return runtime.decoded_text(row[root])
            return runtime.decoded_if_json(self._event) if star else UNDEFINED
        if root in row:
            return row[root]
        return self._path(Path(root, (), 0), names) if star else UNDEFINED

    def _place(self, step: Step, names: _Names) -> Any:
        return self._among(names.list, step.path) if isinstance(step, By) else step

    # -- names

    def _path(self, path: Path, names: _Names) -> Any:
        if path.root in names.list:
            found = names.list[path.root]
            if path.root == "payload" and path.steps:
                found = runtime.decoded_text(found)
            value = self._walk(found, path.steps, names.list)
            if value is not UNDEFINED:
                return value
        if path.root == "payload" and path.steps:
            payload = runtime.decoded(self._event) if self._payload is None else self._payload
            return self._walk(payload, path.steps, payload)
        columns = {"metadata": {"rule_id": ""}, **self._event.columns, **names.above}
        return self._walk(columns.get(path.root, UNDEFINED), path.steps, columns)

    def _walk(self, value: Any, steps: tuple[Step, ...], beside: Any) -> Any:
        for step in steps:
            if isinstance(step, str):
                value = runtime.get(value, step)
            elif isinstance(step, By):
                value = runtime.index(value, self._among(beside, step.path))
            else:
                value = UNDEFINED if isinstance(step, End) else runtime.index(value, step)
        return value

    def _among(self, beside: Any, path: Path) -> Any:
        """An index by name is looked up beside the name that it is an index of."""
        return self._walk(runtime.get(beside, path.root), path.steps, beside)

    # -- values and conditions

    def _value(self, expr: Expr, names: _Names) -> Any:
        match expr:
            case Literal(value):
                return value
            case Path():
                return self._path(expr, names)
            case Range(first, last):
                return _numbers(first, last)
            case Slice(path, first, last):
                return runtime.sliced(self._path(path, names), first, last)
            case ListOf(items):
                return [self._value(item, names) for item in items]
            case Unary(op, operand):
                value = self._value(operand, names)
                return value if op == "+" else runtime.minus(value)
            case Binary(op, left, right):
                return _ARITHMETIC[op](self._value(left, names), self._value(right, names))
            case Compare(op, left, right):
                return _COMPARISON[op](self._value(left, names), self._value(right, names))
            case Case():
                return self._case(expr, names)
            case Call(_, args):
                function = lookup(expr, {})
                first = [self._event.columns] if function.first == "columns" else []
                return function.call(*first, *(self._value(arg, names) for arg in args))
        raise AssertionError(expr)

    def _case(self, case: Case, names: _Names) -> Any:
        for condition, value in case.whens:
            if case.subject is None:
                bare = isinstance(condition, Call)  # what is no boolean is passed over
                met = self._value(condition, names) is True if bare else self._holds(condition, names)
            else:
                met = strictly_same(self._value(case.subject, names), self._value(condition, names))
            if met:
                return self._value(value, names)
        return UNDEFINED if case.default is None else self._value(case.default, names)

    def _holds(self, expr: Expr, names: _Names) -> bool:
        match expr:
            case And(items):
                return all(self._holds(item, names) for item in items)
            case Or(items):
                return any(self._holds(item, names) for item in items)
            case Not(operand) if isinstance(operand, Condition | Compare):
                return not self._holds(operand, names)
            case Not(operand):
                return runtime.negated(self._value(operand, names))
            case In(operand, members):
                value = self._value(operand, names)
                return comparison.among(value, [self._value(member, names) for member in members])
            case IsNull(operand):
                return self._value(operand, names) in (UNDEFINED, None)
            case Between(operand, low, high):
                return comparison.between(*(self._value(each, names) for each in (operand, low, high)))
            case Like(operand, pattern):
                return comparison.like(self._value(operand, names), self._value(pattern, names))
        value = self._value(expr, names)
        if isinstance(expr, Path):
            return runtime.truth(value)
        return runtime.truth_of_call(value)


def _numbers(first: int, last: int) -> list[int]:
    if last < first - 1:
        raise ValueError("the range runs backwards")
    return list(range(first, last + 1))
