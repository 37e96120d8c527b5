"""The conservation law as a test helper."""

from typing import Any

import pytest

from headrace.testing import check_conservation


def status(**changes: dict[str, int]) -> dict[str, Any]:
    counters: dict[str, dict[str, int]] = {
        "sources": {"received": 10, "appended": 7, "rejected": 2, "rejected.too_large": 2, "pending": 1},
        "rules": {"matched": 7, "passed": 4, "failed": 3, "failed.exception": 1, "failed.no_result": 2},
        "sinks": {
            "matched": 4,
            "recovered": 3,
            "success": 2,
            "failed": 1,
            "late_reply": 1,
            "queuing": 1,
            "inflight": 0,
            "dropped": 2,
            "dropped.expired": 1,
            "dropped.queue_full": 1,
            "retried": 5,
        },
    }
    return {
        "name": "p",
        "state": "running",
        **{kind: {"x": {"state": "running", "counters": c | changes.get(kind, {})}} for kind, c in counters.items()},
    }


def test_sums_that_hold_pass():
    check_conservation(status())


def test_a_total_may_be_given_by_its_parts_alone():
    whole = status()
    del whole["sinks"]["x"]["counters"]["dropped"]
    del whole["sources"]["x"]["counters"]["rejected"]
    check_conservation(whole)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("sources", {"received": 11}),
        ("sources", {"pending": 0}),
        ("rules", {"passed": 5}),
        ("rules", {"failed": 4}),
        ("sinks", {"recovered": 0}),
        ("sinks", {"inflight": 1}),
        ("sinks", {"dropped.expired": 2}),
    ],
)
def test_one_event_too_many_or_too_few_is_found(kind: str, change: dict[str, int]):
    with pytest.raises(AssertionError, match=rf"{kind}\.x: "):
        check_conservation(status(**{kind: change}))
