"""The transform: its contract, its inputs and guards, its explanations, and what evaluation promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace import UNDEFINED, Event, Guard, Transform
from headrace.testing.contracts import TransformContract
from headrace_plugins.sql import Sql
from headrace_plugins.sql.errors import EvaluationError


class TestContract(TransformContract):
    @pytest.fixture
    def transform(self, make: Callable[..., Sql]) -> Transform[Any]:
        return make('SELECT *, payload.n + 1 AS payload.m FROM "t/#" WHERE payload.n = 1')


def test_inputs_are_topics_and_events_apart(make: Callable[..., Sql]) -> None:
    inputs = make('SELECT * FROM "a/+x/#", "$events/client/+", "$bridges/mqtt:b"').inputs()
    assert inputs.topics == ("a/+/#",)
    assert inputs.events == ("$events/client/+", "$bridges/mqtt:b")


@pytest.mark.parametrize(
    ("query", "guards"),
    [
        ("* FROM 't' WHERE payload.id = 7", [(("payload", "id"), 7)]),
        (
            "* FROM 't' WHERE -2.5 = payload.a.b AND ok = true AND x > 1",
            [(("payload", "a", "b"), -2.5), (("ok",), True)],
        ),
        ("payload.id AS id FROM 't' WHERE id = 'x'", [(("payload", "id"), "x")]),
        ("payload.id AS payload FROM 't' WHERE payload.id = 3", [(("payload", "id"), 3)]),
        ("1 AS qos FROM 't' WHERE qos = 1", []),
        ("*, 1 AS payload.b FROM 't' WHERE payload.b = 1", []),
        ("* FROM 't' WHERE a = 1 OR b = 2", []),
        ("* FROM 't' WHERE a[1] = 2", []),
        ("* FROM '+site/t' WHERE site = 'n'", []),
    ],
)
def test_guards_are_the_equalities_every_result_meets(
    query: str, guards: list[tuple[Any, Any]], make: Callable[..., Sql]
) -> None:
    assert list(make(f"SELECT {query}").guards()) == [Guard(path, literal) for path, literal in guards]


def test_the_payload_is_decoded_only_where_it_is_read(run: Callable[..., Any]) -> None:
    assert run('SELECT qos FROM "#" WHERE qos = 1 OR payload.v = 2', "no json") == [{"qos": 1}]
    assert run('SELECT qos FROM "#" WHERE qos = 2 AND payload.v = 2', "no json") == []
    with pytest.raises(EvaluationError, match="WHERE: the payload is not JSON"):
        run('SELECT qos FROM "#" WHERE qos = 1 AND payload.v = 2', "no json")


def test_select_is_evaluated_before_where_as_in_emqx(run: Callable[..., Any]) -> None:
    with pytest.raises(EvaluationError, match="SELECT: cannot subtract the string 's' and the number 1"):
        run('SELECT payload.v - 1 AS x FROM "#" WHERE qos = 99', '{"v": "s"}')


def test_writing_into_a_value_leaves_the_event_as_it_was(make: Callable[..., Sql]) -> None:
    event = Event({"payload": '{"o": {"l": [1, 2]}}'})
    rows = make('SELECT payload.o AS o, 9 AS o.l[1], 8 AS o.m FROM "#"').process([event]).rows
    assert rows == [(0, {"o": {"l": [9, 2], "m": 8}})]
    assert event.json() == {"o": {"l": [1, 2]}}


def test_foreach_takes_no_more_than_max_rows(run: Callable[..., Any]) -> None:
    assert len(run('FOREACH payload FROM "#"', "[1, 2]", options={"max_rows": 2})) == 2
    with pytest.raises(EvaluationError, match="max_rows: 2"):
        run('FOREACH payload FROM "#"', "[1, 2, 3]", options={"max_rows": 2})


def test_an_event_that_fails_in_an_element_has_no_row(make: Callable[..., Sql]) -> None:
    query = 'FOREACH payload AS e DO 1 / e AS v FROM "#"'
    output = make(query).process([Event({"payload": "[1, 0]"}), Event({"payload": "[2]"})])
    assert output.rows == [(1, {"v": 0.5})]
    assert str(output.exceptions[0]) == "DO: division by zero"


def test_named_levels_are_columns(run: Callable[..., Any]) -> None:
    query = "SELECT site, upper(device) AS d FROM \"site/+site/+device/t\" WHERE site = 'n'"
    assert run(query, topic="site/n/d7/t") == [{"site": "n", "d": "D7"}]
    two = 'SELECT a, b FROM "x/+a", "y/+b"'
    assert run(two, topic="y/1") == [{"a": UNDEFINED, "b": "1"}]


def test_a_function_of_a_plugin_is_called_and_named_in_its_error(make: Callable[..., Sql]) -> None:
    def halve(number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number // 2

    sql = make('SELECT halve(payload.n) AS h FROM "#"', functions={"halve": halve})
    output = sql.process([Event({"payload": '{"n": 4}'}), Event({"payload": '{"n": 3}'})])
    assert output.rows == [(0, {"h": 2})]
    assert str(output.exceptions[1]) == "SELECT: halve(): odd"


def test_an_explanation_shows_each_operand(make: Callable[..., Sql]) -> None:
    sql = make('SELECT qos FROM "t/#" WHERE payload.temp > 30 AND qos = 1')
    told = sql.explain(Event({"topic": "t/1", "qos": 1, "payload": '{"temp": 12}'}))
    assert told.lines == [
        "WHERE payload.temp > 30 AND qos = 1: false",
        "  payload.temp > 30: false (payload.temp is 12)",
        "  qos = 1: true (qos is 1)",
        "no row: WHERE is false",
    ]


@pytest.mark.parametrize(
    ("query", "payload", "why"),
    [
        ("FOREACH topic DO item", "no json", "topic is the string 't/1', and FOREACH takes an array"),
        ("FOREACH payload DO item", '{"a": 1}', "payload is an object, and FOREACH takes an array"),
        (
            "FOREACH payload.s DO item",
            '{"s": "[1]"}',
            "payload.s is the string '[1]', and FOREACH takes an array; json_decode() makes one of a text",
        ),
        ("FOREACH payload.l DO item", '{"l": []}', "payload.l is an empty array"),
        ("FOREACH payload DO item INCASE item > 1.0e20", "[1, 2]", "INCASE is true for none of 2 elements"),
        ('FOREACH payload DO item FROM "#" WHERE qos > 1.0e20', "[1, 2]", "WHERE is false"),
    ],
)
def test_it_is_said_why_there_is_no_row(query: str, payload: str, why: str, make: Callable[..., Sql]) -> None:
    sql = make(query if "FROM" in query else f'{query} FROM "#"')
    told = sql.explain(Event({"topic": "t/1", "qos": 1, "payload": payload}))
    assert told.lines[-1] == f"no row: {why}"


def test_a_float_is_told_as_it_is_written(make: Callable[..., Sql]) -> None:
    told = make('SELECT 1 AS a FROM "#" WHERE qos > 1.0e20').explain(Event({"qos": 1}))
    assert told.lines[0] == "WHERE qos > 1.0e+20: false"


def test_to_explain_changes_nothing(make: Callable[..., Sql]) -> None:
    sql = make('SELECT kv_store_get(1) AS before, kv_store_put(1, 2) AS put FROM "#" WHERE put')
    event = Event({"topic": "t", "payload": "{}"})
    for _ in range(2):
        assert sql.explain(event).rows == [{"before": UNDEFINED, "put": True}]
    assert sql.process([event]).rows[0][1]["before"] is UNDEFINED


def test_no_text_of_the_query_reaches_the_code(make: Callable[..., Sql]) -> None:
    evil = "x'] + __import__('os')"
    code = make(f'SELECT "{evil}" AS "{evil}", \'{evil.replace(chr(39), "")}\' AS b FROM "#"').code
    assert repr(evil) in code
    assert "__import__" not in code.replace(repr(evil), "").replace(repr(evil.replace("'", "")), "")


def test_a_catastrophic_pattern_ends(run: Callable[..., Any]) -> None:
    with pytest.raises(EvaluationError, match=r"regex_match\(\): .* takes more than"):
        run("SELECT regex_match(payload, '(a|aa)+$') AS m FROM \"#\"", "a" * 60 + "b")
