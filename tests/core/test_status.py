"""What a component's status remembers of what went wrong."""

from __future__ import annotations

import time

import pytest

from headrace.metrics import Status


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_errors_of_one_reason_are_counted_with_the_first_and_the_last(clock: list[float]) -> None:
    status = Status()
    status.error("HTTP 422", status=422, said=b"too warm")
    status.error("connection refused", 3)
    clock[0] = 160.0
    status.error("HTTP 422", status=422, said=b"x" * 1000)
    assert status.errors() == [
        {"reason": "HTTP 422", "count": 2, "first": 100.0, "last": 160.0, "status": 422, "said": "x" * 200},
        {"reason": "connection refused", "count": 3, "first": 100.0, "last": 100.0, "status": None, "said": ""},
    ]
    assert status.snapshot()["errors"] == status.errors()


def test_the_reasons_that_came_last_are_kept_and_each_is_bounded(clock: list[float]) -> None:
    status = Status()
    for n in range(20):
        status.error("again and again")
        status.error(f"{n} {'é' * 1000}")
    found = status.errors()
    assert [each["reason"].split()[0] for each in found] == ["19", "again", "18", "17", "16", "15", "14", "13"]
    assert found[1]["count"] == 20
    assert all(len(each["reason"]) <= 300 for each in found)


def test_they_are_counted_from_none_and_the_last_is_still_known(clock: list[float]) -> None:
    status = Status()
    status.error("no")
    status.forget()
    assert (status.errors(), status.last_error, status.last_error_at) == ([], "no", 100.0)
