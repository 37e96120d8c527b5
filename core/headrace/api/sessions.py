"""Sessions of the dashboard, and how often somebody has guessed wrong. Both are kept in memory and bounded."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections import deque
from typing import ClassVar

from headrace.api.answers import Refused

__all__ = ["Failures", "Sessions"]


class Sessions:
    """Who has signed in. A restart ends all sessions."""

    LIFE: ClassVar[float] = 12 * 3600.0
    """Seconds a session lasts."""
    MOST: ClassVar[int] = 1000

    def __init__(self) -> None:
        self._sessions: dict[bytes, tuple[str, float]] = {}  # of the secret only its hash is kept

    def begin(self, name: str) -> str:
        """The secret of a new session."""
        secret = secrets.token_urlsafe(32)
        while len(self._sessions) >= self.MOST:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[_hash(secret)] = (name, time.monotonic() + self.LIFE)
        return secret

    def find(self, secret: str) -> str | None:
        """Whose it is."""
        name, end = self._sessions.get(_hash(secret), (None, 0.0))
        return name if time.monotonic() < end else None

    def end(self, secret: str) -> None:
        self._sessions.pop(_hash(secret), None)


class Failures:
    """Wrong passwords and tokens by address: after ``FREE`` within ``WINDOW`` seconds none is looked at."""

    FREE: ClassVar[int] = 5
    WINDOW: ClassVar[float] = 60.0
    MOST: ClassVar[int] = 10_000

    def __init__(self) -> None:
        self._failed: dict[str, deque[float]] = {}

    def add(self, address: str | None) -> None:
        failed = self._failed.pop(address or "", None) or deque(maxlen=self.FREE)
        failed.append(time.monotonic())
        while len(self._failed) >= self.MOST:
            del self._failed[next(iter(self._failed))]
        self._failed[address or ""] = failed

    def forgive(self, address: str | None) -> None:
        """It was right."""
        self._failed.pop(address or "", None)

    def check(self, address: str | None) -> None:
        """Refused, with the time to wait, if there were too many."""
        failed = self._failed.get(address or "")
        if failed is None or len(failed) < self.FREE:
            return
        wait = failed[0] + self.WINDOW - time.monotonic()
        if wait > 0:
            seconds = math.ceil(wait)
            raise Refused("TOO_MANY_ATTEMPTS", f"too many wrong ones: try again in {seconds} s", 429, retry_in=seconds)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
