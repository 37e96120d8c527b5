"""Log lines on standard error: text for people or one JSON object a line, secrets starred out in both."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal

from headrace.config.problems import mask

__all__ = ["LEVELS", "Formatter", "set_up"]

LEVELS = ("debug", "info", "warning", "error")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


class Formatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z info sink.api: text``, or the same as JSON.

    What devices send may be quoted in a message: control characters are shown, not sent to the terminal, and only a
    traceback has several lines.
    """

    def __init__(self, form: Literal["text", "json"]) -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        level = record.levelname.lower()
        name = record.name.removeprefix("headrace.")
        message = mask(record.getMessage())
        trace = mask(self.formatException(record.exc_info)) if record.exc_info else ""
        if self._json:
            line = {"time": stamp, "level": level, "logger": name, "message": message}
            return json.dumps({**line, "traceback": trace} if trace else line, ensure_ascii=False)
        text = f"{stamp} {level:<7} {name}: {message}".translate(_CONTROL).replace("\n", "\\n")
        return text + ("\n" + trace.translate(_CONTROL) if trace else "")


def set_up(form: Literal["text", "json"], level: str) -> logging.Logger:
    """Send everything that is logged to standard error; returns the logger of the product."""
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(Formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(logging.WARNING)  # of other libraries, only what is wrong
    log = logging.getLogger("headrace")
    log.setLevel(level.upper())
    for name in (
        "transport",
        "kafka_app",
    ):  # where Faust tells, in our modules' names, each start and stop of a service
        logging.getLogger(f"headrace.stream.{name}").setLevel(logging.WARNING)
    return log
