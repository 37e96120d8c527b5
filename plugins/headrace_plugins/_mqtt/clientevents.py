"""Which client events rules read: one that nobody reads is not made."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.topics import event_topics, matches

__all__ = ["NAMES", "wanted"]

NAMES = (
    "client.connected",
    "client.disconnected",
    "client.connack",
    "client.check_authn_complete",
    "client.check_authz_complete",
    "session.subscribed",
    "session.unsubscribed",
    "message.dropped",
)


def wanted(filters: Iterable[str]) -> frozenset[str]:
    """The events that these FROM ask for, in either spelling, or by a wildcard."""
    asked = [filter for filter in filters if filter.startswith("$events/")]
    return frozenset(
        name for name in NAMES if any(matches(filter, topic) for filter in asked for topic in event_topics(name))
    )
