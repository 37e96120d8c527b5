"""So many a second, and as many at once."""

from __future__ import annotations

__all__ = ["Rate"]


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
