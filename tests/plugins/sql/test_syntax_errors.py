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
        ("SELECT a FROM t/x", 1, 16, "found /, expected ',' or WHERE", 'in quotes: FROM "t/#"'),
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
        (
            'SELECT end FROM "x"',
            1,
            8,
            "found end, expected a value",
            'END is a reserved word; as a name it goes in double quotes: "end"',
        ),
        (
            'SELECT a AS select FROM "x"',
            1,
            13,
            "found select, expected a name",
            'SELECT is a reserved word; as a name it goes in double quotes: "select"',
        ),
        (
            'SELECT a.b.from FROM "x"',
            1,
            12,
            "found from, expected a key",
            "FROM is a reserved word; as a key it goes in quotes: payload.'from'",
        ),
        (
            'SELECT IF(a, 1, 2) AS b FROM "x"',
            1,
            8,
            "found IF, expected a value",
            "a choice is written: CASE WHEN a > 1 THEN 'high' ELSE 'low' END",
        ),
        ('SELEC a FROM "x"', 1, 1, "found SELEC, expected SELECT or FOREACH", "did you mean SELECT?"),
        ('SELECT * FORM "x"', 1, 10, "found FORM, expected ',' or FROM", "did you mean FROM?"),
        (
            'SELECT * FROM "x" WHER a = 1',
            1,
            19,
            "found WHER, expected WHERE or the end of the query",
            "did you mean WHERE?",
        ),
        ('SELECT a, FROM "x"', 1, 11, "found FROM, expected a value", "there is a comma too many before FROM"),
        ('SELECT FROM "x"', 1, 8, "found FROM, expected a value", ""),
        (
            "SELECT * FROM #",
            1,
            15,
            "unexpected character '#'",
            'a topic filter goes in quotes: FROM "t/#"; a comment begins with --',
        ),
        ("SELECT * FROM t/+/x", 1, 16, "found /, expected ',' or WHERE", 'a topic filter goes in quotes: FROM "t/#"'),
        ("SELECT * FROM +/a", 1, 15, "found +, expected a topic filter", 'a topic filter goes in quotes: FROM "t/#"'),
        (
            'SELECT a FROM "x" "y"',
            1,
            19,
            "found \"y\", expected ',' or WHERE",
            "several topics are separated by commas",
        ),
        ('SELECT a WHERE a = 1 FROM "x"', 1, 10, "found WHERE, expected ',' or FROM", "FROM comes before WHERE"),
        ('SELECT a FROM (SELECT b FROM "x")', 1, 15, "found (, expected a topic filter", "there are no sub-selects"),
        (
            "INSERT INTO x VALUES (1)",
            1,
            1,
            "found INSERT, expected SELECT or FOREACH",
            "a rule only reads events; what is done with its rows is the business of sinks",
        ),
        (
            'SELECT * FROM "x" WHERE a = 1 b = 2',
            1,
            31,
            "found b, expected an operator",
            "conditions are joined by AND or OR",
        ),
        ('SELECT * FROM "x" WHERE a && b', 1, 27, "unexpected character '&'", "in a condition write AND"),
        (
            'SELECT * FROM "x" WHERE a || b',
            1,
            27,
            "unexpected character '|'",
            "strings are joined with +; in a condition write OR",
        ),
        (
            'SELECT * FROM "x" WHERE !a',
            1,
            25,
            "unexpected character '!'",
            "in a condition write NOT; unequal is written != or <>",
        ),
        ('SELECT * FROM "x" WHERE a => 1', 1, 28, "found >, expected a condition", "it is written >="),
        ('SELECT * FROM "x" WHERE a =< 1', 1, 28, "found <, expected a condition", "it is written <="),
        (
            'SELECT (a = 1) AS b FROM "x"',
            1,
            11,
            "found =, expected ')'",
            "a comparison in parentheses, or two in a row, is no value",
        ),
        (
            'SELECT a AND b FROM "x"',
            1,
            10,
            "found AND, expected ',' or FROM",
            "AND is for conditions only; in a value use CASE WHEN … THEN true ELSE false END",
        ),
        (
            "SELECT a LIKE 'b' AS c FROM \"x\"",
            1,
            15,
            "found 'b', expected ',' or FROM",
            "LIKE is for conditions only; in a value use CASE WHEN … THEN true ELSE false END",
        ),
        (
            'SELECT a IS NULL AS c FROM "x"',
            1,
            13,
            "found NULL, expected ',' or FROM",
            "IS is for conditions only; in a value use CASE WHEN … THEN true ELSE false END",
        ),
        ('SELECT payload.l[0..2] AS b FROM "x"', 1, 8, "an index of a slice is never 0", "elements count from 1"),
        ('SELECT nth(0, a) AS b FROM "x"', 1, 8, "nth(): positions count from 1", ""),
        ('SELECT topic(0) AS b FROM "x"', 1, 8, "topic(): positions count from 1", ""),
        (
            "SELECT payload.l['a'] FROM \"x\"",
            1,
            18,
            "found 'a', expected a number or a name",
            "an index is a number from 1 or a name; to compute one use nth(1 + 1, list)",
        ),
        ("SELECT payload->'a' FROM \"x\"", 1, 16, "found >, expected a value", "a key follows a dot: payload.a"),
        ('SELECT a.[1] FROM "x"', 1, 10, "found [, expected a key", "an index follows the name directly: a[1]"),
        (
            'SELECT a.1.5 FROM "x"',
            1,
            10,
            "found 1.5, expected a key",
            "as keys, numbers go in quotes here: payload.'1'.'5'",
        ),
        (
            'SELECT a[1..2].b AS c FROM "x"',
            1,
            15,
            "found ., expected ',' or FROM",
            "nothing follows a slice; nth(1, list[2..3]) takes an element of it",
        ),
        (
            'SELECT a AS b[1..2] FROM "x"',
            1,
            14,
            "found [1..2], expected ',' or FROM",
            "a result cannot be written into a slice",
        ),
        (
            'SELECT count(*) FROM "x"',
            1,
            14,
            "found *, expected a value",
            "rule SQL looks at one event at a time: it has no aggregates",
        ),
        (
            'SELECT avg(a) AS b FROM "x"',
            1,
            8,
            "there is no function avg()",
            "rule SQL looks at one event at a time: it has no aggregates",
        ),
        ('SELECT now() AS b FROM "x"', 1, 8, "there is no function now()", "use now_timestamp() or now_rfc3339()"),
        ('SELECT concat(a, b, c) AS d FROM "x"', 1, 8, "concat() takes 1 to 2 arguments, not 3", ""),
        (
            'SELECT lists.map(a) AS b FROM "x"',
            1,
            8,
            "there is no function lists.map()",
            "functions of other modules are not available",
        ),
        (
            "SELECT format_date('seconds', 'Z', '%Y') AS b FROM \"x\"",
            1,
            8,
            "format_date(): expected one of second, millisecond, microsecond, nanosecond, not the string 'seconds'",
            "",
        ),
        (
            "SELECT split(a, ',', 'trim') AS b FROM \"x\"",
            1,
            8,
            "split(): expected one of notrim, leading, leading_notrim, trailing, trailing_notrim",
            "",
        ),
        (
            "SELECT regex_match(a, '(') AS b FROM \"x\"",
            1,
            8,
            "regex_match(): '(' is no regular expression: missing ) at position 1",
            "",
        ),
        (
            'SELECT CASE a = 1 THEN 1 END FROM "x"',
            1,
            19,
            "found THEN, expected WHEN",
            "without a value after CASE, WHEN comes first: CASE WHEN a = 1 THEN 'one' END",
        ),
        (
            'SELECT 1 + CASE WHEN a = 1 THEN 1 END AS b FROM "x"',
            1,
            12,
            "found CASE, expected a value",
            "a CASE is a whole field or an argument of a function; wrap it: coalesce(CASE … END, null())",
        ),
        ('SELECT CASE WHEN a THEN 1 FROM "x"', 1, 27, "found FROM, expected WHEN, ELSE or END", ""),
        (
            'SELECT a FROM "x" GROUP BY a',
            1,
            19,
            "found GROUP, expected WHERE or the end of the query",
            "rule SQL looks at one event at a time: it has no GROUP",
        ),
        (
            "SELECT 'it's' AS a FROM \"x\"",
            1,
            13,
            'unexpected character "\'"',
            "a string begins here and never ends; a quote inside one ends it (or is written '', with escapes: true)",
        ),
        (
            'SELECT `a` FROM "x"',
            1,
            8,
            "unexpected character '`'",
            "quote a name with \"double quotes\", a value with 'single quotes'",
        ),
        ('SELECT a FROM "x";', 1, 18, "unexpected character ';'", "a query has no semicolon at its end"),
        (
            'SELECT {a: 1} AS b FROM "x"',
            1,
            8,
            "unexpected character '{'",
            "there are no object literals; use map_put('key', value, map_new())",
        ),
        (
            'SELECT ${a} FROM "x"',
            1,
            8,
            "unexpected character '$'",
            "a column is named as it is, payload.a; ${…} is for sinks",
        ),
        (
            'SELECT _a FROM "x"',
            1,
            8,
            "unexpected character '_'",
            "a name begins with a letter; quote others: \"_x\", payload.'_x'",
        ),
        (
            'SELECT .5 AS a FROM "x"',
            1,
            8,
            "found ., expected a value",
            "a number begins and ends with a digit: 0.5, 1.0",
        ),
        (
            "SELECT [ 1..2 ] AS a FROM 'x'",
            1,
            11,
            "found ., expected ',' or ']'",
            "a range has no blanks and two ends: [1..5]",
        ),
        (
            "SELECT a FROM t.b",
            1,
            16,
            "found ., expected WHERE or the end of the query",
            'a topic filter goes in quotes: FROM "t/#"',
        ),
        ('SELECT a /* c */ FROM "x"', 1, 11, "found *, expected a value", "a comment begins with --"),
        (
            'SELECT a FROM "x" WHERE a IN [1, 2]',
            1,
            30,
            "found [, expected '(' and the values",
            "the values go in parentheses: a IN (1, 2)",
        ),
        (
            'SELECT a FROM "x" WHERE a IN 1',
            1,
            30,
            "found 1, expected '(' and the values",
            "the values go in parentheses: a IN (1, 2)",
        ),
        ('SELECT a FROM "x" WHERE 5', 1, 25, "this is no condition", "compare it with something: payload.n > 0"),
        (
            'SELECT a FROM "x" WHERE a = ‘b’',
            1,
            29,
            "unexpected character '‘'",
            "a typographic quote; write ' around a value, \" around a name",
        ),
        (
            'SELECT upper(a FROM "x"',
            1,
            16,
            "found FROM, expected ',' or ')'",
            "the ( at line 1, column 13 is never closed",
        ),
        ('SELECT (a + 1 FROM "x"', 1, 15, "found FROM, expected ')'", "the ( at line 1, column 8 is never closed"),
        (
            "SELECT a AS 'b' FROM \"x\"",
            1,
            13,
            "found 'b', expected a name",
            'a name goes in double quotes, or in none: AS "b"',
        ),
        (
            'FOREACH * DO a FROM "x"',
            1,
            9,
            "FOREACH takes an array, not *",
            "name the array: FOREACH payload.list AS item",
        ),
        ('SELECT [5..1] AS b FROM "x"', 1, 8, "the range [5..1] runs backwards", ""),
        ('SELECT a FROM "a/#/b"', 1, 15, "'a/#/b' is no topic filter: '#' must be a whole level, and the last one", ""),
        ('SELECT a FROM "x/+a/+a"', 1, 15, "the level +a is a wildcard with a name, and a is there twice", ""),
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
