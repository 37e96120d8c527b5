"""Classifying failures, and the pauses between attempts."""

from __future__ import annotations

import pytest

from headrace.config.model import RetryOptions
from headrace.engine.retry import RetryPolicy
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
    policy = RetryPolicy(RetryOptions(max_asked="5s"))
    assert policy.classify(DeliveryError("x", kind="status", status=503, retry_after=2)).wait == 2
    assert policy.classify(DeliveryError("x", kind="status", status=503, retry_after=600)).wait == 5
    assert policy.classify(DeliveryError("x", kind="status", status=404, retry_after=2)).wait == 0, "not tried again"


def test_an_events_waits_grow_to_the_longest() -> None:
    policy = RetryPolicy(RetryOptions(initial="100ms", max="30s"))
    waits = [policy.delay(n) for n in range(1, 12)]
    assert 0.08 <= waits[0] <= 0.1
    assert 24 <= waits[-1] <= 30
    assert 0.08 <= policy.delay(0) <= 0.1
    assert policy.delay(10_000) <= 30
