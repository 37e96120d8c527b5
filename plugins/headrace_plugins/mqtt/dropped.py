"""How many messages Mosquitto said it has dropped: what grew while we were away is told when we are back."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["Dropped"]


class Dropped:
    """The count as it was last, kept over restarts if there is a ``path``. ``broker``: whose count it is."""

    def __init__(self, path: Path | None, broker: str) -> None:
        self._path = path
        self._broker = broker
        self.last: int | None = None
        if path is not None:
            with contextlib.suppress(OSError, ValueError):
                count, _, whose = path.read_text().partition(" ")
                self.last = int(count) if whose == broker else None

    def grown(self, count: int) -> int:
        """By how much it grew; 0 for the first count ever, and where the broker has begun to count anew."""
        before, self.last = self.last, count
        if self._path is not None and count != before:
            with contextlib.suppress(OSError):  # then it is known for as long as this process lives
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.write_text(f"{count} {self._broker}")
        return 0 if before is None else max(count - before, 0)
