"""So many a second, and so many at one time."""

from __future__ import annotations

from collections import Counter

__all__ = ["Crowd", "Rate"]


class Crowd:
    """How many of each name are in; with a limit, no more than that get in."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._inside: Counter[str] = Counter()

    def enter(self, name: str) -> bool:
        """Count one in. False if there are as many as may be."""
        if self._limit is None:
            return True
        if self._inside[name] >= self._limit:
            return False
        self._inside[name] += 1
        return True

    def leave(self, name: str) -> None:
        """One of those who got in has left."""
        if self._limit is not None:
            self._inside[name] -= 1
            if not self._inside[name]:
                del self._inside[name]


class Rate:
    """A bucket that fills with ``per_second`` and holds as much."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = self._left = per_second
        self._at = now

    def takes(self, now: float) -> bool:
        """Is there room for one more at this moment?"""
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
