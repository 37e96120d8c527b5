"""Expressions to Python text.

Each expression becomes one Python expression: plain cases inline (a key of an object, two numbers, two strings), the
rest by a call into ``runtime``. The text holds names this module makes, helpers' names and ``repr`` of literals;
nothing of the query gets into it in any other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from headrace_plugins.sql.errors import Problem
from headrace_plugins.sql.functions.base import Function
from headrace_plugins.sql.names import UNDEFINED_CODE, Code, Names, Scope
from headrace_plugins.sql.nodes import (
    And,
    Between,
    Binary,
    Call,
    Case,
    Compare,
    Condition,
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
    Unary,
)
from headrace_plugins.sql.values import is_number

__all__ = ["Emitter"]

_COMPARE: Final = {"=": "eq", "!=": "ne", "<>": "ne", "<": "lt", ">": "gt", "<=": "le", ">=": "ge", "=~": "like_topic"}
_PYTHON: Final = {"=": "==", "!=": "!=", "<>": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_ARITHMETIC: Final = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "div": "div", "mod": "mod"}
_SPINE: Final = 8  # operators in a row, beyond which they are called one after the other


class Emitter(Names):
    """Makes the code of expressions for one query."""

    def __init__(self, resolve: Callable[[Call], Function], constants: dict[str, Any]) -> None:
        super().__init__(constants)
        self._resolve = resolve
        self._certain = True

    @contextmanager
    def _maybe(self) -> Iterator[None]:
        """Code that some events may never come to: the right side of AND and OR, the branches of a CASE."""
        before, self._certain = self._certain, False
        yield
        self._certain = before

    def _never(self, at: int, message: str, hint: str = "") -> Code:
        """What fails for every event that comes to it. If all do, the query is refused."""
        if self._certain:
            raise Problem(at, message, hint)
        return Code(f"fail({message!r})", raises=True)

    # -- values

    def value(self, expr: Expr, scope: Scope) -> Code:
        """The code of an expression, closed: its number, if it is one, is within range."""
        return self._close(self._open(expr, scope))

    def _close(self, code: Code) -> Code:
        if not code.open:
            return code
        first, again = self.bound(code)
        return Code(f"({again} if -MAX <= {first} <= MAX else overflow())", "num", raises=True)

    def _open(self, expr: Expr, scope: Scope) -> Code:
        match expr:
            case Literal(value):
                return _literal(value)
            case Path():
                return self.path(expr, scope)
            case Unary(op, operand):
                return self._unary(op, operand, scope)
            case Binary():
                return self._binary(expr, scope)
            case Compare():
                return self._compare(expr, scope)
            case Call():
                return self._call(expr, scope)
            case Case():
                return self._case(expr, scope)
            case _:
                return self._list(expr, scope)

    def _list(self, expr: Expr, scope: Scope) -> Code:
        match expr:
            case Range(first, last, at):
                if last < first - 1:
                    return self._never(at, f"the range [{first}..{last}] runs backwards")
                return Code(f"list(range({first}, {last + 1}))", "list")
            case Slice(path, first, last, at):
                if first == 0 or last == 0:
                    return self._never(at, "an index of a slice is never 0", "elements count from 1")
                return Code(f"sliced({self.path(path, scope).text}, {first}, {last})", "list", raises=True)
            case ListOf(items):
                codes = [self.value(item, scope) for item in items]
                return Code(f"[{_joined(codes)}]", "list", raises=_any_raises(codes))
        raise Problem(expr.at, "a condition is no value here")

    # -- arithmetic

    def _unary(self, op: str, operand: Expr, scope: Scope) -> Code:
        if op == "-" and isinstance(operand, Literal) and is_number(operand.value):
            return Code(f"(-{operand.value!r})", "num", simple=True)
        code = self._open(operand, scope)
        if op == "+":
            return code
        if code.kind == "num":
            return replace(code, text=f"(-{code.text})", simple=False)
        return Code(f"minus({code.text})", "num", raises=True)

    def _binary(self, expr: Binary, scope: Scope) -> Code:
        spine: list[tuple[str, Expr]] = []
        left: Expr = expr
        while isinstance(left, Binary):
            spine.append((left.op, left.right))
            left = left.left
        spine.reverse()
        code = self._open(left, scope)
        if len(spine) > _SPINE:
            return self._chain(code, spine, scope)
        for op, right in spine:
            code = self._operate(op, code, self._open(right, scope))
        return code

    def _chain(self, first: Code, spine: list[tuple[str, Expr]], scope: Scope) -> Code:
        parts = [self._close(first).text]
        for op, right in spine:
            parts += [_ARITHMETIC[op], self.value(right, scope).text]
        return Code(f"chain({', '.join(parts)})", raises=True)

    def _operate(self, op: str, left: Code, right: Code) -> Code:
        helper = _ARITHMETIC[op]
        if op in ("div", "mod"):
            return Code(f"{helper}({self._close(left).text}, {self._close(right).text})", "num", raises=True)
        if op == "/":
            right = self._close(right)
        if left.kind == right.kind == "num":
            return Code(f"({left.text} {op} {right.text})", "num", raises=True, open=True)
        if op == "+" and "str" in (left.kind, right.kind):
            return self._concatenate(self._close(left), self._close(right))
        return self._guess(op, helper, left, right)

    @staticmethod
    def _concatenate(left: Code, right: Code) -> Code:
        parts = (*(left.parts or (left.text,)), right.text)
        return Code(f"join({', '.join(parts)})", "str", raises=True, parts=parts)

    def _guess(self, op: str, helper: str, left: Code, right: Code) -> Code:
        """Numbers inline, everything else by the helper; all by the helper where a value would be computed twice."""
        once = [code for code in (left, right) if not code.simple]
        if len(once) > 1 or left.open or right.open or any(code.kind == "num" for code in once):
            text = f"{helper}({self._close(left).text}, {self._close(right).text})"
            return Code(text, "any" if op == "+" else "num", raises=True)
        (a_first, a), (b_first, b) = self.bound(left), self.bound(right)
        firsts = [(a_first, a)] * (left.kind != "num") + [(b_first, b)] * (right.kind != "num")
        firsts.sort(key=lambda pair: pair[0] == pair[1])  # what is bound in its test must be tested first
        tests = [f"type({first}) is float or type({again}) is int" for first, again in firsts]
        test = " and ".join(f"({one})" for one in tests) if len(tests) > 1 else tests[0]
        plain = f"{a} {op} {b}"
        if op == "+":
            total = self.name()
            plain = f"({total} if -MAX <= ({total} := {plain}) <= MAX else overflow())"
        text = f"({plain} if {test} else {helper}({a}, {b}))"
        return Code(text, "any" if op == "+" else "num", raises=True, open=op != "+")

    # -- comparison

    def _compare(self, expr: Compare, scope: Scope) -> Code:
        op, left, right = expr.op, self.value(expr.left, scope), self.value(expr.right, scope)
        if op == "=~":
            return Code(f"like_topic({left.text}, {right.text})", "bool", raises=True)
        if left.kind == right.kind == "num":
            return Code(f"({left.text} {_PYTHON[op]} {right.text})", "bool", raises=left.raises or right.raises)
        if right.simple and _tested(right, op):
            return self._compare_known(op, left, right)
        if left.simple and _tested(left, op):
            return self._compare_known(_FLIPPED.get(op, op), right, left)
        return Code(f"{_COMPARE[op]}({left.text}, {right.text})", "bool", raises=True)

    def _compare_known(self, op: str, code: Code, known: Code) -> Code:
        first, again = self.bound(code)
        helper = f"{_COMPARE[op]}({again}, {known.text})"
        kinds = {"num": f"type({first}) is float or type({again}) is int", "str": f"type({first}) is str"}
        test = kinds.get(known.kind, f"type({first}) is bool")
        raises = code.raises or known.kind != "bool"
        return Code(f"({again} {_PYTHON[op]} {known.text} if {test} else {helper})", "bool", raises=raises)

    # -- conditions

    def condition(self, expr: Expr, scope: Scope, branch: bool = False) -> Code:
        """The code of a condition, a Python boolean. ``branch``: a WHEN, where what is not true is passed over."""
        match expr:
            case And(items) | Or(items):
                codes = [self.condition(items[0], scope)]
                with self._maybe():
                    codes += [self.condition(item, scope) for item in items[1:]]
                word = " and " if isinstance(expr, And) else " or "
                return Code(f"({word.join(code.text for code in codes)})", "bool", raises=_any_raises(codes))
            case Not(operand):
                return self._not(operand, scope)
            case In():
                return self._in(expr, scope)
            case IsNull(operand):
                code = self.value(operand, scope)
                if code.simple and code.defined:
                    return Code("False", "bool", simple=True)
                first, again = self.bound(code)
                return Code(f"({first} is U or {again} is None)", "bool", raises=code.raises)
            case Between() | Like():
                return self._within(expr, scope)
            case Compare():
                return self._compare(expr, scope)
            case Call() | Path():
                return self._truth(expr, scope, branch)
            case Literal(bool()):
                return self.value(expr, scope)
        return self._never(expr.at, "this is no condition", "compare it with something: payload.n > 0")

    def _truth(self, expr: Call | Path, scope: Scope, branch: bool) -> Code:
        code = self.value(expr, scope)
        if code.kind == "bool":
            return code
        if isinstance(expr, Call):
            if branch:
                return Code(f"({code.text} is True)", "bool", raises=code.raises)
            if code.kind != "any":
                message = f"{expr.name}() gives no boolean, so it is no condition"
                return self._never(expr.at, message, "compare its result")
            return Code(f"truth_of_call({code.text})", "bool", raises=True)
        return Code(f"truth({code.text})", "bool", raises=True)

    def _not(self, operand: Expr, scope: Scope) -> Code:
        if isinstance(operand, Condition | Compare):
            code = self.condition(operand, scope)
            return Code(f"(not {code.text})", "bool", raises=code.raises)
        code = self.value(operand, scope)
        return Code(f"negated({code.text})", "bool", raises=code.raises)

    def _in(self, expr: In, scope: Scope) -> Code:
        code = self.value(expr.operand, scope)
        literals = [member.value for member in expr.members if isinstance(member, Literal)]
        kinds = {type(value) for value in literals}
        if len(literals) == len(expr.members) and kinds <= {str, int}:
            first, again = self.bound(code)
            kind = kinds.pop().__name__ if len(kinds) == 1 else ""
            test = f"type({first}) is {kind}" if kind else f"(type({first}) is str or type({again}) is int)"
            members = ", ".join(map(repr, literals))
            return Code(f"({test} and {again} in {{{members}}})", "bool", raises=code.raises)
        codes = [self.value(member, scope) for member in expr.members]
        return Code(f"among({code.text}, ({_joined(codes)},))", "bool", raises=code.raises or _any_raises(codes))

    def _within(self, expr: Between | Like, scope: Scope) -> Code:
        if isinstance(expr, Like):
            value, pattern = self.value(expr.operand, scope), self.value(expr.pattern, scope)
            return Code(f"like({value.text}, {pattern.text})", "bool", raises=True)
        codes = [self.value(operand, scope) for operand in (expr.operand, expr.low, expr.high)]
        return Code(f"between({_joined(codes)})", "bool", raises=True)

    def _case(self, case: Case, scope: Scope) -> Code:
        tests = list(self._searched(case, scope) if case.subject is None else self._simple(case.subject, case, scope))
        with self._maybe():
            values = [self.value(value, scope) for _, value in case.whens]
            default = UNDEFINED_CODE if case.default is None else self.value(case.default, scope)
        text = "".join(f"{value.text} if {test.text} else " for test, value in zip(tests, values, strict=True))
        codes = [*values, default]
        kind = codes[0].kind if len({code.kind for code in codes}) == 1 else "any"
        return Code(f"({text}{default.text})", kind, raises=_any_raises([*tests, *codes]))

    def _searched(self, case: Case, scope: Scope) -> Iterator[Code]:
        yield self.condition(case.whens[0][0], scope, branch=True)
        with self._maybe():
            for condition, _ in case.whens[1:]:
                yield self.condition(condition, scope, branch=True)

    def _simple(self, subject: Expr, case: Case, scope: Scope) -> Iterator[Code]:
        code = self.value(subject, scope)
        first, again = self.bound(code)
        for condition, _ in case.whens:
            if isinstance(condition, Condition):
                raise Problem(condition.at, "CASE x WHEN takes a value, CASE WHEN a condition")
            other = self.value(condition, scope)
            test = f"{first} == {other.text}" if other.kind == "str" else f"among({first}, ({other.text},))"
            yield Code(test, raises=code.raises or other.raises)
            first = again

    # -- functions

    def _call(self, call: Call, scope: Scope) -> Code:
        function = self._resolve(call)
        args = [self.value(arg, scope).text for arg in call.args]
        if function.first == "columns":
            args.insert(0, "c")
        name = f"f_{function.name}"
        if not name.isidentifier() or self.namespace.setdefault(name, function.call) is not function.call:
            name = self.constant("f", function.call)
        text = f"{name}({', '.join(args)})"
        return Code(f"plain({text})" if function.foreign else text, function.kind, raises=True)


def _literal(value: str | float | bool) -> Code:
    if isinstance(value, bool):
        return Code(repr(value), "bool", simple=True)
    return Code(repr(value), "str" if isinstance(value, str) else "num", simple=True)


def _tested(code: Code, op: str) -> bool:
    """May Python's own operator compare it with a value of its kind? (Bytes and str have no order.)"""
    return code.kind == "num" or (code.kind in ("str", "bool") and op in ("=", "!=", "<>"))


def _joined(codes: Sequence[Code]) -> str:
    return ", ".join(code.text for code in codes)


def _any_raises(codes: Sequence[Code]) -> bool:
    return any(code.raises for code in codes)
