"""What one event may cost: results, patterns, the store. Beyond, the event fails and the next is as any other."""

from __future__ import annotations

import gzip
import itertools
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace import UNDEFINED, Event
from headrace_plugins.sql.compiler import Surroundings, compile_query
from headrace_plugins.sql.errors import EvaluationError
from headrace_plugins.sql.functions import state
from headrace_plugins.sql.functions.state import Store, store_of
from headrace_plugins.sql.parser import parse
from headrace_plugins.sql.values import MAX_BYTES

Run = Callable[..., Any]


@pytest.mark.parametrize(
    "expression",
    [
        "pad('', 99999999)",
        "sprintf('~9999999s', 'x')",
        "replace(payload, 'a', payload)",
        "regex_replace(payload, 'a', payload)",
        "concat(payload, concat(pad(payload, 9999999), pad(payload, 9999999)))",
        "join_to_string(pad('', 99999), [1..10000])",
        "bitsl(1, 99999999)",
        "power(10, 400)",
        "hexstr2bin(payload, 1)",
    ],
)
def test_a_result_without_end_fails_the_event(expression: str, value: Run) -> None:
    began = time.monotonic()
    with pytest.raises(EvaluationError):
        value(expression, "a" * 9000)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["gunzip", "zip_uncompress", "unzip"])
def test_a_bomb_is_not_unpacked(name: str, value: Run) -> None:
    data = b"\0" * (MAX_BYTES + 1)
    raw = zlib.compressobj(wbits=-15)
    packed = {"gunzip": gzip.compress(data), "zip_uncompress": zlib.compress(data)}.get(
        name, raw.compress(data) + raw.flush()
    )
    with pytest.raises(EvaluationError, match="more than"):
        value(f"{name}(payload)", packed)


@pytest.mark.parametrize(
    "query",
    [
        "[payload.l, payload.l] AS a0, " + ", ".join(f"[a{i}, a{i}] AS a{i + 1}" for i in range(40)),
        "map_put('x', 1, payload) AS a, " + ", ".join("map_put('y', a, a) AS a" for _ in range(40)),
        "1 AS a, " + ", ".join("a AS a.b, [a, a] AS a" for _ in range(40)),
        ", ".join(f"[1..9999] AS a{i}" for i in range(20)),
    ],
)
def test_a_row_that_would_grow_without_end_is_refused(query: str, run: Run) -> None:
    with pytest.raises(ValidationError, match="more than"):
        run(f'SELECT {query} FROM "#"')


def test_fields_may_use_each_other_within_reason(run: Run) -> None:
    numbers = ", ".join(f"a{i} + a{i} AS a{i + 1}" for i in range(40))
    assert run(f'SELECT 1 AS a0, {numbers} FROM "#"')[0]["a40"] == 1 << 40
    assert run('SELECT [1, 2] AS a, [a, a] AS b, [b, b] AS d FROM "#"')[0]["d"] == [[[1, 2], [1, 2]]] * 2


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60) | st.recursive(st.just("1"), lambda s: s.map(lambda t: f'[{t},{{"a":{t}}}]'), max_leaves=9)
)
def test_any_payload_fails_cleanly_or_has_a_row(payload: bytes | str) -> None:
    query = (
        'SELECT *, payload.a.b AS x, payload[1].a AS y, map(payload) AS z FROM "#" WHERE payload.a = 1 OR payload[1]'
    )
    rows: list[Any] = []
    no_result: list[int] = []
    failed: dict[int, Exception] = {}
    compile_query(query, parse(query), Surroundings()).run([Event({"payload": payload})], rows, no_result, failed)
    assert len(rows) + len(no_result) + len(failed) == 1
    assert all(isinstance(error, EvaluationError) for error in failed.values())


@pytest.mark.parametrize("depth", [500, 100_000])
def test_a_payload_nested_deeply_fails_the_event(depth: int, make: Run) -> None:
    rule = make('SELECT str(payload.a) AS a, payload.a = payload.a AS b FROM "#"')
    output = rule.process(
        [Event({"payload": '{"a":' + "[" * depth + "]" * depth + "}"}), Event({"payload": '{"a":1}'})]
    )
    assert [i for i, _ in output.rows][-1] == 1
    assert output.exceptions.keys() <= {0}


def test_a_full_store_refuses_and_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_MAX_ENTRIES", 2)
    monkeypatch.setattr(state, "_MAX_SIZE", 100)
    store = Store()
    store.put("a", 1)
    store.put("b", "x" * 50)
    for key, value in (("c", 1), ("a", "y" * 60)):
        with pytest.raises(ValueError, match="the store is full: 2 values"):
            store.put(key, value)
    assert (store.get("a"), store.get("b"), store.get("c")) == (1, "x" * 50, UNDEFINED)
    store.delete("b")
    store.put("a", "y" * 60)
    store.put("c", 1)
    assert store.get("a") == "y" * 60


def test_each_pipeline_has_a_store_for_all_its_rules() -> None:
    first, again, other = store_of("p"), store_of("p"), store_of("q")
    first.put("k", 1)
    assert again.get("k") == 1
    assert other.get("k") is UNDEFINED


def test_what_is_kept_outlives_the_event(make: Run) -> None:
    rule = make('SELECT coalesce(kv_store_get(clientid), 0) + 1 AS n, kv_store_put(clientid, n) AS kept FROM "#"')
    events = [Event({"clientid": clientid}) for clientid in ("a", "b", "a")]
    rows = itertools.chain(rule.process(events).rows, rule.process(events[:1]).rows)
    assert [row["n"] for _, row in rows] == [1, 1, 2, 3]
