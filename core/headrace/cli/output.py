"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Commands", "command", "print_json", "printable", "table"]

Commands = Any  # argparse gives the type of its subparsers no public name


def command(
    commands: Commands, name: str, call: Callable[[argparse.Namespace], int], help: str, *, output: bool = True
) -> argparse.ArgumentParser:
    """Add one command; ``output``: it has ``-o text|json``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False
    )
    parser.set_defaults(call=call)
    if output:
        parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the output")
    return parser


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def printable(text: str) -> str:
    """The text, with a question mark for what would move the cursor or colour the line."""
    return "".join(c if c.isprintable() else "?" for c in text)


def table(rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> str:
    """Columns as wide as their widest cell; the last one runs free."""
    lines = [list(map(str, row)) for row in ([heads, *rows] if heads else rows)]
    if not lines:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    )
