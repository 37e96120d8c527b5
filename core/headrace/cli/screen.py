"""A terminal that is drawn anew again and again, and given back as it was; plain lines where there is none."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

__all__ = ["Screen"]

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST = "\x1b[H", "\x1b[K", "\x1b[J"


class Screen:
    """Use as a context manager."""

    def __init__(self) -> None:
        self._terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        if self._terminal:
            import termios  # Windows has none
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            sys.stdout.write(ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            import termios

            sys.stdout.write(LEAVE)
            sys.stdout.flush()
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def show(self, lines: Sequence[str]) -> None:
        """As much of it as there is room for."""
        if not self._terminal:
            print("\n".join(lines), end="\n\n", flush=True)
            return
        columns, rows = shutil.get_terminal_size()
        shown = [line[: columns - 1] + REST_OF_LINE for line in lines[: rows - 1]]
        sys.stdout.write(HOME + "\n".join(shown) + "\n" + REST)
        sys.stdout.flush()

    def asked_to_end(self, seconds: float) -> bool:
        """Wait so long. True at once if q is pressed, or nobody is at the keyboard any more."""
        if not self._terminal:
            time.sleep(seconds)
            return False
        end = time.monotonic() + seconds
        while select.select([sys.stdin], [], [], max(end - time.monotonic(), 0.0))[0]:
            key = b""
            with contextlib.suppress(OSError):  # the terminal is gone
                key = os.read(sys.stdin.fileno(), 1)
            if key in (b"", b"q", b"Q"):
                return True
        return False
