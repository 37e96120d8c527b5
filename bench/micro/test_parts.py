"""What an event meets on its way: functions, the index of topics, JSON, templates."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from stage import EVENTS, query, reading

from headrace import Event
from headrace.templates import Template, compile_body
from headrace.testing import make_event
from headrace.topics import TopicIndex

Measure = Callable[..., None]

_FUNCTIONS = (
    "upper(topic)",
    "concat(topic, payload.id)",
    "split(topic, '/')",
    "substr(topic, 2, 3)",
    "regex_match(topic, '^t/[0-9]+$')",
    "sprintf('~s: ~.2f', topic, payload.temp)",
    "round(payload.temp)",
    "map_get('temp', payload)",
    "json_encode(payload.temp)",
    "format_date('microsecond', '+01:00', '%Y-%m-%dT%H:%M:%S.%6N%:z', payload.ts)",
    "md5(payload)",
    "base64_encode(payload)",
    "CASE WHEN payload.temp > 30 THEN 'hot' ELSE 'cold' END",
)


@pytest.mark.benchmark(group="functions")
@pytest.mark.parametrize("expression", _FUNCTIONS)
def test_functions(measure: Measure, expression: str) -> None:
    measure(query(f'SELECT {expression} AS v FROM "t/#"').process)


@pytest.mark.benchmark(group="index of 10,000 topic filters")
@pytest.mark.parametrize("remember", [0, 10_000], ids=["new topics", "topics seen before"])
def test_topics(benchmark: BenchmarkFixture, remember: int) -> None:
    index: TopicIndex[int] = TopicIndex(remember)
    for i in range(10_000):
        index.add(("site/{}/+/temp", "site/+/{}/#", "site/{0}/{0}")[i % 3].format(i), i)
    topics = [f"site/{i}/{i + 1}/temp" for i in range(EVENTS)]

    def run() -> None:
        for topic in topics:
            index.match(topic)

    benchmark(run)


@pytest.mark.benchmark(group="JSON")
@pytest.mark.parametrize("rules", [1, 10])
def test_decoded_once(measure: Measure, rules: int) -> None:
    def process(events: list[Event]) -> None:
        for event in events:
            for _ in range(rules):
                event.json()

    measure(process)


@pytest.mark.benchmark(group="templates")
@pytest.mark.parametrize(
    "render",
    [
        Template("${id}: ${temp}").render,
        compile_body("${payload}"),
        compile_body(None),
        compile_body({"device": "${id}", "celsius": "${temp}", "at": {"ts": "${ts}"}}),
    ],
    ids=["text", "payload", "whole event", "tree"],
)
def test_rendering(benchmark: BenchmarkFixture, render: Callable[[Event], object]) -> None:
    events = []
    for i in range(EVENTS):
        row = reading(i)
        events.append(make_event(json.dumps(row)).output({**row, "payload": json.dumps(row)}, "r"))

    def run() -> None:
        for event in events:
            render(event)

    benchmark(run)
