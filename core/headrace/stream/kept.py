"""What a topic holds, read from its files without consuming it: for people who look into the log, and dead letters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from headrace.events import Event, decode
from headrace.stream.files import Files
from headrace.stream.offsets import Settled, newest
from headrace.stream.segments import Corrupt, Segment, SegmentReader
from headrace.stream.series import SUFFIX

__all__ = ["Kept", "read_kept", "read_topic", "topic_directory"]


class Kept(NamedTuple):
    """One unsettled event; ``size``: its share of the bytes of its record."""

    offset: int
    event: Event
    size: int


def topic_directory(directory: Path, name: str) -> Path:
    """Where a log keeps a topic."""
    return directory / "topics" / quote(name, safe="")


def read_topic(directory: Path, name: str) -> Iterator[Kept]:
    """The unsettled events of a topic, oldest first. Takes no lock and changes nothing."""
    files = Files()
    path = topic_directory(directory, name)
    yield from read_kept(files, path, _settled(files, path / "offsets"))


def read_kept(files: Files, directory: Path, settled: Settled) -> Iterator[Kept]:
    """The events in a topic's files that are not ``settled``. What is being written, or damaged, is left out."""
    for path in files.children(directory):
        if path.suffix != SUFFIX:
            continue
        with contextlib.suppress(FileNotFoundError, Corrupt):  # removed meanwhile; being written, or damaged
            yield from _read_segment(files, path, settled)


def _settled(files: Files, path: Path) -> Settled:
    try:
        fd = files.open_to_read(path)
    except FileNotFoundError:
        return Settled()
    try:
        found = newest(files, fd)
        return found[2] if found else Settled()
    finally:
        files.close(fd)


def _read_segment(files: Files, path: Path, settled: Settled) -> Iterator[Kept]:
    fd = files.open_to_read(path)
    try:
        size = files.size(fd)
        reader = SegmentReader(files, fd, Segment(path, int(path.stem)))
        reader.begin(size)
        while record := reader.read(size):
            left = settled.missing(record.offset, record.end)
            events = decode(record.payload) if left else []
            for start, end in left:
                for offset in range(start, end):
                    yield Kept(offset, events[offset - record.offset], len(record.payload) // record.events)
    finally:
        files.close(fd)
