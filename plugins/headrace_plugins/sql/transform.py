"""The transform: one query over the events of a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo

from headrace import Batch, ComponentConfig, Context, Event, Guard, Inputs, Offer, Output, Remark, Transform
from headrace.components import Explanation
from headrace_plugins.sql.compiler import Surroundings, compile_probe, compile_query
from headrace_plugins.sql.errors import SqlError
from headrace_plugins.sql.explain import Probe, steps_of_where, why_none
from headrace_plugins.sql.functions import BUILTINS, Function
from headrace_plugins.sql.functions.state import store_of
from headrace_plugins.sql.guards import guards_of
from headrace_plugins.sql.lexer import KEYWORDS
from headrace_plugins.sql.nodes import Expr, Query
from headrace_plugins.sql.parser import parse
from headrace_plugins.sql.remarks import is_event, remarks_of

__all__ = ["Sql", "SqlConfig"]


@lru_cache(16_384)
def _read(query: str, strict: bool, escapes: bool) -> Query:
    """A query read once, although it is checked, remarked on and run."""
    return parse(query, strict=strict, escapes=escapes)


def _check(query: str, info: ValidationInfo) -> str:
    known = (info.context or {}).get("functions")
    strict = info.data.get("strict", False)
    parsed = _read(query, strict, info.data.get("escapes", False))
    compile_query(query, parsed, Surroundings(functions=None if known is None else _named(known), strict=strict))
    return query


def _named(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Function]:
    return {name: Function.of(name, call) for name, call in functions.items()}


class SqlConfig(ComponentConfig):
    """Options of the ``sql`` transform."""

    # before the query, which is read by them
    strict: bool = Field(False, description="Refuse what EMQX would not read: for queries that are to run on both.")
    escapes: bool = Field(False, description=r"In strings, '' is one quote and \n, \t, \x41 … are what they stand for.")
    query: Annotated[str, AfterValidator(_check)] = Field(
        description="The query, in the SQL of EMQX rules.", examples=['SELECT payload.msg AS msg FROM "t/#"']
    )
    max_rows: int = Field(10_000, ge=1, description="How many elements FOREACH takes of one event; more are an error.")


_LEGEND = """\
# c: the columns, p: the payload decoded, U: undefined, v1 …: values. Plain cases stand here; the functions called
# for the rest (get, eq, add, …) are in headrace_plugins/sql/runtime.py, and f_name is the SQL function name().
"""


class Sql(Transform[SqlConfig]):
    """Selects, filters and computes with SQL."""

    name = "sql"
    keywords = tuple(sorted(KEYWORDS | {"BETWEEN", "IS", "LIKE", "NULL"}))

    def __init__(self, config: SqlConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.query = _read(config.query, config.strict, config.escapes)
        functions, store = _named(ctx.functions), store_of(ctx.pipeline)
        self._around = Surroundings(ctx.name, config.max_rows, functions, store, config.strict)
        self._compiled = compile_query(config.query, self.query, self._around)

    @property
    def code(self) -> str:
        """The Python code the query became, for people to read."""
        query = "".join(f"# {line}\n" for line in self.config.query.strip().split("\n"))
        return f"{query}{_LEGEND}{self._compiled.source}"

    def process(self, batch: Batch) -> Output:
        rows: list[tuple[int, dict[str, Any]]] = []
        no_result: list[int] = []
        exceptions: dict[int, Exception] = {}
        self._compiled.run(batch, rows, no_result, exceptions)
        return Output(rows, no_result, exceptions)

    def guards(self) -> Sequence[Guard]:
        return guards_of(self.query)

    @classmethod
    def functions(cls) -> Mapping[str, str]:
        return {
            name: f"Takes {function.arguments}. {(function.call.__doc__ or '').partition(chr(10))[0]}".rstrip()
            for name, function in BUILTINS.items()
        }

    @classmethod
    def remarks(cls, config: SqlConfig, offers: Sequence[Offer] | None) -> Iterator[Remark]:
        text = config.query
        query = _read(text, config.strict, config.escapes)
        for at, message in remarks_of(text, query, offers):
            place = SqlError.at(text, at, message)
            yield Remark("query", place.line, place.column, message)

    def inputs(self) -> Inputs:
        # what is compared exactly matches nothing if it has a wildcard
        names = [topic.filter for topic in self.query.topics if not (topic.exact and topic.wild)]
        events = tuple(filter(is_event, names))
        return Inputs(tuple(name for name in names if name not in events), events)

    def explain(self, event: Event) -> Explanation:
        def around() -> Surroundings:
            # a copy of the store for each look: to explain must change nothing
            return replace(self._around, store=self._around.store.copy())

        def probe(exprs: Sequence[Expr]) -> Probe:
            return compile_probe(self.query, around(), exprs)

        lines = list(steps_of_where(self.query, probe, event))
        rows: list[tuple[int, dict[str, Any]]] = []
        no_result: list[int] = []
        exceptions: dict[int, Exception] = {}
        compile_query(self.config.query, self.query, around()).run([event], rows, no_result, exceptions)
        lines += [f"no row: {error}" for error in exceptions.values()]
        if no_result:
            lines.append(f"no row: {why_none(self.query, probe, event)}")
        return Explanation(lines, [row for _, row in rows])
