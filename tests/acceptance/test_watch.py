"""``headrace top`` and ``headrace tap`` on a running pipeline, at a terminal and without."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Headrace, start, wait_for

CONFIG = """
name: plant
sources: {ticks: {type: generate, rate: 200, devices: 2}}
rules: {all: {sql: 'SELECT payload.seq AS seq, ''s3cret'' AS token, topic FROM "#"', to: out}}
sinks: {out: {type: file, path: out.jsonl}}
stream: {url: "embedded://memory"}
"""


@pytest.fixture
def plant(cli: Headrace) -> Iterator[Any]:
    Path("p.yaml").write_text(CONFIG)
    process = start("run", "p.yaml")
    wait_for(lambda: cli("status", "p.yaml").code == 0)
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def events(told: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.splitlines()]


def test_a_tap_shows_events_for_programs(plant: Any, cli: Headrace) -> None:
    code, out, _ = cli("tap", "rule:all", "p.yaml", "-o", "json", "--count", "3", "--sample", "5")
    shown = events(out)
    assert (code, len(shown)) == (0, 3)
    assert [each["columns"]["token"] for each in shown] == ["******"] * 3
    assert {each["source"] for each in shown} == {"ticks"}
    assert len({each["columns"]["seq"] for each in shown}) == 3


def test_a_tap_shows_events_for_people_and_only_those_wanted(plant: Any, cli: Headrace) -> None:
    topic = events(cli("tap", "source:ticks", "p.yaml", "-o", "json", "--count", "1").out)[0]["columns"]["topic"]
    code, out, _ = cli("tap", "sink:out", "p.yaml", "--count", "4", "--topic", topic, "--text", '"seq"')
    assert (code, out.count(topic), len(out.splitlines())) == (0, 4, 4)
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} \S+ \{.*\}$", out.splitlines()[0])


def test_what_cannot_be_tapped_is_said(plant: Any, cli: Headrace) -> None:
    code, _, err = cli("tap", "rule:nobody", "p.yaml")
    assert (code, "rule:nobody" in err, "source:NAME" in err) == (1, True, True)
    assert "sample" in cli("tap", "rule:all", "p.yaml", "--sample", "0").err
    assert "topic" in cli("tap", "rule:all", "p.yaml", "--topic", "a/#/b").err
    Path("q.yaml").write_text(CONFIG.replace("plant", "other"))
    code, _, err = cli("tap", "rule:all", "q.yaml")
    assert (code, "nothing answers" in err) == (1, True)


def test_a_tap_ends_with_the_pipeline(cli: Headrace) -> None:
    Path("p.yaml").write_text(CONFIG)
    process = start("run", "p.yaml")
    wait_for(lambda: cli("status", "p.yaml").code == 0)
    tap = start("tap", "rule:all", "p.yaml", "-o", "json")
    assert tap.stdout is not None
    assert "columns" in json.loads(tap.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    _, err = tap.communicate(timeout=10)
    assert (tap.returncode, err) == (0, "headrace: the pipeline has ended\n")


def test_top_without_a_terminal_prints_one_table_after_the_other(plant: Any, cli: Headrace) -> None:
    code, out, _ = cli("top", "p.yaml", "--every", "500ms", "--count", "2")
    assert (code, out.count("plant is running")) == (0, 2)
    assert "\x1b" not in out
    line = next(line for line in reversed(out.splitlines()) if line.startswith("rule"))
    kind, name, state, comes, goes, *_ = line.split()
    assert (kind, name, state) == ("rule", "all", "running")
    assert 50 < int(comes) < 400
    assert comes == goes


class Terminal:
    """A command at a terminal."""

    def __init__(self, *argv: str) -> None:
        self._master, self._slave = pty.openpty()
        self._before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headrace.cli", *argv],
            stdin=self._slave, stdout=self._slave, stderr=self._slave,
        )  # fmt: skip
        self.text = ""

    def until(self, pattern: str) -> None:
        end = time.monotonic() + 20
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self._master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{pattern!r} did not come, but {self.text!r}"
            self.text += os.read(self._master, 65536).decode()

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def given_back(self) -> bool:
        """Is the terminal as it was, the cursor and the usual screen too?"""
        self.until(r"\x1b\[\?25h\x1b\[\?1049l")
        return termios.tcgetattr(self._slave) == self._before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)


@pytest.mark.parametrize(("way", "code"), [("q", 0), ("ctrl-c", 130)])
def test_top_draws_a_table_until_a_key_ends_it(plant: Any, way: str, code: int) -> None:
    terminal = Terminal("top", "p.yaml", "--every", "200ms")
    try:
        terminal.until(r"\x1b\[\?1049h[^q]*plant is running[^q]*sink +out +running +[1-9]\d* +[1-9]\d*")
        terminal.until(r"(plant is running[^q]*){3}")
        if way == "q":
            terminal.press("q")
        else:
            terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(10) == code
        assert terminal.given_back()
    finally:
        terminal.close()
