"""Whatever comes: only errors of our own, and one outcome for each event."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import UNDEFINED, Event
from headrace_plugins.sql import SqlError
from headrace_plugins.sql.comparison import like
from headrace_plugins.sql.compiler import Compiled, Surroundings, compile_query
from headrace_plugins.sql.errors import EvaluationError
from headrace_plugins.sql.functions import BUILTINS
from headrace_plugins.sql.functions.state import Store
from headrace_plugins.sql.parser import parse

WORDS = [
    *("SELECT", "FOREACH", "DO", "INCASE", "FROM", "WHERE", "AS", "AND", "OR", "NOT", "IN", "CASE", "WHEN", "THEN"),
    *("ELSE", "END", "IS", "NULL", "BETWEEN", "LIKE", "div", "mod", "true", "false", "payload", "a", "b", "upper"),
    *("(", ")", "[", "]", ",", ".", "*", "+", "-", "/", "=", "!=", "<>", "<", ">", "<=", ">=", "=~", "1", "0", "2.5"),
    *("'x'", "''", '"a b"', '"t/#"', "[1..3]", "[0..-1]", "--", "\n", "'", '"', ";", "é", "#", "{", "1e3", "10e2"),
]

quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@lru_cache(maxsize=1000)
def compiled(query: str) -> Compiled | None:
    try:
        return compile_query(query, parse(query), Surroundings(functions={}, store=Store()))
    except SqlError as exc:
        refused = exc
    assert refused.line >= 1
    assert refused.column >= 1
    assert str(refused)
    return None


def refused_or_run(query: str, *events: Event) -> None:
    code = compiled(query)
    if code is None:
        return
    rows: list[tuple[int, dict[str, Any]]] = []
    no_result: list[int] = []
    exceptions: dict[int, Exception] = {}
    code.run(events, rows, no_result, exceptions)
    assert all(isinstance(error, EvaluationError) for error in exceptions.values())
    assert {i for i, _ in rows} | {*no_result} | exceptions.keys() == set(range(len(events)))
    assert not exceptions.keys() & {i for i, _ in rows}


@quick
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
def test_any_words_are_refused_or_run(query: str) -> None:
    refused_or_run(query, Event({"payload": "{}"}))
    refused_or_run(f'SELECT {query} FROM "t"', Event({"payload": '{"a": [1]}'}))
    refused_or_run(f'SELECT a FROM "t" WHERE {query}', Event({"payload": "x"}))


@quick
@given(st.one_of(st.text(), st.binary().map(lambda data: data.decode("latin-1"))))
def test_any_text_is_refused_or_run(query: str) -> None:
    refused_or_run(query)
    refused_or_run(f'SELECT {query} AS v FROM "t"')


CONTEXTUAL = [
    "IS",
    "NULL",
    "LIKE",
    "BETWEEN",
    "COALESCE",
    "not",
    "a",
    "1",
    "=",
    "AND",
    "OR",
    "IN (a)",
    "AS",
    "*",
    ".",
    "(",
]


@settings(max_examples=2000, deadline=None)
@given(st.lists(st.sampled_from([*CONTEXTUAL, ")", ","]), min_size=1, max_size=7).map(" ".join))
def test_what_emqx_reads_means_the_same_here(text: str) -> None:
    for query in (
        f'SELECT {text} FROM "t"',
        f'SELECT a FROM "t" WHERE {text}',
        f'SELECT CASE {text} END FROM "t"',
        f'FOREACH a AS b DO {text} INCASE {text} FROM "t"',
    ):
        try:
            read = parse(query, strict=True)
        except SqlError:
            continue
        assert parse(query) == read


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
leaf = st.sampled_from(["x", "y", "payload.a", "payload.b[1]", "1", "2.5", "'s'", "true", "z", "[x, 1]", "x[y]", "x.k"])
OPERATORS = ["+", "-", "*", "/", "div", "mod"]
expression = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda t: "({} {} {})".format(*t)),
        inner.map(lambda e: f"-{e}"),
        st.tuples(inner, inner).map(lambda t: "coalesce({} = {}, 1)".format(*t)),
        st.tuples(inner, inner).map(lambda t: "str(CASE WHEN {} > 1 THEN {} END)".format(*t)),
    ),
    max_leaves=6,
)
test = st.tuples(expression, st.sampled_from(["=", "!=", "<", ">=", "=~", "LIKE", "IN"]), expression).map(
    lambda t: f"{t[0]} {t[1]} ({t[2]})"
)


@quick
@given(expression, expression, test, json, json, json)
def test_any_expression_fails_cleanly_or_has_a_value(a: str, b: str, where: str, x: Any, y: Any, payload: Any) -> None:
    events = [
        Event({"x": x, "y": y, "payload": payload}),
        Event({"x": y, "z": UNDEFINED, "payload": "no json"}),
        Event({"payload": '{"a": 1, "b": [2.5]}', "x": 1}),
    ]
    fields = f"{a} AS p, {b} AS q, p AS r, {a} AS o.k, p.k AS s, q[1].k AS t, p[q] AS u, q.{'k.' * 9}k AS v"
    refused_or_run(f'SELECT {fields} FROM "t" WHERE NOT ({where} OR {where}) AND p.k = q[p.k]', *events)
    refused_or_run(f'FOREACH [{a}, {b}] AS e DO e, {a} AS v INCASE {where} FROM "t"', *events)


value = json | st.just(UNDEFINED) | st.binary(max_size=6).filter(lambda data: not data.isascii())
CALLED = sorted(BUILTINS.keys() - {"jq"})


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(CALLED), st.lists(value, min_size=6, max_size=6))
def test_any_arguments_fail_cleanly_or_give_a_value(name: str, values: list[Any]) -> None:
    function = BUILTINS[name]
    most = 3 if function.most is None else function.most
    for count in range(function.least, most + 1):
        args = ", ".join(f"a{i}" for i in range(count))
        refused_or_run(f'SELECT {name}({args}) AS v FROM "t"', Event({f"a{i}": v for i, v in enumerate(values)}))


@given(st.text("ab", max_size=12), st.text("ab%_", max_size=8))
def test_like_agrees_with_a_regular_expression(text: str, pattern: str) -> None:
    translated = "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern)
    assert like(text, pattern) == (re.fullmatch(translated, text, re.DOTALL) is not None)
    if "_" not in pattern:
        assert like(text, pattern) == fnmatch.fnmatchcase(text, pattern.replace("%", "*"))
