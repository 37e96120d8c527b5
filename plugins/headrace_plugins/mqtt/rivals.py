"""A second client with our client id: the two throw each other out for ever, and neither looks broken."""

from __future__ import annotations

from collections import deque

__all__ = ["Rivals"]

RECENT = 60.0
SHORT = 5.0
MANY = 3
LONGEST_PAUSE = 30.0


class Rivals:
    """Watches how connections end.

    MQTT 5 says that a session was taken over; before it, connections that the other side ends within seconds of
    accepting them are all there is to see.
    """

    def __init__(self, clientid: str) -> None:
        self._clientid = clientid
        self._ends: deque[float] = deque(maxlen=10)
        self._told = False  # a broker said so

    def lost(self, taken_over: bool, closed: bool, accepted_at: float, now: float) -> str:
        """A connection has ended, closed by the broker or not; what there is to say, or nothing."""
        if not taken_over and not (closed and now - accepted_at < SHORT):
            self._ends.clear()
            self._told = False
            return ""
        self._ends.append(now)
        self._told |= taken_over
        return self.problem(now)

    def problem(self, now: float) -> str:
        """What is known at this moment, or nothing."""
        times = self._recent(now)
        if not times:
            return ""
        if self._told and times < MANY:
            return f"another client connected as {self._clientid}"
        if times < MANY:
            return ""
        if self._told:
            cause = f"another client uses the client id {self._clientid}, and the two throw each other out"
        else:
            cause = f"the broker ends each connection within seconds: does another client use the id {self._clientid}?"
        return f"{cause} ({times} times lately); give each its own `client_id`"

    def pause(self, now: float, least: float) -> float:
        """Seconds from one accepted connection to the next, at least."""
        longest = LONGEST_PAUSE if self._told else SHORT  # it may be the network after all
        return float(min(longest, least * 2 ** max(self._recent(now) - MANY + 1, 0)))

    def _recent(self, now: float) -> int:
        return sum(now - end < RECENT for end in self._ends)
