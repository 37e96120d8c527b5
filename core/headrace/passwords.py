"""Passwords as they stand in a users file: scrypt, salted, ``scrypt$16384$8$1$<salt>$<hash>``.

Both functions take about 50 ms of CPU and 16 MiB, which is the point; call them outside the event loop.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode

__all__ = ["hash_password", "problem", "verify"]

_N, _R, _P = 1 << 14, 8, 1
_MAX_MEMORY = 256 << 20  # a line of a file must not make us allocate more


def hash_password(password: str | bytes) -> str:
    """The line to store for a password; another one each time."""
    salt = os.urandom(16)
    digest = _scrypt(password, salt, _N, _R, _P)
    return f"scrypt${_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def verify(password: str | bytes, stored: str) -> bool:
    """Is this the password? Takes the same time whatever the answer. A stored text that is no hash never matches."""
    parsed = _parse(stored)
    if parsed is None:
        return False
    n, r, p, salt, digest = parsed
    return hmac.compare_digest(_scrypt(password, salt, n, r, p), digest)


def problem(stored: str) -> str | None:
    """Why ``verify`` could never match this stored text, or None."""
    return None if _parse(stored) else "not a hash as `headrace passwd` writes it"


def _scrypt(password: str | bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    raw = password.encode("utf-8", "surrogatepass") if isinstance(password, str) else password
    return hashlib.scrypt(raw, salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=32)


def _parse(stored: str) -> tuple[int, int, int, bytes, bytes] | None:
    try:
        scheme, n, r, p, salt, digest = stored.split("$")
        cost = int(n), int(r), int(p)
        parsed = *cost, b64decode(salt, validate=True), b64decode(digest, validate=True)
    except ValueError:
        return None
    power = cost[0] > 1 and cost[0] & (cost[0] - 1) == 0
    bounded = power and 0 < cost[1] <= 32 and 0 < cost[2] <= 16 and 128 * cost[0] * cost[1] < _MAX_MEMORY
    return parsed if scheme == "scrypt" and bounded and len(parsed[4]) == 32 else None
