"""``file``: a sink that appends each event to a file, one line each."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, field_validator

from headrace import Batch, ComponentConfig, Context, Done, Event, NotConnected, Sink, Size, hookimpl, json_bytes
from headrace.templates import Template

_STEP = 1 << 16


class RotateOptions(ComponentConfig):
    """When a file is full, and how many full ones stay."""

    size: Size = Field(gt=0, description="A file that would grow beyond this is put aside as path.1, path.2, …")
    keep: int = Field(10, ge=1, le=10_000, description="Files put aside that are kept; the oldest is deleted.")


class FileConfig(ComponentConfig):
    """Options of ``file``."""

    path: Path = Field(description="The file; its directory is made if need be.", examples=["events.jsonl"])
    template: str | None = Field(
        None, description="Template of the line; default is the event as JSON.", examples=["${topic} ${payload}"]
    )
    rotate: RotateOptions | None = Field(None, description="Start new files by size; by default one file grows.")
    sync: bool = Field(False, description="Have each write on the disk (fsync) before its events count as delivered.")

    @field_validator("template")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        if text is not None:
            Template(text)
        return text


class File(Sink[FileConfig]):
    """Append each event to a file as a line of JSON, or by a template.

    A line is in the file whole or not at all: what a crash or a full disk left of one is cut off, and its event,
    not yet delivered, is written again.
    """

    name = "file"

    def __init__(self, config: FileConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self._template = None if config.template is None else Template(config.template)
        self._lock = threading.Lock()
        self._file: int | None = None
        self._size = 0

    async def open(self) -> None:
        with self._lock:
            self._shut()
            try:
                self.config.path.parent.mkdir(parents=True, exist_ok=True)
                self._start()
                self._mend()
                if self.config.sync:
                    _sync_directory(self.config.path.parent)
            except OSError as exc:
                raise NotConnected(f"cannot write {self.config.path}: {exc.strerror}") from exc
        self.ctx.status.set("running")

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def render(self, event: Event) -> Mapping[str, Any]:
        return {"line": self._line(event).decode("utf-8", "replace").rstrip("\n")}

    async def write(self, batch: Batch, done: Done) -> None:
        data = b"".join([self._line(event) for event in batch])
        if self.config.sync:
            await asyncio.to_thread(self._append, data)  # the disk must not hold the loop
        else:
            self._append(data)  # into the system's cache: quicker than going to a thread

    def _line(self, event: Event) -> bytes:
        text = json_bytes(event.columns) if self._template is None else self._template.render_bytes(event)
        return text + b"\n"

    def _start(self) -> None:
        """Open the file, for this sink alone."""
        file = os.open(self.config.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise NotConnected(f"{self.config.path} is being written by another sink or process") from None
        self._file, self._size = file, os.fstat(file).st_size

    def _mend(self) -> None:
        """Bring the end of the file to the end of a line."""
        file, torn, at = self._opened(), b"", self._size
        while at and b"\n" not in torn:
            step = min(_STEP, at)
            at -= step
            torn = os.pread(file, step, at) + torn
        torn = torn[torn.rfind(b"\n") + 1 :]
        if torn and self._template is None and not _is_json(torn):
            self.log.warning("%s: cutting off %d bytes of an unfinished line", self.config.path, len(torn))
            self._size -= len(torn)
            os.ftruncate(file, self._size)
        elif torn:
            self._size += os.write(file, b"\n")

    def _append(self, data: bytes) -> None:
        with self._lock:
            rotate = self.config.rotate
            if rotate and self._size and self._size + len(data) > rotate.size:
                self._rotate(rotate.keep)
            file = self._opened()
            try:
                written = os.write(file, data)
                if written < len(data):  # a full disk takes a part without an error; the rest says what is wrong
                    written += os.write(file, memoryview(data)[written:])
                if written < len(data):
                    raise OSError(f"only {written} of {len(data)} bytes were taken")
                if self.config.sync:
                    os.fsync(file)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file, self._size)
                raise
            self._size += len(data)

    def _rotate(self, keep: int) -> None:
        path = self.config.path
        names = [path, *(path.with_name(f"{path.name}.{n}") for n in range(1, keep + 1))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        self._shut()
        self._start()
        if self.config.sync:
            _sync_directory(path.parent)

    def _opened(self) -> int:
        if self._file is None:
            raise NotConnected(f"{self.config.path} is not open")
        return self._file

    def _close(self) -> None:
        with self._lock:
            self._shut()

    def _shut(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@hookimpl
def register_sinks() -> list[type[File]]:
    return [File]
