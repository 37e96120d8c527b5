"""Log lines: for people, for programs, never with secrets."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from headrace.cli.logs import Formatter, set_up


def record(message: str, *args: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("headrace.sinks.api", logging.WARNING, "x.py", 1, message, args, None)
    vars(made).update(more)
    return made


def failed() -> logging.LogRecord:
    try:
        raise RuntimeError("password=hunter2")
    except RuntimeError:
        return record("it failed", exc_info=sys.exc_info())


def test_a_line_for_people_has_time_level_name_and_text() -> None:
    line = Formatter("text").format(record("sent %d", 5, created=1700000000.123, msecs=123))
    assert line == "2023-11-14T22:13:20.123Z warning sinks.api: sent 5"


def test_a_line_for_programs_is_one_json_object() -> None:
    line = Formatter("json").format(record("sent\n%s", "ä\x1b", created=1700000000.123, msecs=123))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.123Z", "level": "warning", "logger": "sinks.api", "message": "sent\nä\x1b",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_starred_out(form: str) -> None:
    line = Formatter(form).format(record("POST http://me:hunter2@host/ %s", {"token": "hunter2"}))  # type: ignore[arg-type]
    assert "hunter2" not in line
    assert "hunter2" not in Formatter(form).format(failed())  # type: ignore[arg-type]


def test_what_a_device_sends_cannot_make_lines_or_colours() -> None:
    line = Formatter("text").format(record("client %s", "x\n2026 info \x1b[31m\x9b"))
    assert line.endswith("client x\\n2026 info \\x1b[31m\\x9b")


def test_a_traceback_follows_its_line() -> None:
    lines = Formatter("text").format(failed()).splitlines()
    assert lines[0].endswith("it failed")
    assert lines[1].startswith("Traceback")
    assert "traceback" in json.loads(Formatter("json").format(failed()))


def test_setting_up_logs_our_lines_from_a_level_and_of_others_only_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    level = logging.getLogger("headrace").level
    try:
        log = set_up("text", "info")
        log.debug("no")
        log.getChild("x").info("one")
        logging.getLogger("other").info("no")
        logging.getLogger("headrace.stream.transport").info("no")
        logging.getLogger("other").warning("two")
    finally:
        root.handlers[:], root.level = before[0], before[1]
        logging.getLogger("headrace").setLevel(level)
    found = [re.sub(r"^\S+ ", "", line) for line in capsys.readouterr().err.splitlines()]
    assert found == ["info    x: one", "warning other: two"]
