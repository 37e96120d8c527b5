"""Classifying failures, and the pauses between attempts."""

from __future__ import annotations

import pytest

from headrace.config.model import RetryOptions
from headrace.engine.retry import Pace, Rate, RetryPolicy
from headrace.errors import Backoff, DeliveryError, NotConnected


@pytest.mark.parametrize(
    ("error", "again", "network", "later"),
    [
        (DeliveryError("x", kind="status", status=500), True, False, False),
        (DeliveryError("x", kind="status", status=503), True, False, True),
        (DeliveryError("x", kind="status", status=429), True, False, True),
        (DeliveryError("x", kind="status", status=408), True, False, True),
        (DeliveryError("x", kind="status", status=425), True, False, True),
        (DeliveryError("x", kind="status", status=404), False, False, False),
        (DeliveryError("x", kind="status", status=501), False, False, False),
        (DeliveryError("x", kind="status", status=505), False, False, False),
        (DeliveryError("x", kind="status", status=302), False, False, False),
        (DeliveryError("x", kind="network"), True, True, False),
        (DeliveryError("x", kind="timeout"), True, False, False),
        (DeliveryError("x", kind="invalid"), False, False, False),
        (ConnectionRefusedError(), True, True, False),
        (TimeoutError(), True, False, False),
        (NotConnected("gone"), True, True, False),
        (Backoff(3), True, False, True),
        (KeyError("a bug"), True, False, False),
    ],
)
def test_default_classes(error: Exception, again: bool, network: bool, later: bool) -> None:
    failure = RetryPolicy(RetryOptions()).classify(error)
    assert (failure.again, failure.network, failure.later) == (again, network, later)
    assert failure.reason


def test_501_is_retried_only_when_named() -> None:
    policy = RetryPolicy(RetryOptions(on=(501, "network")))
    assert policy.classify(DeliveryError("x", kind="status", status=501)).again
    assert not policy.classify(DeliveryError("x", kind="status", status=500)).again
    assert not policy.classify(TimeoutError()).again


def test_retry_after_is_capped_by_the_longest_wait() -> None:
    policy = RetryPolicy(RetryOptions(max="5s"))
    assert policy.classify(DeliveryError("x", kind="status", status=503, retry_after=2)).wait == 2
    assert policy.classify(DeliveryError("x", kind="status", status=503, retry_after=600)).wait == 5


def test_an_events_waits_grow_to_the_longest() -> None:
    policy = RetryPolicy(RetryOptions(initial="100ms", max="30s"))
    waits = [policy.delay(n) for n in range(1, 12)]
    assert 0.08 <= waits[0] <= 0.1
    assert 24 <= waits[-1] <= 30
    assert 0.08 <= policy.delay(0) <= 0.1
    assert policy.delay(10_000) <= 30


def test_pauses_between_probes_stay_a_fraction_of_the_outage() -> None:
    pace = Pace(RetryOptions(initial="100ms", max="30s"))
    age = 0.0
    for _ in range(60):
        pause = pace.failed()
        assert pause <= max(0.1, age / 3 + 0.1)
        assert pause <= 30
        age += pause
    assert pace.failing
    pace.succeeded()
    assert not pace.failing
    assert pace.failed() <= 0.1


def test_a_rate_gives_one_seconds_worth_and_then_waits() -> None:
    rate = Rate("10/s")
    allowed, wait = rate.allow(100, 1.0)
    assert (allowed, wait > 0) == (10, True)
    rate.spend(10)
    assert rate.allow(5, 1.0)[0] == 0
    assert rate.allow(5, 1.25)[0] == 2
    rate = Rate("30/m")
    assert rate.allow(3, 1.0)[0] == 1
