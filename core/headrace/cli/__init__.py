"""The command ``headrace``.

Exit codes: 0 fine, 1 it did not work, 2 wrong usage, 78 the configuration is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import headrace
from headrace.cli import catalog, configure, dlq, explain, orphans, pipelines, sql, state, trial, watch
from headrace.errors import ConfigError, HeadraceError

__all__ = ["main"]

WRONG_USAGE = 2
EX_CONFIG = 78
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = _parser()
    if not (sys.argv[1:] if argv is None else argv):
        parser.print_help(sys.stderr)
        return WRONG_USAGE
    args = parser.parse_args(argv)
    try:
        code: int = args.call(args)
        sys.stdout.flush()
        return code
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return EX_CONFIG
    except HeadraceError as exc:
        print(f"headrace: {exc}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "headrace", description="MQTT in, SQL in the middle, HTTP out, and nothing lost.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"headrace {headrace.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (pipelines, explain, sql, configure, state, watch, dlq, orphans, trial, catalog):
        module.add_commands(commands)
    return parser
