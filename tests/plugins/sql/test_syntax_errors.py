"""Errors in queries: where, what was found, what was expected, and a hint."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from headrace_plugins.sql import SqlConfig, SqlError
from headrace_plugins.sql.compiler import Surroundings, compile_query
from headrace_plugins.sql.parser import parse


def refusal(query: str) -> SqlError:
    with pytest.raises(SqlError) as caught:
        compile_query(query, parse(query), Surroundings(functions={}))
    return caught.value


@pytest.mark.parametrize(
    ("query", "line", "column", "problem", "hint"),
    [
        ("SELECT a\nFROM t/#", 2, 8, "unexpected character '#'", 'FROM "t/#"'),
        ("SELECT a FROM t/x", 1, 16, "found /, expected ',' or WHERE", 'in quotes: FROM "t/1"'),
        ('SELECT a FROM "x" WHERE a == 1', 1, 28, "found =, expected a condition", "one ="),
        ('SELECT payload.end FROM "x"', 1, 16, "found end, expected a key", "payload.'end'"),
        ('SELECT a AS FROM "x"', 1, 13, "found FROM, expected a name", ""),
        ('SELECT -1 FROM "x"', 1, 8, "a value with a sign needs a name", "-1 AS name"),
        ('SELECT a[1 + 1] FROM "x"', 1, 12, "found +, expected ']'", "nth(1 + 1, list)"),
        ('SELECT a FROM "x" WHERE 1 < a < 3', 1, 31, "found <, expected the end of the comparison", "AND"),
        ('SELECT a FROM "x" LIMIT 1', 1, 19, "found LIMIT, expected", "no LIMIT"),
        ('SELECT a % 2 AS b FROM "x"', 1, 10, "unexpected character '%'", "mod"),
        ("SELECT a FROM 'x", 1, 15, 'unexpected character "\'"', "never ends"),
        ('SELECT payload.größe FROM "x"', 1, 18, "unexpected character 'ö'", "payload.'größe'"),
        ('SELECT not a FROM "x"', 1, 8, "found not, expected a value", "CASE WHEN"),
        ('SELECT uper(a) AS b FROM "x"', 1, 8, "there is no function uper()", "upper()"),
        ('SELECT UPPER(a) AS b FROM "x"', 1, 8, "there is no function UPPER()", "case-sensitive: upper()"),
        ('SELECT substr(a) AS b FROM "x"', 1, 8, "substr() takes 2 to 3 arguments, not 1", ""),
        ('SELECT a FROM "x" WHERE length(a)', 1, 25, "length() gives no boolean", "compare"),
        ("SELECT 1.5f AS a FROM 'x'", 1, 8, "1.5f is no number", "1.5e3"),
        ("SELECT a ~= b AS c FROM 'x'", 1, 10, "~= is no operator", "=~"),
        ('FOREACH a INCASE a = 1 DO b FROM "x"', 1, 24, "found DO, expected FROM", "before INCASE"),
        ('FOREACH a AS b.c FROM "x"', 1, 14, "the element needs a plain name", "AS item"),
        ('SELECT a FROM "x" WHERE b IS 5', 1, 30, "found 5, expected NULL", ""),
        ('SELECT a FROM "x" WHERE b BETWEEN 1', 1, 36, "found the end of the query, expected AND", ""),
    ],
)
def test_an_error_says_where_what_and_how(query: str, line: int, column: int, problem: str, hint: str) -> None:
    error = refusal(query)
    assert (error.line, error.column) == (line, column)
    assert error.problem.startswith(problem)
    assert hint in error.hint
    assert error.message.startswith(problem)
    assert hint in error.message


def test_the_report_has_the_line_and_a_caret() -> None:
    report = str(refusal('SELECT a,\n  b c d\nFROM "t"')).splitlines()
    assert report == ["line 2, column 7: found d, expected ',' or FROM", "    b c d", "        ^"]


def test_a_long_line_is_cut_around_the_place() -> None:
    query = "SELECT " + ", ".join(f"column{i}" for i in range(100)) + ' c d FROM "t"'
    _, excerpt, caret, *_ = str(refusal(query)).splitlines()
    assert len(excerpt) < 110
    assert excerpt[caret.index("^")] == "d"


def test_the_configuration_refuses_with_the_error_itself() -> None:
    with pytest.raises(ValidationError) as caught:
        SqlConfig(query="SELECT a\nFRM x")
    (error,) = caught.value.errors()
    assert error["loc"] == ("query",)
    found = error["ctx"]["error"]
    assert isinstance(found, SqlError)
    assert (found.line, found.column) == (2, 5)


def test_a_function_of_a_plugin_is_known_at_lint() -> None:
    query = 'SELECT double(1) AS a FROM "x"'
    SqlConfig.model_validate({"query": query}, context={"functions": {"double": lambda x: 2 * x}})
    with pytest.raises(ValidationError, match=r"double\(\) takes 1 argument, not 2"):
        SqlConfig.model_validate({"query": query.replace("1", "1, 2")}, context={"functions": {"double": lambda x: x}})
    with pytest.raises(ValidationError, match="there is no function double"):
        SqlConfig.model_validate({"query": query}, context={"functions": {}})
    SqlConfig(query=query)  # who does not know the plugins cannot tell


@pytest.mark.parametrize(
    "query",
    [
        "SELECT " + "(" * 41 + "1" + ")" * 41 + ' AS a FROM "x"',
        "SELECT " + "-" * 41 + '1 AS a FROM "x"',
        "SELECT " + "abs(" * 41 + "1" + ")" * 41 + ' AS a FROM "x"',
        "SELECT " + "[" * 41 + "]" * 41 + ' AS a FROM "x"',
        'SELECT a FROM "x" WHERE ' + "NOT " * 41 + "a = 1",
        "SELECT " + "1" + "+1" * 201 + ' AS a FROM "x"',
        "SELECT " + "a" * 70_000 + ' FROM "x"',
        'SELECT [1..10001] AS a FROM "x"',
        "SELECT " + "9" * 400 + ' AS a FROM "x"',
        'SELECT 1.5e999 AS a FROM "x"',
        "SELECT CASE " + "WHEN a = 1 THEN 1 " * 201 + 'END AS a FROM "x"',
        "SELECT a" + ".b" * 101 + ' AS v FROM "x"',
        'SELECT \ud800 FROM "x"',
    ],
)
def test_what_has_no_end_is_refused(query: str) -> None:
    assert refusal(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT " + "(" * 38 + "a" + "+b)" * 38 + ' AS a FROM "x"',
        "SELECT " + "+".join(["a"] * 200) + ' AS a FROM "x"',
        "SELECT " + "*".join(["a"] * 200) + ' AS a FROM "x"',
        "SELECT " + "".join(f"a {op} " for op in ["+", "-"] * 99) + 'a AS a FROM "x"',
        "SELECT CASE " + "WHEN a = 1 THEN 1 " * 200 + 'END AS a FROM "x"',
        'SELECT a FROM "x" WHERE ' + " OR ".join(["a = 1"] * 3000),
        'SELECT a FROM "x" WHERE a IN (' + ", ".join(map(str, range(5000))) + ")",
        "SELECT " + ", ".join(f"a + {i} AS a{i}" for i in range(2000)) + ' FROM "x"',
        'SELECT a FROM "x" WHERE ' + "(" * 38 + "a = 1" + ")" * 38,
        "SELECT " + "abs(" * 38 + "1" + ")" * 38 + ' AS a FROM "x"',
        "SELECT " + "a[" * 38 + "1" + "]" * 38 + ' AS v FROM "x"',
        "SELECT a" + ".b" * 100 + ' AS v FROM "x"',
        "SELECT 1 AS a" + ".b" * 100 + ' FROM "x"',
    ],
)
def test_what_is_within_the_limits_runs(query: str) -> None:
    rows: list[object] = []
    compile_query(query, parse(query), Surroundings(functions={})).run([], rows, [], {})
    assert rows == []
