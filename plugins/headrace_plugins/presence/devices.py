"""What is known of each device, in memory and in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headrace_plugins.presence.journal import Journal

__all__ = ["Device", "Devices"]


class Device:
    """``online`` since ``at``, for ``reason``; ``told`` is what was last told, None before the first time.

    ``seen``: the last sign of life. ``session``: when the connection it has was made, if that is known. Times are Unix
    milliseconds.
    """

    __slots__ = (
        "at",
        "name",
        "online",
        "reason",
        "seen",
        "sending",
        "session",
        "told",
        "told_at",
        "watched",
        "written",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.online = False
        self.told: bool | None = None
        self.told_at = 0
        self.at = self.seen = self.session = 0
        self.reason = ""
        self.sending = False
        """What is to be told is on its way."""
        self.watched = False
        """It is known when to look whether it has fallen silent."""
        self.written = 0
        """``seen`` as it is in the file."""

    @property
    def record(self) -> list[Any]:
        """The device as a line of the file."""
        return [
            self.name, self.online, self.told, self.told_at, self.at, self.seen, self.session, self.reason,
        ]  # fmt: skip

    @classmethod
    def of(cls, record: list[Any]) -> Device:
        device = cls(record[0])
        _, device.online, device.told, device.told_at, device.at, device.seen, device.session, device.reason = record
        device.written = device.seen
        return device


class Devices:
    """All devices by name. With a path, each change is a line at the end of that file; the last line of a device holds.

    A line is on its way to the file when ``write`` returns, and there soon after: see ``Journal``.
    """

    def __init__(self, path: Path | None) -> None:
        self.all: dict[str, Device] = {}
        self._journal = Journal.of(path) if path is not None else None
        for line in self._journal.read() if self._journal is not None else ():
            try:
                device = Device.of(json.loads(line))
            except (ValueError, TypeError, IndexError):
                continue  # torn by a crash
            self.all[device.name] = device

    def write(self, changed: Iterable[Device]) -> None:
        """Keep what these devices are now."""
        if self._journal is None:
            return
        lines = {}
        for device in changed:
            lines[device.name] = json.dumps(device.record) + "\n"
            device.written = device.seen
        if lines or self.problem:
            self._journal.add(lines, 2 * len(self.all) + 1000)

    @property
    def problem(self) -> str | None:
        """Why changes are not in the file, if they are not."""
        return self._journal.problem if self._journal is not None else None
