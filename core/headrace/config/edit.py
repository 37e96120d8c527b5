"""Changing single parts in the files of a configuration, with everything else in them as it was.

Comments, order and placeholders stay; a placeholder is neither filled in nor lost.
"""

from __future__ import annotations

import contextlib
import copy
import os
import tempfile
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from headrace.config.document import Document
from headrace.config.files import expand
from headrace.config.problems import InvalidConfig, Text, mask
from headrace.config.stars import Restored, kept, star, star_part
from headrace.errors import ConfigError
from headrace.registry import Registry

__all__ = ["Edit", "Replaced", "write"]


class Edit:
    """The files of a configuration, to look parts up in and to change one. Reads when it is made; writes nothing."""

    def __init__(self, patterns: Iterable[str], registry: Registry | None = None) -> None:
        """``registry``: of the plugins whose options say which of them are secrets."""
        self._registry = registry or Registry()
        self._patterns = list(patterns)
        self.read: dict[Path, bytes] = {}
        """What is in the files."""
        self._texts: dict[Path, str] = {}
        self._files: dict[Path, Document] = {}
        self._broken: list[str] = []
        """What is wrong with files: they can be looked at and replaced, and no part of them can be changed."""
        for path in map(Path, dict.fromkeys(path for pattern in self._patterns for path in expand(pattern))):
            self._add(path)

    def _add(self, path: Path) -> None:
        try:
            data = self.read[path] = path.read_bytes()
        except OSError as exc:
            self._broken.append(f"cannot read {path}: {exc.strerror}")
            return
        self._texts[path] = _lines(data.decode("utf-8-sig", "replace"))
        try:
            data.decode()
            self._files[path] = Document(self._texts[path])
        except ValueError:
            self._broken.append(f"{path} is not YAML as it is now: repair it first")

    def given(self, section: str, name: str) -> Any:
        """What a file says of a part; None if none names it."""
        path = self._where(section, name)
        return None if path is None else self._files[path].entries(section)[name]

    def told(self, section: str, name: str) -> dict[str, Any] | None:
        """The same for people: secrets are starred out, placeholders are not filled in."""
        given = copy.deepcopy(self.given(section, name))
        if not isinstance(given, Mapping):
            return None
        star_part(section, given, self._registry)
        return dict(given)

    def put(self, section: str, name: str, options: Mapping[str, Any]) -> tuple[Path, str]:
        """The file a part belongs to, and its text with these options. ``******`` keeps what is there."""
        self._check()
        path = self._where(section, name) or self._place(section)
        file = self._files[path]
        if not isinstance(file.tree.get(section), Mapping | None):
            raise ConfigError(f"{path}: {section} is no map of names: repair it first")
        file.put(section, name, kept(options, file.entries(section).get(name)))
        return path, file.text

    @property
    def paths(self) -> list[Path]:
        """The files, in the order they are read."""
        return list(self._texts)

    def shown(self, path: Path) -> str:
        """The text of a file for people: secrets are starred out."""
        return self.masked(self._texts[path])

    def masked(self, text: str) -> str:
        """A text for people; as it is where it has no secrets, or is no YAML."""
        try:
            document = Document(text)
        except ValueError:
            return "\n".join(map(mask, text.split("\n")))
        return document.text if star(document.tree, self._registry) else text

    def replaced(self, file: str, text: str) -> tuple[Path, str]:
        """A whole new text for a file: that text, with the secrets of the old one where it has only stars.

        ConfigError if the file does not belong to the configuration; InvalidConfig says which stars stand for nothing.
        """
        path = next((path for path in self._texts if str(path) == file), None)
        if path is None:
            raise ConfigError(f"{file} is no file of this configuration; there is {', '.join(map(str, self._texts))}")
        try:
            document = Document(text)
        except ValueError:
            return path, text  # whoever checks it says what is wrong, and where
        secrets, before = Restored(Text(file, text)), self._files.get(path)
        secrets.put(document.tree, before.tree if before else None)
        if secrets.missing:
            raise InvalidConfig(secrets.missing.sorted())
        return path, document.text if secrets.found else text

    def take(self, section: str, name: str) -> tuple[Path, str]:
        """The file a part is in, and its text without it. ConfigError if no file names it."""
        path = self._named(section, name)
        self._files[path].take(section, name)
        return path, self._files[path].text

    def detach(self, sink: str, rules: Iterable[str]) -> list[tuple[Path, str]]:
        """The files of these rules, and their texts without the sink among where each rule's results go."""
        touched: list[Path] = []
        for rule in rules:
            path = self._named("rules", rule)
            options = self._files[path].entries("rules")[rule]
            to = options["to"] if isinstance(options["to"], list) else []
            self._files[path].put("rules", rule, {**options, "to": [each for each in to if each != sink]})
            touched.append(path)
        return [(path, self._files[path].text) for path in dict.fromkeys(touched)]

    def _check(self) -> None:
        """ConfigError if no part can be changed as the files are."""
        if self._broken:
            raise ConfigError(self._broken[0])
        if not self._files:
            raise ConfigError(f"no such file: {', '.join(self._patterns)}")

    def _where(self, section: str, name: str) -> Path | None:
        return next((path for path, file in self._files.items() if name in file.entries(section)), None)

    def _named(self, section: str, name: str) -> Path:
        self._check()
        path = self._where(section, name)
        if path is None:
            raise ConfigError(f"no file of the configuration names {section}.{name}")
        return path

    def _place(self, section: str) -> Path:
        """For something new: the first file that has such a section, else the first."""
        return next((path for path, file in self._files.items() if section in file.tree), next(iter(self._files)))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Replaced:
    """A file with a new text, until somebody is sure: ``undo`` brings the old one back.

    ConfigError, and nothing is written, if it is not what was ``read`` any more, or cannot be written.
    """

    def __init__(self, path: Path, text: str, read: bytes) -> None:
        self.path = path
        self._old = read
        try:
            if path.read_bytes() != read:
                raise ConfigError(f"{path} was changed meanwhile: look at it, and try again")
            write(path, _like(read, text))
        except OSError as exc:
            raise ConfigError(f"cannot write {path}: {exc.strerror}; it is as it was") from exc

    def undo(self) -> None:
        write(self.path, self._old)


def _like(old: bytes, text: str) -> bytes:
    """The text with the ends of lines of the old one, and its mark of the byte order."""
    end = "\r\n" if b"\r\n" in old else "\n"
    return (BOM_UTF8 if old.startswith(BOM_UTF8) else b"") + _lines(text).replace("\n", end).encode()


def write(path: Path, data: bytes) -> None:
    """Put a new text into a file: all of it or nothing, whenever the power goes. Its mode and owner stay."""
    path = path.resolve()  # a link stays one
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        before = path.stat()
        os.chmod(temporary, before.st_mode & 0o7777)
        with contextlib.suppress(PermissionError):
            os.chown(temporary, before.st_uid, before.st_gid)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
