"""What headrace has besides EMQX's SQL, and that it takes no name away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from headrace import UNDEFINED
from headrace_plugins.sql import SqlConfig
from headrace_plugins.sql.errors import EvaluationError

Run = Callable[..., Any]
WORDS = ["like", "between", "is", "null", "LIKE", "BETWEEN", "IS", "NULL", "coalesce", "COALESCE"]


@pytest.mark.parametrize("word", WORDS)
def test_a_new_word_is_still_a_name(word: str, run: Run) -> None:
    payload = f'{{"{word}": 5}}'
    assert run(f'SELECT {word}, qos {word}2 FROM "#" WHERE {word} = 5', **{word: 5}) == [{word: 5, f"{word}2": 1}]
    assert run(f'SELECT qos AS {word} FROM "#" WHERE {word} = 1') == [{word: 1}]
    assert run(f'SELECT qos {word} FROM "#" WHERE 1 = {word} AND {word} IN (1)') == [{word: 1}]
    assert run(f'SELECT payload.{word} AS v FROM "#" WHERE payload.{word} > 4', payload) == [{"v": 5}]
    assert run(f'FOREACH [1] AS {word} DO {word} INCASE {word} = 1 FROM "#"') == [{word: 1}]
    assert run(f'SELECT CASE {word} WHEN 5 THEN {word} END AS v FROM "#"', **{word: 5}) == [{"v": 5}]


@pytest.mark.parametrize("word", WORDS)
def test_a_new_word_means_something_beside_a_column_of_its_name(word: str, run: Run) -> None:
    query = f"SELECT 1 AS v FROM \"#\" WHERE {word} IS NOT NULL AND {word} BETWEEN 4 AND 6 AND str({word}) LIKE '_'"
    assert run(query, **{word: 5}) == [{"v": 1}]
    assert run(query, **{word: 7}) == []


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("payload.z IS NULL", True),
        ("payload.gone is null", True),
        ("payload.n IS NULL", False),
        ("payload.n IS NOT NULL", True),
        ("payload.z IS NOT NULL", False),
        ("NOT payload.z IS NULL", False),
        ("payload.n BETWEEN 5 AND 6", True),
        ("payload.n BETWEEN 4 AND 4.9", False),
        ("payload.n NOT BETWEEN 1 AND 2", True),
        ("payload.gone BETWEEN 1 AND 2", False),
        ("payload.s BETWEEN 'a' AND 'b'", True),
        ("payload.n BETWEEN 1 AND 9 AND qos = 2", False),
        ("payload.s LIKE 'a%'", True),
        ("payload.s LIKE 'A%'", False),
        ("payload.s LIKE '_bc'", True),
        ("payload.s LIKE '%c' OR qos = 2", True),
        ("payload.s NOT LIKE '%x%'", True),
        ("payload.gone LIKE '%'", False),
        ("payload.n NOT IN (1, 2)", True),
        ("payload.n NOT IN (5)", False),
        ("NOT (payload.n = 5 AND qos = 2)", True),
        ("payload.t", True),
        ("NOT payload.t OR payload.gone", False),
    ],
)
def test_a_condition_means_what_it_says(condition: str, met: bool, run: Run) -> None:
    payload = '{"n": 5, "z": null, "s": "abc", "t": true}'
    assert run(f'SELECT 1 AS v FROM "#" WHERE {condition}', payload) == [{"v": 1}] * met


def test_what_is_written_out_is_never_null(run: Run) -> None:
    assert run("SELECT 1 AS a, 'x' AS b FROM \"#\" WHERE 1 IS NOT NULL AND a IS NOT NULL AND b IS NULL") == []
    assert run("SELECT 1 AS a FROM \"#\" WHERE '' IS NOT NULL AND a IS NOT NULL") == [{"a": 1}]


def test_like_takes_strings(run: Run) -> None:
    with pytest.raises(EvaluationError, match="LIKE takes two strings, not the number 5"):
        run("SELECT 1 AS v FROM \"#\" WHERE payload.n LIKE '5'", '{"n": 5}')


def test_coalesce_takes_any_number_of_values(value: Run) -> None:
    assert value("coalesce(payload.a, payload.b, payload.c, 7)", '{"c": null}') is None
    assert value("COALESCE(payload.a, 7)") == 7
    assert value("coalesce_ne('', payload.a, 'x')") == "x"
    assert value("coalesce(null(), null(), null())") is UNDEFINED


def test_escapes_are_read_where_they_are_asked_for(value: Run) -> None:
    on = {"escapes": True}
    assert value(r"'it''s\ta \x41'", options=on) == "it's\ta A"
    assert value(r"'it''s\ta'") == r"it''s\ta"
    assert value("'''a'''", options=on) == "'a'"
    with pytest.raises(ValidationError, match=r"the escape \\q is unknown"):
        value(r"'\q'", options=on)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ('SELECT a FROM "t" WHERE a IS NULL', "found IS"),
        ('SELECT a FROM "t" WHERE a BETWEEN 1 AND 2', "found BETWEEN"),
        ("SELECT a FROM \"t\" WHERE a LIKE 'b'", "found LIKE"),
        ('SELECT COALESCE(a, 1) AS b FROM "t"', r"EMQX has no function COALESCE\(\)"),
        ('SELECT coalesce(a, b, 1) AS b FROM "t"', "takes 1 to 2 arguments, not 3"),
        ('SELECT cbor_decode(payload) AS b FROM "t"', r"EMQX has no function cbor_decode\(\)"),
        ('SELECT site FROM "t/+site"', ""),
    ],
)
def test_strict_refuses_what_emqx_does_not_have(query: str, message: str) -> None:
    assert SqlConfig(query=query).query
    if message:
        with pytest.raises(ValidationError, match=message):
            SqlConfig(query=query, strict=True)


def test_a_filter_that_can_match_nothing_is_refused_unless_strict() -> None:
    for filter in ("a/#/b", "a/b+", "", "$bridges/+"):
        query = f'SELECT * FROM "{filter}"'
        with pytest.raises(ValidationError, match="is no topic filter"):
            SqlConfig(query=query)
        assert SqlConfig(query=query, strict=True)


def test_what_can_never_work_is_refused_only_where_every_event_comes_to_it(run: Run) -> None:
    with pytest.raises(ValidationError, match="this is no condition"):
        run('SELECT 1 AS v FROM "#" WHERE 5 OR qos = 1')
    assert run('SELECT 1 AS v FROM "#" WHERE qos = 1 OR 5') == [{"v": 1}]
    with pytest.raises(EvaluationError, match="WHERE: this is no condition"):
        run('SELECT 1 AS v FROM "#" WHERE qos = 2 OR 5')
    with pytest.raises(EvaluationError, match=r"SELECT: the range \[3..1\] runs backwards"):
        run('SELECT CASE WHEN qos = 2 THEN 1 ELSE [3..1] END AS v FROM "#"')


def test_messagepack_and_cbor_are_read(value: Run) -> None:
    assert value("msgpack_decode(payload)", b"\x82\xa1a\x01\xa1b\x93\x01\x02\xc0") == {"a": 1, "b": [1, 2, None]}
    assert value("cbor_decode(payload)", b"\xa2aa\x01ab\x83\x01\x02\xf6") == {"a": 1, "b": [1, 2, None]}
    for name in ("msgpack_decode", "cbor_decode"):
        with pytest.raises(EvaluationError, match=rf"{name}\(\): not "):
            value(f"{name}(payload)", b"\xc1\xff")
