"""The payload as JSON."""

from __future__ import annotations

import pytest

from headrace import Event


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 123456789012345678901234567890])
def test_integers_of_any_size_are_exact(number: int) -> None:
    value = Event({"payload": f'{{"n": {number}}}'}).json()["n"]
    assert value == number
    assert type(value) is int


def test_integers_and_floats_are_kept_apart() -> None:
    value = Event({"payload": b'{"a": 1.0, "b": 1, "c": 1e3}'}).json()
    assert [type(number) for number in value.values()] == [float, int, float]


@pytest.mark.parametrize("payload", ["", "{", "hello", b"\xff", '"\\ud800"', "NaN", "[" * 100_000, 7, None])
def test_what_is_not_json_is_refused_every_time(payload: object) -> None:
    event = Event({"payload": payload})
    for _ in range(2):
        with pytest.raises(ValueError, match="the payload is not JSON"):
            event.json()
