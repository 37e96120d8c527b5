"""A query to one Python function over a batch of events.

The order of evaluation is EMQX's: fields, then WHERE, then the row. What cannot fail is put off until WHERE has
passed, so that an event which is filtered out costs as little as can be without anybody seeing a difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Final

from headrace_plugins.sql.emit import Emitter
from headrace_plugins.sql.errors import QUERY_FILE, EvaluationError, Problem, SqlError
from headrace_plugins.sql.fields import FieldList
from headrace_plugins.sql.functions import lookup
from headrace_plugins.sql.functions.base import Function
from headrace_plugins.sql.names import Code, Scope
from headrace_plugins.sql.nodes import (
    And,
    By,
    Call,
    Case,
    Condition,
    Expr,
    Field,
    Foreach,
    Or,
    Path,
    Query,
    Select,
    Slice,
    Step,
    children,
    walk,
)
from headrace_plugins.sql.runtime import NAMESPACE, named_levels

__all__ = ["Compiled", "Surroundings", "compile_probe", "compile_query"]

Run = Callable[..., Any]
_BUILTINS: Final = {
    k: v
    for k, v in vars(__import__("builtins")).items()
    if k in ("type", "dict", "list", "str", "int", "float", "bool", "len", "range", "enumerate", "Exception")
}


class Compiled:
    """A query as code: ``source`` is its text."""

    def __init__(self, source: str, namespace: dict[str, Any]) -> None:
        self.source = source
        self._namespace = namespace

    @cached_property
    def run(self) -> Run:
        """``run(batch, rows, no_result, exceptions)`` appends what came of each event.

        Python compiles it when the first event comes: of ten thousand rules, most may never see one.
        """
        namespace = {**NAMESPACE, **self._namespace, "__builtins__": _BUILTINS, "Failed": EvaluationError}
        exec(compile(self.source, QUERY_FILE, "exec"), namespace)  # noqa: S102 - text of our own making, see emit
        run: Run = namespace["run"]
        return run


@dataclass(frozen=True)
class Surroundings:
    """What a query is compiled for.

    ``functions``: those of plugins; None if they are not known, and then any name passes.
    """

    rule: str = ""
    max_rows: int = 10_000
    functions: Mapping[str, Function] | None = None
    store: Any = None
    strict: bool = False


def compile_query(text: str, query: Query, around: Surroundings) -> Compiled:
    """Compile a query that was read from ``text``. SqlError for what can never work."""
    compiler = _Compiler(around)
    try:
        source = compiler.statement(query)
    except Problem as problem:
        raise SqlError.at(text, problem.at, problem.message, problem.hint) from None
    return Compiled(source, compiler.emitter.namespace)


def compile_probe(query: Query, around: Surroundings, exprs: Sequence[Expr]) -> Run:
    """A function of an event that gives a function without arguments for the value of each expression of WHERE."""
    compiler = _Compiler(around)
    return Compiled(compiler.probe(query, exprs), compiler.emitter.namespace).run


class _Compiler:
    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.emitter = Emitter(self._resolve, {"metadata": {"rule_id": around.rule}})
        self._stores: dict[str, Function] = {}

    def _resolve(self, call: Call) -> Function:
        function = lookup(call, self.around.functions, strict=self.around.strict)
        if function.first != "store":
            return function
        if function.name not in self._stores:
            self._stores[function.name] = replace(function, call=partial(function.call, self.around.store), first="")
        return self._stores[function.name]

    def statement(self, query: Query) -> str:
        lines = ["def run(batch, rows, no_result, exceptions):", "    for i, event in enumerate(batch):"]
        lines.append(f"        c = {self._columns(query)}")
        body = self._select(query) if isinstance(query, Select) else self._foreach(query)
        return "\n".join(lines + _indented(body, 2)) + "\n"

    def probe(self, query: Query, exprs: Sequence[Expr]) -> str:
        scope = Scope()
        row = FieldList(self.emitter, scope, query.fields, _names(exprs), keep=True)
        inner = row.after(scope)
        texts = [self._probed(expr, inner) for expr in exprs]
        lines = [
            f"c = {self._columns(query)}",
            *row.lines,
            f"return [{', '.join(f'lambda: {text}' for text in texts)}]",
        ]
        return "\n".join(["def run(event):", *_indented(lines, 1)]) + "\n"

    def _probed(self, expr: Expr, scope: Scope) -> str:
        if isinstance(expr, Condition):
            return self.emitter.condition(expr, scope).text
        return self.emitter.value(expr, scope).text

    def _columns(self, query: Query) -> str:
        if not any(topic.names for topic in query.topics):
            return "event.columns"
        self.emitter.namespace["levels"] = partial(
            named_levels, [(topic.filter, topic.names) for topic in query.topics]
        )
        return "levels(event.columns)"

    # -- SELECT

    def _select(self, query: Select) -> list[str]:
        scope = Scope()
        conditions = [query.where] if query.where is not None else []
        stage = self._payload(scope, _own(query.fields), [*_exprs(query.fields), *conditions])
        row = FieldList(self.emitter, scope, query.fields, _names(conditions))
        stage += row.lines
        lines = _guarded("SELECT", stage)
        inner = row.after(scope)
        if query.where is not None:
            lines += self._where(query.where, inner, conditions)
        return [*lines, f"rows.append((i, {row.text()}))"]

    def _payload(self, scope: Scope, always: Iterable[Expr], everything: Iterable[Expr]) -> list[str]:
        """Decode the payload once and for all, if an expression needs it on every path through this clause."""
        if scope.payload is not None or not any(map(_always_decodes, always)):
            return []
        scope.payload = Code("p", simple=True)
        lines = ["p = decoded(event)"]
        for steps, count in Counter(_payload_steps(everything)).items():
            if count > 1:
                code = self.emitter.path(Path("payload", steps, 0), replace(scope, listed={}, shadow={}))
                local = self.emitter.name("v")
                lines.append(f"{local} = {code.text}")
                scope.known[steps] = Code(local, simple=True)
        return lines

    def _where(self, where: Expr, scope: Scope, everything: Iterable[Expr]) -> list[str]:
        lines = self._payload(scope, [where], everything)
        condition = self.emitter.condition(where, scope)
        test = [f"if not {condition.text}:", "    no_result.append(i)", "    continue"]
        return _guarded("WHERE", lines + test) if lines or condition.raises else test

    # -- FOREACH

    def _foreach(self, query: Foreach) -> list[str]:
        scope = Scope()
        conditions = [query.where] if query.where is not None else []
        inside = [*([query.incase] if query.incase is not None else []), *_exprs(query.do)]
        everything = [*_exprs(query.fields), *conditions, *inside, *inside]
        stage = self._payload(scope, _own(query.fields), everything)
        for field in query.fields:
            if field.expr is None:
                raise Problem(field.at, "FOREACH takes an array, not *", "name the array: FOREACH payload.list AS item")
        last = query.fields[-1]
        if last.target is not None and last.target.steps:
            raise Problem(last.target.at, "the element needs a plain name", "FOREACH payload.list AS item")
        row = FieldList(self.emitter, scope, query.fields, _names([*conditions, *inside]), keep=True)
        stage += row.lines
        stage.append(f"items = as_rows({self._items(query.fields, row)}, {self.around.max_rows})")
        outer = row.after(scope)
        lines = _guarded("FOREACH", stage)
        if query.where is not None:
            lines += self._where(query.where, outer, conditions)
        element = last.target.root if last.target is not None else "item"
        return lines + self._loop(query, outer, row, element)

    def _items(self, fields: Sequence[Field], row: FieldList) -> str:
        expr = fields[-1].expr
        if not (isinstance(expr, Path) and expr.root == "payload" and not expr.steps):
            return row.last.text  # a JSON text is no array, unless it is the payload
        renamed = any(field.target is not None and field.target.root == "payload" for field in fields[:-1])
        return f"decoded_text({row.last.text})" if renamed else "decoded(event)"

    def _loop(self, query: Foreach, outer: Scope, row: FieldList, element: str) -> list[str]:
        scope = replace(outer, shadow={**outer.shadow, element: Code("item", simple=True)})
        body: list[str] = []
        if query.incase is not None:
            condition = self.emitter.condition(query.incase, scope)
            body += _guarded("INCASE", [f"if not {condition.text}:", "    continue"], "break")
        whole = row.text(star=True, extra={element: "item"})
        if query.do:
            inner = FieldList(self.emitter, scope, query.do, set(), columns=whole)
            body += _guarded("DO", inner.lines, "break")
            whole = inner.text()
        body.append(f"rows.append((i, {whole}))")
        return [
            "start = len(rows)",
            "for item in items:",
            *_indented(body, 1),
            "else:",
            "    if len(rows) == start:",
            "        no_result.append(i)",
            "    continue",
            "del rows[start:]",
        ]


def _indented(lines: Iterable[str], levels: int) -> list[str]:
    return ["    " * levels + line for line in lines]


def _guarded(clause: str, lines: list[str], leave: str = "continue") -> list[str]:
    """Lines, whose exception fails the event."""
    if not lines:
        return []
    handler = ["except Exception as exc:", f"    exceptions[i] = Failed({clause!r}, exc)", f"    {leave}"]
    return ["try:", *_indented(lines, 1), *handler]


# -- what expressions refer to


def _exprs(fields: Iterable[Field]) -> list[Expr]:
    return [field.expr for field in fields if field.expr is not None]


def _own(fields: Iterable[Field]) -> Iterator[Expr]:
    """The expressions in which ``payload`` is the event's: those up to the first that gives another value this name."""
    for field in fields:
        if field.expr is not None:
            yield field.expr
        if field.target is not None and field.target.root == "payload":
            return


def _paths(exprs: Iterable[Expr]) -> Iterable[Path]:
    for expr in exprs:
        for node in walk(expr):
            if isinstance(node, Path):
                yield node
                for step in node.steps:
                    if isinstance(step, By):
                        yield from _paths([step.path])


def _names(exprs: Iterable[Expr]) -> set[str]:
    """Every name that is looked up."""
    return {path.root for path in _paths(exprs)}


def _payload_steps(exprs: Iterable[Expr]) -> Iterable[tuple[Step, ...]]:
    for path in _paths(exprs):
        if path.root == "payload" and path.steps and not any(isinstance(step, By) for step in path.steps):
            yield path.steps


def _always_decodes(expr: Expr) -> bool:
    """Is a part of the payload read whenever this is evaluated?"""
    if isinstance(expr, Path):
        return expr.root == "payload" and bool(expr.steps)
    if isinstance(expr, And | Or):
        return _always_decodes(expr.items[0])
    if isinstance(expr, Case):
        return _always_decodes(expr.subject if expr.subject is not None else expr.whens[0][0])
    if isinstance(expr, Slice):
        return _always_decodes(expr.path)
    return any(map(_always_decodes, children(expr)))
