"""The prompt of ``headrace sql``, on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 20.0
PROMPT = "sql> "


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, env: dict[str, str], *argv: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headrace.cli", "sql", *argv],
            stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._rest = ""

    def until(self, text: str, patience: float = PATIENCE) -> str:
        """What is printed up to and with ``text``."""
        end = time.monotonic() + patience
        while text not in self._rest:
            ready, _, _ = select.select([self._master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} did not come, but {self._rest!r}"
            self._rest += os.read(self._master, 4096).decode().replace("\a", "")
        found, _, self._rest = self._rest.partition(text)
        return (found + text).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def ask(self, line: str) -> str:
        """What is printed after a line, up to the next prompt, without the line's own echo."""
        self.type(f"{line}\n")
        return self.until(f"\n{PROMPT}").partition("\n")[2].removesuffix(PROMPT)

    def end(self) -> int:
        """Ctrl-D."""
        self.type("\x04")
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb", "INPUTRC": os.devnull}

    def start(*argv: str) -> Terminal:
        opened.append(Terminal(env, *argv))
        opened[-1].until(PROMPT)
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_queries_are_tried_on_an_event_that_changes(terminal: Callable[..., Terminal]) -> None:
    prompt = terminal("--payload", '{"a": 1}')
    query = 'SELECT payload.a AS a, topic FROM "t/#" WHERE payload.a > 0'
    assert prompt.ask(query) == '{"a":1,"topic":"t/1"}\n'
    assert prompt.ask("\\topic t/2") == ""
    assert prompt.ask('\\payload {"a": 5}') == ""
    assert prompt.ask(query) == '{"a":5,"topic":"t/2"}\n'
    assert prompt.ask("\\payload") == '{"a": 5}\n'
    assert prompt.ask("\\topic other") == ""
    assert prompt.ask(query).splitlines()[-1] == "no row: the rule does not see this event"
    assert prompt.ask("\\event client_connected") == ""
    assert prompt.ask('SELECT clientid FROM "$events/client/connected"') == '{"clientid":"sensor-1"}\n'
    assert prompt.ask("\\event") == ""
    assert prompt.ask("\\qos 2") == ""
    assert prompt.ask('SELECT qos FROM "t/#"') == '{"qos":2}\n'
    assert prompt.end() == 0


def test_what_is_wrong_is_printed_and_the_next_line_is_read(terminal: Callable[..., Terminal]) -> None:
    prompt = terminal()
    assert prompt.ask('SELECT a b c FROM "t"').startswith("query:1:12: error: ")
    assert prompt.ask("\\nope") == "there is no \\nope; \\help lists what there is\n"
    assert prompt.ask("\\payload @gone") == "cannot read gone: No such file or directory\n"
    assert prompt.ask("\\qos 7") == "qos is 0, 1 or 2\n"
    assert "did you mean 'client.connected'" in prompt.ask("\\event client.conected")
    assert prompt.ask('SELECT 1 AS x FROM "t/#"') == '{"x":1}\n'
    prompt.type("\\quit\n")
    assert prompt.process.wait(PATIENCE) == 0


def test_a_query_goes_on_until_it_is_whole(terminal: Callable[..., Terminal]) -> None:
    prompt = terminal()
    prompt.type("SELECT qos,\n")
    prompt.until("...> ")
    prompt.type("topic\n")
    prompt.until("...> ")
    assert prompt.ask('FROM "t/#"') == '{"qos":0,"topic":"t/1"}\n'
    prompt.type("SELECT qos\n")
    prompt.until("...> ")
    assert "expected ',' or FROM" in prompt.ask("")


def test_a_line_that_begins_no_query_goes_on_with_the_one_before(terminal: Callable[..., Terminal]) -> None:
    prompt = terminal()
    assert "found WHERE, expected SELECT or FOREACH" in prompt.ask("WHERE qos = 0")
    assert prompt.ask('SELECT topic FROM "t/#"') == '{"topic":"t/1"}\n'
    assert prompt.ask("WHERE qos = 0;") == '{"topic":"t/1"}\n'
    assert "no row: WHERE is false" in prompt.ask("AND qos = 1")
    assert "found nonsense, expected SELECT or FOREACH" in prompt.ask("nonsense")


def test_what_people_type_at_other_prompts_is_understood(terminal: Callable[..., Terminal]) -> None:
    prompt = terminal()
    assert "\\payload TEXT" in prompt.ask("help")
    assert prompt.ask('SELECT qos FROM "t/#" ;') == '{"qos":0}\n'
    assert prompt.ask("\\payload a;") == ""
    assert prompt.ask("\\payload") == "a;\n"
    prompt.type("exit\n")
    assert prompt.process.wait(PATIENCE) == 0


def test_ctrl_c_takes_back_a_line(terminal: Callable[..., Terminal]) -> None:
    prompt = terminal()
    prompt.type("SELECT nonsense")
    prompt.until("nonsense")
    for patience in (1, 2, PATIENCE):  # Python sees a signal that comes just before it waits at the next key only
        prompt.process.send_signal(signal.SIGINT)
        with contextlib.suppress(AssertionError):
            prompt.until(PROMPT, patience)
            break
    assert prompt.ask('SELECT qos FROM "t/#"') == '{"qos":0}\n'


def test_steps_code_and_help_on_demand(terminal: Callable[..., Terminal]) -> None:
    prompt = terminal()
    assert prompt.ask("\\explain") == "every step is shown\n"
    assert prompt.ask('SELECT qos FROM "t/#" WHERE qos = 0').splitlines() == [
        'FROM "t/#": matches topic t/1',
        "WHERE qos = 0: true",
        "  qos = 0: true (qos is 0)",
        '{"qos":0}',
    ]
    assert "def run(batch, rows, no_result, exceptions):" in prompt.ask("\\code")
    assert "\\payload TEXT" in prompt.ask("\\help")
    assert prompt.ask("\\help upper").startswith("upper: Takes 1 argument")
    assert '"topic": "t/1"' in prompt.ask("\\columns")


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("FORE", "FOREACH"),
        ("sel", "SELECT"),
        ("SELECT base64_enc", "base64_encode("),
        ("SELECT publish_rec", "publish_received_at"),
        ("SELECT payload.te", "payload.temp"),
        ('SELECT * FROM "$events/client/conne', "$events/client/connected"),
        ("\\event client.disc", "client.disconnected"),
        ("\\pay", "\\payload"),
    ],
)
def test_tab_completes(terminal: Callable[..., Terminal], typed: str, completed: str) -> None:
    prompt = terminal("--payload", '{"temp": {"max": 1}}')
    prompt.type(f"{typed}\t")
    prompt.until(completed)


def test_lines_are_remembered_for_the_next_time(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    prompt = terminal()
    prompt.ask('SELECT qos AS remembered FROM "t/#"')
    assert prompt.end() == 0
    history = tmp_path / "headrace" / "sql_history"
    assert history.stat().st_mode & 0o777 == 0o600
    again = terminal()
    again.type("\x1b[A")  # the key "up"
    again.until("remembered")


def test_without_a_terminal_the_query_is_read_from_standard_input() -> None:
    argv = [sys.executable, "-m", "headrace.cli", "sql", "--payload"]
    query = 'SELECT payload\nFROM "t/#"\n'
    result = subprocess.run([*argv, "x"], input=query, capture_output=True, text=True, check=True)
    assert result.stdout == '{"payload":"x"}\n'
    assert subprocess.run([*argv, "@-"], input=query, capture_output=True, text=True, check=False).returncode == 2
