"""The transform: one query over the events of a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo

from headrace import Batch, ComponentConfig, Context, Guard, Inputs, Output, Transform
from headrace_plugins.sql.compiler import compile_query
from headrace_plugins.sql.functions import BUILTINS, Function
from headrace_plugins.sql.functions.state import store_of
from headrace_plugins.sql.guards import guards_of
from headrace_plugins.sql.parser import parse

__all__ = ["Sql", "SqlConfig"]


def _check(query: str, info: ValidationInfo) -> str:
    known = (info.context or {}).get("functions")
    parsed = parse(query, strict=info.data.get("strict", False), escapes=info.data.get("escapes", False))
    compile_query(query, parsed, functions=None if known is None else _named(known))
    return query


def _named(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Function]:
    return {name: Function.of(name, call) for name, call in functions.items()}


_EVENTS = ("$events/", "$bridges/", "$sources/")


class SqlConfig(ComponentConfig):
    """Options of the ``sql`` transform."""

    # before the query, which is read by them
    strict: bool = Field(False, description="Refuse what EMQX would not read: for queries that are to run on both.")
    escapes: bool = Field(False, description=r"In strings, '' is one quote and \n, \t, \x41 … are what they stand for.")
    query: Annotated[str, AfterValidator(_check)] = Field(
        description="The query, in the SQL of EMQX rules.", examples=['SELECT payload.msg AS msg FROM "t/#"']
    )
    max_rows: int = Field(10_000, ge=1, description="How many elements FOREACH takes of one event; more are an error.")


class Sql(Transform[SqlConfig]):
    """Selects, filters and computes with SQL."""

    name = "sql"

    def __init__(self, config: SqlConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.query = parse(config.query, strict=config.strict, escapes=config.escapes)
        self.compiled = compile_query(
            config.query,
            self.query,
            rule=ctx.name,
            max_rows=config.max_rows,
            functions=_named(ctx.functions),
            store=store_of(ctx.pipeline),
        )

    def process(self, batch: Batch) -> Output:
        rows: list[tuple[int, dict[str, Any]]] = []
        no_result: list[int] = []
        exceptions: dict[int, Exception] = {}
        self.compiled.run(batch, rows, no_result, exceptions)
        return Output(rows, no_result, exceptions)

    def guards(self) -> Sequence[Guard]:
        return guards_of(self.query)

    @classmethod
    def functions(cls) -> Mapping[str, str]:
        return {
            name: f"Takes {function.arguments}. {(function.call.__doc__ or '').partition(chr(10))[0]}".rstrip()
            for name, function in BUILTINS.items()
        }

    def inputs(self) -> Inputs:
        names = [topic.filter for topic in self.query.topics]
        events = tuple(name for name in names if name.startswith(_EVENTS))
        return Inputs(tuple(name for name in names if name not in events), events)
