"""Tokens to expressions: recursive descent, one method a level of precedence.

What may stand where depends on the place: a condition (WHERE, INCASE, WHEN) may hold AND, OR, NOT and IN; an
argument of a function may be a comparison or a CASE; a value may be neither in parentheses.
"""

from __future__ import annotations

from typing import Final
from typing import Literal as OneOf

from headrace_plugins.sql.cursor import Cursor
from headrace_plugins.sql.hints import COMPARISONS, INDEX_HINT, hint_for
from headrace_plugins.sql.lexer import Token
from headrace_plugins.sql.nodes import (
    HEAD,
    TAIL,
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

__all__ = ["ExpressionParser"]

MAX_CHAIN: Final = 200
MAX_RANGE: Final = 10_000
MAX_RANGES: Final = 100_000
MAX_STEPS: Final = 100
_LEVELS: Final = (("+", "-"), ("*", "/", "div", "mod"))
_BOOLEANS: Final = {"true": True, "false": False}

Place = OneOf["value", "argument", "condition"]


class ExpressionParser(Cursor):
    """The expressions."""

    # -- conditions

    def condition(self) -> Expr:
        """OR, the loosest of all."""
        at = self.now.at
        items = [self._all_of()]
        while self.take_keyword("OR"):
            items.append(self._all_of())
        return items[0] if len(items) == 1 else Or(tuple(items), at)

    def _all_of(self) -> Expr:
        at = self.now.at
        items = [self._negation()]
        while self.take_keyword("AND"):
            items.append(self._negation())
        return items[0] if len(items) == 1 else And(tuple(items), at)

    def _negation(self) -> Expr:
        at = self.now.at
        if not self.take_keyword("NOT"):
            return self._predicate()
        self.enter()
        operand = self._negation()
        self.depth -= 1
        return Not(operand, at)

    def _predicate(self) -> Expr:
        expr = self._comparison("condition")
        if isinstance(expr, Condition):
            return expr
        if not isinstance(expr, Compare):
            test = self._test(expr)
            if test is not None:
                return test
        self._no_alias()
        return expr

    def _test(self, operand: Expr) -> Expr | None:
        """What may follow a value: IN, IS NULL, BETWEEN, LIKE, and their opposites."""
        at = self.now.at
        if self.take_word("IS"):
            opposite = self.take_keyword("NOT")
            if not self.take_word("NULL"):
                raise self.unexpected("NULL")
            test: Expr = IsNull(operand, operand.at)
            return Not(test, at) if opposite else test
        opposite = self.take_keyword("NOT")
        if self.take_keyword("IN"):
            test = self._members(operand)
        elif self.take_word("BETWEEN"):
            low = self._operand(self._arithmetic("condition"), "condition")
            self.need_keyword("AND", "AND and the upper end")
            high = self._operand(self._arithmetic("condition"), "condition")
            test = Between(operand, low, high, operand.at)
        elif self.take_word("LIKE"):
            test = Like(operand, self._operand(self._arithmetic("condition"), "condition"), operand.at)
        else:
            self.index -= opposite
            return None
        return Not(test, at) if opposite else test

    def _members(self, operand: Expr) -> Expr:
        self.need_op("(", "'(' and the values")
        if self.at_op(")"):
            raise self.unexpected("a value")
        members = [self.value()]
        while self.take_op(","):
            members.append(self.value())
        self.need_op(")", "',' or ')'")
        return In(operand, tuple(members), operand.at)

    def _no_alias(self) -> None:
        # The grammar has room for a name here, and evaluation then always fails.
        if self.at_keyword("AS") or self.now.kind in ("name", "quoted"):
            raise self.unexpected("an operator")

    # -- values

    def value(self) -> Expr:
        """A value or a comparison: a field, a branch of CASE, a member of IN."""
        return self._comparison("value")

    def _comparison(self, place: Place) -> Expr:
        left = self._arithmetic(place)
        token = self.now
        if token.kind != "op" or token.value not in COMPARISONS or not _is_operand(left, place):
            return left
        if token.value == "~=":
            raise self.error(token.at, "~= is no operator", "topics are matched with =~")
        self.advance()
        right = self._operand(self._arithmetic(place), place)
        if self.now.kind == "op" and self.now.value in COMPARISONS:
            raise self.unexpected("the end of the comparison", "comparisons do not chain: write a < b AND b < c")
        return Compare(token.value, left, right, left.at)

    def _operand(self, expr: Expr, place: Place) -> Expr:
        if not _is_operand(expr, place):
            raise self.error(expr.at, "a condition is no value", "compare it in a condition of its own")
        return expr

    def _arithmetic(self, place: Place, level: int = 0) -> Expr:
        if level == len(_LEVELS):
            return self._signed(place)
        left = self._arithmetic(place, level + 1)
        for _ in range(MAX_CHAIN):
            if not (self.at_op(*_LEVELS[level]) and _is_operand(left, place)):
                return left
            op = self.advance().value
            right = self._operand(self._arithmetic(place, level + 1), place)
            left = Binary(op, left, right, left.at)
        raise self.error(left.at, f"more than {MAX_CHAIN} operators in a row")

    def _signed(self, place: Place) -> Expr:
        if not self.at_op("+", "-"):
            return self._primary(place)
        token = self.advance()
        self.enter()
        operand = self._operand(self._signed(place), place)
        self.depth -= 1
        return Unary(token.value, operand, token.at)

    def _primary(self, place: Place) -> Expr:
        token = self.now
        if token.kind in ("string", "int", "float"):
            self.advance()
            return Literal(token.value if token.kind == "string" else token.number, token.at)
        if token.kind == "range":
            self.advance()
            return self._range(token)
        if token.kind in ("name", "quoted"):
            return self._named(token)
        if self.at_op("div", "mod"):
            return self._call(self.advance().value, token.at)
        if self.at_op("["):
            return self._list()
        if self.at_op("("):
            return self._parentheses(place)
        if self.at_keyword("CASE") and place == "argument":
            return self.case()
        raise self.unexpected("a value" if place != "condition" else "a condition")

    def _parentheses(self, place: Place) -> Expr:
        self.enter()
        opening = self.advance()
        inner: Expr
        if place == "condition":
            inner = self.condition()
        elif place == "argument":
            inner = self._comparison(place)
        else:
            inner = self._arithmetic(place)
        if not self.at_op(")"):
            raise self.unclosed("')'", opening)
        self.advance()
        self.depth -= 1
        return inner

    def _range(self, token: Token) -> Range:
        first, last = token.ends
        self.ranged += max(0, last - first + 1)
        if last - first >= MAX_RANGE or self.ranged > MAX_RANGES:
            raise self.error(token.at, f"a range of more than {MAX_RANGE} numbers, or all with more than {MAX_RANGES}")
        return Range(first, last, token.at)

    def _list(self) -> Expr:
        opening = self.advance()
        self.enter()
        items: list[Expr] = []
        while not self.at_op("]"):
            items.append(self._arithmetic("value"))
            if not self.take_op(","):
                break
        if not self.at_op("]"):
            raise self.unclosed("',' or ']'", opening)
        self.advance()
        self.depth -= 1
        return ListOf(tuple(items), opening.at)

    # -- names: constants, paths, slices, calls

    def _named(self, token: Token) -> Expr:
        if token.kind == "name" and token.value in _BOOLEANS:
            self.advance()
            return Literal(_BOOLEANS[token.value], token.at)
        path = self._path()
        if self.now.kind == "range":
            first, last = self.advance().ends
            return Slice(path, first, last, path.at)
        if self.at_op("("):
            names = [path.root, *path.steps]
            if len(names) > 2 or not all(isinstance(name, str) for name in names):
                raise self.error(path.at, "this is no name of a function")
            return self._call(".".join(str(name) for name in names), path.at)
        return path

    def target(self) -> Path:
        """What AS may write to."""
        token = self.now
        if token.kind not in ("name", "quoted") or (token.kind == "name" and token.value in _BOOLEANS):
            raise self.unexpected("a name")
        path = self._path()
        if self.now.kind == "range":
            raise self.unexpected("',' or FROM", "a result cannot be written into a slice")
        return path

    def _path(self) -> Path:
        root = self.advance()
        steps: list[Step] = []
        while True:
            if len(steps) > MAX_STEPS:
                raise self.error(root.at, f"a path of more than {MAX_STEPS} steps")
            if self.take_op("."):
                token = self.now
                if token.kind not in ("name", "quoted", "string", "int"):
                    hint = hint_for(self.tokens, self.index, "a key") or "an index follows the name directly: a[1]"
                    raise self.unexpected("a key", hint)
                steps.append(token.value)
                self.advance()
            elif self.take_op("["):
                steps.append(self._index())
            else:
                return Path(root.value, tuple(steps), root.at)

    def _index(self) -> Step:
        sign = "+"
        if self.now.kind in ("name", "quoted"):
            self.enter()
            step: Step = By(self._path())
            self.depth -= 1
        else:
            if self.at_op("+", "-"):
                sign = self.advance().value
            if self.now.kind != "int":
                raise self.unexpected("a number or a name", INDEX_HINT)
            number = int(self.advance().number)
            ends: tuple[End, End] = (HEAD, TAIL)
            step = ends[sign == "-"] if number == 0 else -number if sign == "-" else number
        self.need_op("]", hint=INDEX_HINT)
        return step

    def _call(self, name: str, at: int) -> Expr:
        opening = self.now
        self.need_op("(")
        self.enter()
        args: list[Expr] = []
        if not self.at_op(")") or name in ("div", "mod"):
            args.append(self._comparison("argument"))
            while self.take_op(","):
                args.append(self._comparison("argument"))
        if not self.at_op(")"):
            raise self.unclosed("',' or ')'", opening)
        self.advance()
        self.depth -= 1
        return Call(name, tuple(args), at)

    # -- CASE

    def case_in_parens(self) -> Expr:
        """``CASE … END``, in any number of parentheses."""
        if not self.at_op("("):
            return self.case()
        self.enter()
        self.advance()
        case = self.case_in_parens()
        self.need_op(")")
        self.depth -= 1
        return case

    def case(self) -> Expr:
        at = self.advance().at
        self.enter()
        subject = None if self.at_keyword("WHEN") else self._unnamed()
        whens: list[tuple[Expr, Expr]] = []
        while self.take_keyword("WHEN"):
            condition = self.condition()
            self.need_keyword("THEN", "AND, OR or THEN")
            whens.append((condition, self._unnamed()))
        if not whens:
            raise self.unexpected("WHEN")
        if len(whens) > MAX_CHAIN:
            raise self.error(at, f"more than {MAX_CHAIN} branches")
        default = self._unnamed() if self.take_keyword("ELSE") else None
        self.need_keyword("END", "WHEN, ELSE or END" if default is None else "END")
        self.depth -= 1
        return Case(subject, tuple(whens), default, at)

    def _unnamed(self) -> Expr:
        expr = self.value()
        self._no_alias()
        return expr


def _is_operand(expr: Expr, place: Place) -> bool:
    """Arguments of functions may compute with comparisons, conditions may not."""
    return place == "argument" or not isinstance(expr, Compare | Condition)
