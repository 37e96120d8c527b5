"""Lines at the end of a file, written in a thread, so that nobody waits for a disk."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Condition
from typing import ClassVar
from weakref import WeakValueDictionary

from headrace_plugins._files import replace_file

__all__ = ["Journal"]

_writer = ThreadPoolExecutor(1, "presence")  # the interpreter waits for it before it exits: nothing is left behind


class Journal:
    """The last line of each name holds. Of lines that wait to be written, there is one a name at most.

    What was added is in the file a moment later, whatever becomes of its owner; only the kill of the process, or of the
    machine, comes before that.
    """

    _open: ClassVar[WeakValueDictionary[Path, Journal]] = WeakValueDictionary()

    @classmethod
    def of(cls, path: Path) -> Journal:
        """The journal of a file: one for all who have it at the same time."""
        path = path.absolute()
        found = cls._open.get(path)
        if found is None:
            found = cls._open[path] = cls(path)
        return found

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: dict[str, str] = {}
        self._changed = Condition()
        self._busy = False
        self._lines = 0
        self._most = 0
        self.problem: str | None = None
        """Why the last attempt to write failed; the next ``add`` tries again, also with no line."""

    def read(self) -> list[bytes]:
        """All lines, when what waits has been written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
        data = self._path.read_bytes() if self._path.exists() else b""
        if data and not data.endswith(b"\n"):  # torn by a crash
            with self._path.open("a") as file:
                file.write("\n")
        lines = data.splitlines()
        self._lines = len(lines)
        return lines

    def add(self, lines: dict[str, str], most: int) -> None:
        """Write these lines, by name. With more than ``most`` in the file, those that hold no more go."""
        with self._changed:
            self._most = most
            self._waiting |= lines
            if not self._busy:
                self._busy = True
                _writer.submit(self._write)

    # -- in the thread -----------------------------------------------------------------------------------------

    def _write(self) -> None:
        while True:
            with self._changed:
                lines, self._waiting = self._waiting, {}
                if not lines:
                    self._busy = False
                    self._changed.notify_all()
                    return
            try:
                self._append(lines)
                self.problem = None
            except (OSError, ValueError) as error:  # ValueError: the file is no text
                with self._changed:
                    self.problem = f"{self._path}: {error}"
                    self._waiting = lines | self._waiting
                    self._busy = False
                    self._changed.notify_all()
                    return

    def _append(self, lines: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write("".join(lines.values()))
        self._lines += len(lines)
        if self._lines > self._most:
            self._shrink()

    def _shrink(self) -> None:
        last: dict[str, str] = {}
        for line in self._path.read_text().splitlines(keepends=True):
            try:
                last[json.loads(line)[0]] = line
            except (ValueError, TypeError, IndexError):
                continue  # torn by a crash
        replace_file(self._path, "".join(last.values()))
        self._lines = len(last)
