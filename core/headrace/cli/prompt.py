"""The prompt of ``headrace sql``: queries one after another on an event that can be changed in between."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from headrace.cli.message import columns_of, message
from headrace.config import InvalidConfig
from headrace.config.paths import user_state
from headrace.errors import HeadraceError
from headrace.events import json_bytes
from headrace.query import Language, Tried
from headrace.samples import samples

__all__ = ["Prompt"]

REMEMBERED = 1000
"""Lines kept for the next time."""
BREAKS = " \t\n()[],=<>!+*\"'"
"""What ends a word that completion looks at."""
WELCOME = """\
A query is run when its line is whole; an unfinished one goes on in the next line, and WHERE may follow in a line of
its own. \\help tells more, \\quit ends it.
"""
HELP = """\
  \\topic TOPIC      publish to another topic
  \\payload TEXT     another payload; @FILE reads a file
  \\clientid ID      from another client
  \\qos 0|1|2        with another quality of service
  \\event NAME|FILE  another event, such as client.connected; without a name, a message again
  \\columns          show the event
  \\explain          show every step even if there is a row, or no longer
  \\code             show the Python code of the last query
  \\help [FUNCTION]  show this, or what a function does
  \\quit             end (or Ctrl-D)
Without an argument, \\topic, \\payload, \\clientid and \\qos show what there is. Tab completes."""


class Prompt:
    """Reads lines until the end. Everything that goes wrong is printed, and the next line is read."""

    def __init__(self, language: Language, args: argparse.Namespace) -> None:
        self._language = language
        self._args = args
        self._explains = False
        self._query = ""
        self._code = ""
        self._functions = language.functions()
        self._commands: dict[str, Callable[[str], None]] = {
            "topic": lambda text: self._set("topic", text),
            "payload": lambda text: self._set("payload", text),
            "clientid": lambda text: self._set("clientid", text),
            "qos": self._qos,
            "event": self._event,
            "columns": lambda _: print(json.dumps(json.loads(json_bytes(self._columns())), indent=2)),
            "explain": self._explain,
            "code": lambda _: print(self._code or "there was no query yet", end="\n" if not self._code else ""),
            "help": self._help,
        }

    def run(self) -> int:
        """The exit code: 0."""
        print(WELCOME, end="")
        with _remembered(self.complete):
            while True:
                try:
                    line = self._line(f"{self._language.name}> ")
                    if line in ("\\quit", "\\q", "quit", "exit"):
                        return 0
                    if line:
                        self._take(line)
                except KeyboardInterrupt:  # away with this line, as in a shell
                    print()
                except EOFError:
                    print()
                    return 0
                except HeadraceError as exc:
                    print(exc)

    def _line(self, prompt: str) -> str:
        """A line; a query's without the semicolon that other prompts want."""
        line = input(prompt).strip()
        return line if line.startswith("\\") else line.removesuffix(";").rstrip()

    def _take(self, line: str) -> None:
        if line in ("help", "?"):
            line = "\\help"
        if not line.startswith("\\"):
            self._try(line)
            return
        name, _, text = line[1:].partition(" ")
        call = self._commands.get(name)
        if call is None:
            raise HeadraceError(f"there is no \\{name}; \\help lists what there is")
        call(text.strip())

    # -- queries

    def _try(self, line: str) -> None:
        try:
            tried = self._whole(line)
        except InvalidConfig as exc:
            if not self._query or (exc.problems[0].line, exc.problems[0].column) != (1, 1):
                raise
            try:  # it is no beginning; so it may be the end of the query before
                tried = self._whole(f"{self._query}\n{line}")
            except InvalidConfig:
                raise exc from None
        self._code = tried.transform.code
        rows = tried.explanation.rows
        for told in (*tried.warnings, *(tried.explanation.lines if self._explains or not rows else ())):
            print(told)
        for row in rows:
            print(json_bytes(row).decode())

    def _whole(self, query: str) -> Tried:
        """What a query makes of the event; further lines are read until it ends."""
        while True:
            try:
                tried = self._language.try_(query, message(self._args))
            except InvalidConfig as exc:
                more = _unfinished(query, exc) and self._line(f"{'...':>{len(self._language.name)}}> ")
                if not more:
                    raise
                query += f"\n{more}"
            else:
                self._query = query
                return tried

    # -- commands

    def _columns(self) -> dict[str, Any]:
        return columns_of(self._args)

    def _set(self, name: str, text: str) -> None:
        if text:
            before = getattr(self._args, name)
            setattr(self._args, name, text)
            try:
                self._columns()  # a file may not be there
            except HeadraceError:
                setattr(self._args, name, before)
                raise
        else:
            print(self._columns().get(name, "undefined"))

    def _qos(self, text: str) -> None:
        if text and text not in ("0", "1", "2"):
            raise HeadraceError("qos is 0, 1 or 2")
        if text:
            self._args.qos = int(text)
        else:
            self._set("qos", "")

    def _event(self, text: str) -> None:
        for name in ("topic", "payload", "clientid", "qos"):  # they were given for the event before
            setattr(self._args, name, None)
        self._args.event = None
        self._set("event", text or "message.publish")

    def _explain(self, _: str) -> None:
        self._explains = not self._explains
        print("every step is shown" if self._explains else "steps are shown where there is no row")

    def _help(self, text: str) -> None:
        if not text:
            print(HELP)
        elif text in self._functions:
            print(f"{text}: {self._functions[text]}")
        else:
            raise HeadraceError(f"there is no function {text!r}; headrace list functions names them all")

    # -- completion

    def complete(self, text: str, state: int) -> str | None:
        """The ``state``-th word that ``text`` may become: what readline asks for."""
        if state == 0:
            self._found = sorted(set(self._words(text)))
        return self._found[state] if state < len(self._found) else None

    def _words(self, text: str) -> Iterator[str]:
        if text.startswith("\\"):
            yield from _beginning(text, (f"\\{name}" for name in (*self._commands, "quit")))
            return
        yield from _beginning(text.upper(), self._language.cls.keywords)
        yield from _beginning(text, (f"{name}(" for name in self._functions))
        yield from _beginning(text, (name for each in samples() for name in (each.name, *each.topics)))
        with contextlib.suppress(HeadraceError):
            columns = self._columns()
            yield from _beginning(text, columns)
            yield from _beginning(text, _members("payload", columns.get("payload")))


def _beginning(text: str, words: Iterable[str]) -> Iterator[str]:
    return (word for word in words if word.startswith(text))


def _members(name: str, value: Any) -> Iterator[str]:
    """``payload.a``, ``payload.a.b`` … of a JSON payload."""
    if name == "payload":
        try:
            value = json.loads(value)
        except (TypeError, ValueError):
            return
    for key, member in value.items() if isinstance(value, dict) else ():
        yield f"{name}.{key}"
        yield from _members(f"{name}.{key}", member)


def _unfinished(query: str, exc: InvalidConfig) -> bool:
    """Is the first thing wrong with a query that it ends?"""
    lines = query.split("\n")
    problem = exc.problems[0]
    return problem.line == len(lines) and problem.column > len(lines[-1].rstrip())


@contextlib.contextmanager
def _remembered(complete: Callable[[str, int], str | None]) -> Iterator[None]:
    """Completion and the lines of earlier times, while it lasts; then this time's lines are kept too."""
    readline = _readline()
    if readline is None:
        yield
        return
    file = user_state() / "sql_history"
    readline.set_completer(complete)
    readline.set_completer_delims(BREAKS)
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        readline.set_completer(None)
        _keep(readline, file)


def _readline() -> Any:
    """The module that edits lines; None where there is none (Windows), and lines can still be typed."""
    try:
        import readline
    except ImportError:
        return None
    return readline


def _keep(readline: Any, file: Path) -> None:
    readline.set_history_length(REMEMBERED)
    with contextlib.suppress(OSError):  # a state that cannot be written is no reason to fail
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)  # payloads may hold what is nobody's business
        readline.write_history_file(file)
