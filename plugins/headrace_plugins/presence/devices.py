"""What is known of each device, in memory and in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headrace_plugins._files import replace_file

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

    A change that was written survives the end of the process.
    """

    def __init__(self, path: Path | None) -> None:
        self.all: dict[str, Device] = {}
        self._path = path
        self._lines = 0
        self._torn = False
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        data = path.read_bytes()
        self._torn = bool(data) and not data.endswith(b"\n")  # by a crash
        for line in data.splitlines():
            self._lines += 1
            try:
                device = Device.of(json.loads(line))
            except (ValueError, TypeError, IndexError):
                continue  # the torn one
            self.all[device.name] = device

    def write(self, changed: list[Device]) -> None:
        """Keep what these devices are now. OSError if that does not work."""
        if self._path is None or not changed:
            return
        text = "".join(json.dumps(device.record) + "\n" for device in changed)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            if self._torn:
                file.write("\n")
                self._torn = False
            file.write(text)
        for device in changed:
            device.written = device.seen
        self._lines += len(changed)
        if self._lines > 2 * len(self.all) + 1000:
            self._shrink(self._path)

    def _shrink(self, path: Path) -> None:
        replace_file(path, "".join(json.dumps(device.record) + "\n" for device in self.all.values()))
        self._lines = len(self.all)
