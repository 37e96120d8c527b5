"""A file that grows, as lines; and the files it became when it was rotated."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

__all__ = ["Lines", "Place", "find", "following"]

CHUNK = 256 << 10
MOST = 1000  # lines at a time: an event holds more memory than a short line
PROOF = 256


class Place(NamedTuple):
    """Where reading has come to. ``proof`` is a hash of the bytes before ``offset``: a file without them is another."""

    device: int
    inode: int
    offset: int
    proof: str
    epoch: str
    """Unlike any other reading of any other file."""


class Lines:
    """An open file, read from ``offset``."""

    def __init__(self, path: Path, offset: int, epoch: str, max_line: int) -> None:
        self.offset = offset
        self.epoch = epoch
        self.too_long = 0
        """Lines longer than ``max_line``, which were passed over."""
        self._max = max_line
        self._skipping = False
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would make us wait
        stat = os.fstat(self._fd)
        if not S_ISREG(stat.st_mode):
            self.close()
            raise OSError(errno.EINVAL, "it is no file of bytes on a disk")
        self.key = stat.st_dev, stat.st_ino

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def next(self, last: bool) -> list[tuple[int, bytes]]:
        """Lines that are whole, each with the offset where it ends; none at the end of the file.

        ``last``: nothing more is coming, so what is after the last line break is a line too.
        """
        while True:
            if self._skipping and not self._skip():
                return []
            data = os.pread(self._fd, CHUNK, self.offset)
            if len(data) == CHUNK and b"\n" not in data:
                data = os.pread(self._fd, self._max + 1, self.offset)
            end = data.rfind(b"\n") + 1
            if end or len(data) <= self._max:
                break
            self._skipping = True
            self.too_long += 1
        return list(islice(self._cut(data if last and not end else data[:end]), MOST))

    def _skip(self) -> bool:
        """Go past the next line break. False if there is none yet."""
        while data := os.pread(self._fd, CHUNK, self.offset):
            end = data.find(b"\n") + 1
            self.offset += end or len(data)
            if end:
                self._skipping = False
                return True
        return False

    def _cut(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at < len(data):
            end = data.find(b"\n", at) + 1 or len(data)
            line = data[at:end].rstrip(b"\r\n")
            self.offset += end - at
            at = end
            if len(line) > self._max:
                self.too_long += 1
            elif line:
                yield self.offset, line

    @property
    def truncated(self) -> bool:
        """Is the file shorter than what was read of it?"""
        return os.fstat(self._fd).st_size < self.offset

    def place(self, offset: int) -> Place:
        return Place(*self.key, offset, _proof(self._fd, offset), self.epoch)

    def holds(self, place: Place) -> bool:
        """Is this the file that was read up to ``place``?"""
        return self.key == (place.device, place.inode) and _proof(self._fd, place.offset) == place.proof


def _proof(fd: int, offset: int) -> str:
    before = os.pread(fd, min(offset, PROOF), max(offset - PROOF, 0))
    return blake2b(before, digest_size=16).hexdigest()


def _family(path: Path) -> list[tuple[Path, os.stat_result]]:
    """The file and what it was rotated to (``name.1``, ``name-20260131``), oldest first."""
    rotated = re.compile(re.escape(path.name) + r"[.-](\d[\d.-]*)")
    family: list[tuple[tuple[int, int, str], Path, os.stat_result]] = []
    for entry in os.scandir(path.parent):
        found = rotated.fullmatch(entry.name)
        if entry.name == path.name:
            age = (2, 0, "")
        elif found and found[1].isdigit() and len(found[1]) < 6:  # a number, which grows with the age
            age = (1, -int(found[1]), "")
        elif found:  # a date
            age = (0, 0, found[1])
        else:
            continue
        family.append((age, Path(entry.path), entry.stat()))
    return [(member, stat) for _, member, stat in sorted(family, key=lambda each: each[0])]


def find(path: Path, place: Place) -> Path | None:
    """Where the file of that place is now; None if it is gone."""
    wanted = place.device, place.inode
    return next((member for member, stat in _family(path) if (stat.st_dev, stat.st_ino) == wanted), None)


def following(path: Path, lines: Lines) -> Path | None:
    """The file that was begun after this one and is not empty; None if there is none, so this one may still grow."""
    with contextlib.suppress(FileNotFoundError):
        stat = path.stat()
        if (stat.st_dev, stat.st_ino) == lines.key:
            return None  # mostly; the directory may be large
    family = _family(path)
    keys = [(stat.st_dev, stat.st_ino) for _, stat in family]
    younger = family[keys.index(lines.key) + 1 :] if lines.key in keys else family[-1:]
    return next((member for member, stat in younger if stat.st_size), None)
