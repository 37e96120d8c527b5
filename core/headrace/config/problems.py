"""What is wrong with a configuration, where, and what may have been meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from headrace.errors import ConfigError

__all__ = ["InvalidConfig", "Mark", "Problem", "Problems", "Text", "looks_secret", "mask", "suggest"]

_WORDS = r"(?:passw|passphrase|secret|token|api[_-]?key|authorization|bearer|cookie|credential)"
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
_SECRET = re.compile(
    rf"""(?ix) ({_WORDS}(?![\w-]{{0,40}}(?:url|endpoint)\b)  # bounded: a log line may be very long
         [\w-]{{0,40}}["']?\s{{0,9}}[:=]\s{{0,9}})
        ("(?:[^"\\]|\\.)*"|'[^']*'|(?:\$\{{[^}}]*\}}|[^\s,}}\]]|\ +(?=[^\s,}}\]\#]))+)"""
)
_KEYS = re.compile(r"""(?i)(\bkeys["']?\s{0,9}:\s{0,9}\[)([^\]]*)""")
_KEY = re.compile(r"()(whsec_[\w+/=-]+)")
_ITEM = re.compile(r"()([^\s,]+)")
_USERINFO = re.compile(r"(://[^\s/@:]*:)([^\s/@]+)(?=@)")
_REFERENCE = re.compile(r"""["']?\$\{(?:env|file):[^}]*\}["']?\Z""")


def looks_secret(name: str) -> bool:
    """Does an option of that name hold a secret?"""
    return _SECRET_NAME.search(name) is not None


def is_reference(text: str) -> bool:
    """Does it say where a secret is, and not what it is?"""
    return _REFERENCE.match(text) is not None


def mask(line: str) -> str:
    """The line with what looks like a secret starred out, length kept so that a caret still points right."""

    def stars(found: re.Match[str]) -> str:
        secret = found[2]
        return found[1] + (secret if _REFERENCE.match(secret) else "*" * len(secret))

    line = _KEYS.sub(lambda found: found[1] + _ITEM.sub(stars, found[2]), line)
    return _USERINFO.sub(stars, _KEY.sub(stars, _SECRET.sub(stars, line)))


def suggest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)``, or nothing."""
    cutoff = 0.6 if len(word) < 5 else 0.75  # one wrong letter of a short word is much of it
    near = difflib.get_close_matches(word, list(known), 1, cutoff=cutoff)
    return f" (did you mean {near[0]!r}?)" if near else ""


class Text:
    """A text that configuration was read from: a file, or one ``--set``."""

    __slots__ = ("lines", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.lines = text.split("\n")

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


class Mark(NamedTuple):
    """A place in a text, counted from 1."""

    text: Text
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.text.name}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One problem; its ``str`` is what ``lint`` prints. ``source`` is the line it is in, secrets starred out."""

    file: str
    line: int
    column: int
    message: str
    severity: Literal["error", "warning"] = "error"
    source: str = ""

    def __str__(self) -> str:
        head = f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"
        if not self.source.strip():
            return head
        number = f"{self.line:5}"
        # tabs stay tabs, so that the caret stands where the terminal puts the character
        before = "".join("\t" if c == "\t" else " " for c in self.source[: self.column - 1])
        return f"{head}\n{number} | {self.source}\n{' ' * len(number)} | {before}^"


class InvalidConfig(ConfigError):
    """The configuration is wrong: every problem found, in the order of the text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Problems:
    """Collects problems while a configuration is read."""

    def __init__(self) -> None:
        self._found: dict[Problem, int] = {}
        self._texts: dict[str, int] = {}

    def error(self, mark: Mark, message: str) -> None:
        self._add(mark, message, "error")

    def warn(self, mark: Mark, message: str) -> None:
        self._add(mark, message, "warning")

    def _add(self, mark: Mark, message: str, severity: Literal["error", "warning"]) -> None:
        source = mask(mark.text.line(mark.line)).replace("\r", "")
        self._texts.setdefault(mark.text.name, len(self._texts))
        problem = Problem(mark.text.name, mark.line, mark.column, message, severity, source)
        self._found.setdefault(problem, len(self._found))

    def __bool__(self) -> bool:
        return any(problem.severity == "error" for problem in self._found)

    def sorted(self) -> list[Problem]:
        """All of them, each once, file by file in the order of the text."""
        return sorted(self._found, key=lambda p: (self._texts[p.file], p.line, p.column, self._found[p]))

    def summary(self) -> dict[str, Any]:
        """How many of each severity."""
        found = [problem.severity for problem in self._found]
        return {"errors": found.count("error"), "warnings": found.count("warning")}
