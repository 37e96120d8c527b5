"""What a failed attempt means: try again or give up, this event's fault or the peer's.

The peer's fault (an *outage*) is waited out without limit, probing with one event at a time. The event's fault is
counted against ``max_attempts``. The evidence is the sink's own successes:

==========================================  =====================================================================
network, no connection                      the event's, if others succeeded since this attempt began
408, 425, 429, 503: the peer says "later"   never the event's
anything else (500, timeout, exception)     the event's, if others succeeded since its first attempt and no fresh
                                            event has failed since the last success
==========================================  =====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.config.model import RetryOptions, status_matches
from headrace.engine.flow import jitter
from headrace.errors import Backoff, DeliveryError, NotConnected

__all__ = ["Failure", "RetryPolicy", "describe"]

LATER = frozenset({408, 425, 429, 503})
NEVER_BY_CLASS = frozenset({501, 505})  # "5xx" does not mean these


@dataclass(frozen=True)
class Failure:
    """One failed attempt, classified."""

    reason: str
    again: bool
    """Retried, if it is not the event's last attempt."""
    network: bool = False
    later: bool = False
    wait: float = 0.0
    """Seconds the peer asked for: the whole sink pauses."""
    what: str = "error"
    """For counting: ``network``, ``timeout``, ``invalid``, ``backoff``, ``error``, or a class of status: ``5xx``."""


class RetryPolicy:
    """``retry:`` of one sink, ready to be asked."""

    def __init__(self, options: RetryOptions) -> None:
        self.options = options
        self._on = frozenset(options.on)

    def classify(self, error: Exception) -> Failure:
        """What kind of failure this is."""
        reason = describe(error)
        if isinstance(error, Backoff):
            return Failure(reason, again=True, later=True, wait=error.seconds, what="backoff")
        if isinstance(error, DeliveryError):
            what: str = error.kind
            again, later = error.kind in self._on, False
            if error.kind == "status" and error.status is not None:
                what = f"{error.status // 100}xx"
                again, later = self._status(error.status), error.status in LATER
            wait = min(error.retry_after or 0.0, self.options.max_asked) if again else 0.0
            return Failure(reason, again, error.kind == "network", later, wait, what)
        if isinstance(error, TimeoutError):
            return Failure(reason, "timeout" in self._on, what="timeout")
        if isinstance(error, OSError | NotConnected):
            return Failure(reason, "network" in self._on, network=True, what="network")
        return Failure(reason, "error" in self._on)

    def _status(self, status: int) -> bool:
        if status in NEVER_BY_CLASS:
            return status in self._on
        return status_matches(status, self._on)

    def delay(self, failures: int) -> float:
        """Wait before the next attempt of one event: exponential, with jitter."""
        options = self.options
        return min(options.max, options.initial * 2.0 ** min(max(failures, 1) - 1, 30)) * jitter()


def describe(error: BaseException) -> str:
    """An error in one line, with its type where the text alone says little."""
    text = str(error)
    if isinstance(error, DeliveryError | Backoff | NotConnected) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
