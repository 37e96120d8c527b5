"""The file of users: ``name:hash`` a line, hashes as ``headrace passwd`` writes them."""

from __future__ import annotations

import asyncio
import hmac
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

from headrace import passwords

__all__ = ["Users", "read_users"]

NOBODY = "scrypt$16384$8$1$" + "A" * 22 + "==$" + "A" * 43 + "="
"""A hash as costly as any, of no password."""


def read_users(path: Path) -> dict[str, str]:
    """Names and hashes. ValueError names the first line that is wrong."""
    users: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, stored = line.rpartition(":")
        why = passwords.problem(stored) if colon and name else "not of the form name:hash"
        if why:
            raise ValueError(f"{path}:{number}: {why}")
        users[name] = stored
    return users


class Users:
    """Who may connect. Reads the file again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users = read_users(path)
        self._version = self._seen()
        self._key = os.urandom(32)
        self._known: dict[str, tuple[str, bytes]] = {}  # name → the hash it matched, and a quick one
        self._pool = ThreadPoolExecutor(2, "users")  # a hash takes 50 ms and 16 MiB: not too many at a time

    def refresh(self) -> None:
        """Read the file again if it has changed. OSError or ValueError if that failed; then the users stay."""
        version = self._seen()
        if version != self._version:
            self._version = version
            self._users = read_users(self._path)

    def _seen(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def knows(self, name: str | None) -> bool:
        """Is it a user?"""
        return name in self._users

    def check(self, name: str, password: bytes) -> bool | asyncio.Future[bool]:
        """Is it a user with the right password? At once if it was before in this process, else off the event loop."""
        stored = self._users.get(name)
        quick = blake2b(password, key=self._key, digest_size=32).digest()
        known = self._known.get(name)
        if known is not None and known[0] == stored and hmac.compare_digest(known[1], quick):
            return True
        return asyncio.ensure_future(self._verify(name, password, stored, quick))

    async def _verify(self, name: str, password: bytes, stored: str | None, quick: bytes) -> bool:
        # an unknown name costs as much as a wrong password, so neither can be told from the other
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._pool, passwords.verify, password, stored or NOBODY)
        if right and stored is not None:
            self._known[name] = (stored, quick)
            return True
        return False

    def close(self) -> None:
        """Stop checking; what is under way is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)
