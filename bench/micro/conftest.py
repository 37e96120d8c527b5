"""A round is a thousand fresh events, in batches as the stream brings them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from stage import EVENTS, reading

from headrace import Event
from headrace.testing import make_event

BATCH = 250


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Callable[..., None]:
    """Time a function of a batch. Nothing of the events was decoded before."""

    def measure(process: Callable[[list[Event]], Any], payload: Callable[[int], Any] = reading) -> None:
        payloads = [json.dumps(payload(i), separators=(",", ":")) for i in range(EVENTS)]

        def fresh() -> tuple[tuple[list[list[Event]]], dict[str, Any]]:
            events = [make_event(text, topic=f"t/{i % 100}") for i, text in enumerate(payloads)]
            return ([events[at : at + BATCH] for at in range(0, EVENTS, BATCH)],), {}

        def run(batches: list[list[Event]]) -> None:
            for batch in batches:
                process(batch)

        benchmark.pedantic(run, setup=fresh, rounds=60, warmup_rounds=5)

    return measure
