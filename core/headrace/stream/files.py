"""Every touch of the disk goes through here, so that tests can make it fail at any byte."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

__all__ = ["Files", "MemoryFiles"]


class Files:
    """The file system. All methods raise ``OSError``; a write may be short."""

    def lock(self, path: Path) -> int:
        """Own ``path`` until the process ends or the descriptor is closed. ``BlockingIOError`` names the owner."""
        fd = self.open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            raise BlockingIOError(f"in use by process {owner or '(unknown)'}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        return fd

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def children(self, directory: Path) -> list[Path]:
        return sorted(directory.iterdir()) if directory.is_dir() else []

    def open(self, path: Path) -> int:
        """A file descriptor to read and write; the file is made if it is not there."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def open_to_read(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def read_at(self, fd: int, size: int, position: int) -> bytes:
        """``size`` bytes, fewer only at the end of the file."""
        return os.pread(fd, size, position)

    def write_at(self, fd: int, data: bytes, position: int) -> int:
        return os.pwrite(fd, data, position)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_directory(self, path: Path) -> None:
        path.rmdir()

    def free(self, path: Path) -> int:
        """Bytes a process like this one may still write to the disk of ``path``."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize


class MemoryFiles(Files):
    """The same in memory, for ``embedded://memory``."""

    def __init__(self) -> None:
        self._contents: dict[Path, bytearray] = {}
        self._open: dict[int, bytearray] = {}
        self._next: Callable[[], int] = count().__next__

    def lock(self, path: Path) -> int:
        return self.open(path)

    def make_directory(self, path: Path) -> None:
        """Directories are only names here."""

    def children(self, directory: Path) -> list[Path]:
        children = {directory / path.relative_to(directory).parts[0] for path in self._below(directory)}
        return sorted(children)

    def _below(self, directory: Path) -> list[Path]:
        return [path for path in self._contents if directory in path.parents]

    def open(self, path: Path) -> int:
        fd = self._next()
        self._open[fd] = self._contents.setdefault(path, bytearray())
        return fd

    def open_to_read(self, path: Path) -> int:
        return self.open(path)

    def close(self, fd: int) -> None:
        del self._open[fd]

    def size(self, fd: int) -> int:
        return len(self._open[fd])

    def read_at(self, fd: int, size: int, position: int) -> bytes:
        return bytes(memoryview(self._open[fd])[position : position + size])

    def write_at(self, fd: int, data: bytes, position: int) -> int:
        content = self._open[fd]
        if position > len(content):
            content.extend(bytes(position - len(content)))
        content[position : position + len(data)] = data
        return len(data)

    def truncate(self, fd: int, size: int) -> None:
        del self._open[fd][size:]

    def sync(self, fd: int) -> None:
        """Nothing outlives the process."""

    def sync_directory(self, path: Path) -> None:
        """Nothing outlives the process."""

    def remove(self, path: Path) -> None:
        self._contents.pop(path, None)

    def remove_directory(self, path: Path) -> None:
        """Directories are only names here."""

    def free(self, path: Path) -> int:
        return 1 << 62
