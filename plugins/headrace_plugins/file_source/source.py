"""The source ``file``."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field

from headrace import (
    Ack,
    Batch,
    ComponentConfig,
    Context,
    Duration,
    EndOfInput,
    Event,
    NotConnected,
    Size,
    Source,
    json_bytes,
    now_ms,
)
from headrace_plugins._files import replace_file
from headrace_plugins.file_source.lines import Lines, Place, find, following

_decode = msgspec.json.Decoder().decode


class FileSourceConfig(ComponentConfig):
    """Options of the source ``file``."""

    path: Path = Field(description="The file, one event a line.", examples=["events.jsonl"])
    lines: Literal["payload", "event"] = Field(
        "payload",
        description="What a line is. payload: the payload of a message; event: a JSON object of an event's columns, as "
        "the file sink writes them.",
    )
    topic: str | None = Field(None, description="Topic of the messages; default is the name of the source.")
    follow: bool = Field(True, description="Go on as the file grows; false stops at its end.")
    start: Literal["beginning", "end"] = Field("beginning", description="Where to begin with a file not read before.")
    remember: bool = Field(True, description="Go on after a restart where reading had come to; false starts anew.")
    poll: Duration = Field(0.25, gt=0, description="How often to look whether the file has grown or was rotated.")
    max_line: Size = Field(1 << 20, ge=1 << 10, le=256 << 20, description="Longest line; longer ones are passed over.")


class _Taken:
    """A batch that is under way, and the place after it."""

    __slots__ = ("batch", "done", "place")

    def __init__(self, batch: list[Event], place: Place) -> None:
        self.batch = batch
        self.place = place
        self.done = False


class FileSource(Source[FileSourceConfig]):
    """Read a file of lines, such as JSON lines: what is there, then what is added. Rotated files are read to the end.

    The place up to which the stream has everything is kept, so a restart goes on there. Lines read twice after a
    crash have the event ids they had.
    """

    name: ClassVar[str] = "file"
    counts: ClassVar = {
        "lines.invalid": "lines that are no JSON object",
        "lines.too_long": "lines longer than allowed",
        "files.lost": "files that were gone before they were read to their end",
    }

    def __init__(self, config: FileSourceConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self._topic = config.topic or ctx.name
        keep = config.remember and ctx.state_dir is not None
        self._memory = ctx.state_dir / f"file_source.{ctx.name}.json" if keep and ctx.state_dir else None
        self._lines: Lines | None = None
        self._unsettled: deque[_Taken] = deque()  # oldest first
        self._again: deque[_Taken] = deque()
        self._settled = asyncio.Event()

    async def open(self) -> None:
        if self._lines is None:
            try:
                self._lines = self._resume() or self._begin()
            except OSError as error:
                raise NotConnected(f"cannot read {self.config.path}: {error.strerror}") from error
        self.ctx.status.set("running")

    # -- files and places --------------------------------------------------------------------------------------

    def _begin(self) -> Lines:
        path = self.config.path
        return self._start(path, path.stat().st_size if self.config.start == "end" else 0)

    def _start(self, path: Path, offset: int = 0, epoch: str | None = None) -> Lines:
        return Lines(path, offset, epoch or os.urandom(8).hex(), self.config.max_line)

    def _resume(self) -> Lines | None:
        """The file that was read last, where it is now, at its place. None if nothing is known of one."""
        try:
            place = Place(**json.loads(self._memory.read_bytes())) if self._memory else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            self.log.warning("%s is damaged, reading from the %s: %s", self._memory, self.config.start, error)
            return None
        if place is None:
            return None
        path = find(self.config.path, place)
        if path is not None:
            lines = self._start(path, place.offset, place.epoch)
            if lines.holds(place):
                return lines
            lines.close()
        self.log.warning("%s is not the file read before: reading it from its beginning", self.config.path)
        self.ctx.metrics.add("files.lost")
        return self._start(self.config.path)

    def _remember(self, place: Place) -> None:
        assert self._memory is not None
        try:
            replace_file(self._memory, json.dumps(place._asdict()))
        except OSError as error:  # then a restart reads more than it had to
            self.ctx.status.error(f"cannot write {self._memory}: {error.strerror}")

    # -- reading -----------------------------------------------------------------------------------------------

    async def read(self) -> tuple[Batch, Ack]:
        while True:
            taken = self._again.popleft() if self._again else self._take()
            if taken is not None:
                return taken.batch, partial(self._settle, taken)
            if self.config.follow:
                await asyncio.sleep(self.config.poll)
            elif self._unsettled:
                self._settled.clear()  # a batch under way may yet come back
                await self._settled.wait()
            else:
                raise EndOfInput(f"{self.config.path} is read to its end")

    def _take(self) -> _Taken | None:
        """What is there to read, in this file or in those that came after it. None if there is nothing now."""
        while True:
            try:
                lines, found = self._next()
            except OSError as error:
                raise NotConnected(f"cannot read {self.config.path}: {error.strerror}") from error
            if lines.too_long:
                self.ctx.metrics.add("lines.too_long", lines.too_long)
                lines.too_long = 0
            if not found:
                return None
            batch = [event for end, line in found if (event := self._event(lines, end, line)) is not None]
            if batch:
                taken = _Taken(batch, lines.place(lines.offset))
                self._unsettled.append(taken)
                return taken

    def _next(self) -> tuple[Lines, list[tuple[int, bytes]]]:
        lines = self._lines
        assert lines is not None
        if lines.truncated:
            self.log.warning("%s was cut: reading it from its beginning", self.config.path)
            lines = self._switch(lines, self.config.path)
        found = lines.next(last=not self.config.follow)
        while not found and (successor := following(self.config.path, lines)) is not None:
            found = lines.next(last=True)  # whoever wrote it has gone on to the other one
            if not found:
                lines = self._switch(lines, successor)
                found = lines.next(last=False)
        return lines, found

    def _switch(self, old: Lines, path: Path) -> Lines:
        self._lines = new = self._start(path)
        old.close()
        return new

    def _event(self, lines: Lines, end: int, line: bytes) -> Event | None:
        now, id = now_ms(), f"{lines.epoch}{end:012x}"
        columns: dict[str, Any] = {
            "event": "message.publish",
            "id": id,
            "topic": self._topic,
            "payload": None,
            "qos": 1,
            "flags": {"retain": False, "dup": False},
            "pub_props": {},
            "publish_received_at": now,
            "timestamp": now,
        }
        if self.config.lines == "payload":
            columns["payload"] = _text(line)
        else:
            try:
                found = _decode(line)
            except ValueError:
                found = None
            if type(found) is not dict:
                self.ctx.metrics.add("lines.invalid")
                self.ctx.status.error(f"the line before byte {end} is no JSON object")
                return None
            columns |= found
            if not isinstance(columns["payload"], str | None):
                columns["payload"] = json_bytes(columns["payload"]).decode()
        made = columns["timestamp"]
        key = str(columns.get("clientid") or columns["topic"])
        return Event(columns, id, key, made if type(made) is int and made > 0 else now)

    def _settle(self, taken: _Taken, error: Exception | None) -> None:
        self._settled.set()
        if error is not None:
            self._again.append(taken)
            return
        taken.done = True
        place = None
        while self._unsettled and self._unsettled[0].done:
            place = self._unsettled.popleft().place
        if place is not None and self._memory is not None:
            self._remember(place)

    async def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        self.ctx.status.set("stopped")


def _text(line: bytes) -> str | bytes:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line
