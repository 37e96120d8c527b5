"""``status`` and ``reload``; and how the other commands find a pipeline and ask it."""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.cli.output import Commands, command, print_json, printable, table
from headrace.config import identify
from headrace.config.paths import log_directory, runtime_dir, status_socket, user_state
from headrace.errors import HeadraceError
from headrace.events import json_bytes
from headrace.units import rough_size

__all__ = ["NotRunning", "add_commands", "add_pipeline", "ask", "call", "find", "when"]

PATIENCE = 5.0
KINDS = ("sources", "connectors", "rules", "sinks")


class NotRunning(HeadraceError):
    """No pipeline answers on its socket."""


def add_commands(commands: Commands) -> None:
    status = command(commands, "status", _status, "show what a running pipeline is doing")
    add_pipeline(status, "default is every pipeline in the default place")
    log = command(
        commands, "log", _log, "show the last requests of a sink of a running pipeline, and what became of them"
    )
    log.add_argument("sink", metavar="SINK")
    add_pipeline(log)
    log.add_argument("--failures", action="store_true", help="only those that failed")
    log.add_argument("--limit", type=int, default=50, metavar="N", help="so many at most, the newest (50)")
    reload = command(commands, "reload", _reload, "have a running pipeline read its configuration again")
    reload.add_argument("--dry-run", action="store_true", help="only say what would change")
    add_pipeline(reload)


def add_pipeline(parser: argparse.ArgumentParser, more: str = "") -> None:
    """The arguments that name a pipeline."""
    which = parser.add_mutually_exclusive_group()
    text = "a pipeline's configuration, its name, or the directory of its log"
    which.add_argument("path", nargs="?", metavar="PATH", help=f"{text}; {more}" if more else text)
    which.add_argument("--name", help="a pipeline's name, if its log is in the default place")


def find(args: argparse.Namespace) -> tuple[str, Path | None]:
    """Name and log directory of the pipeline the arguments mean. Ends the program where they mean none."""
    if args.path is None and args.name is None:
        print("headrace: say which pipeline: its configuration, its name, or the directory of its log", file=sys.stderr)
        raise SystemExit(2)
    if args.name is not None:
        return args.name, user_state() / args.name
    path = Path(args.path)
    if path.is_dir() and not any(path.glob("*.y*ml")) and not any(path.glob("*.json")):
        return path.name, path
    if not path.exists():
        if path.name == args.path and (user_state() / path).is_dir():
            return args.path, user_state() / path
        raise HeadraceError(f"no such file or directory, and no pipeline of that name in {user_state()}: {path}")
    try:
        return identify([path])
    except ValueError as exc:
        raise HeadraceError(f"{path}: stream.url: {exc}") from exc


# -- status ------------------------------------------------------------------------------------------------------


def ask(path: Path, request: dict[str, Any] | None = None, patience: float | None = PATIENCE) -> Any:
    """What the pipeline that listens on a socket answers; without a request, its status. NotRunning if none does."""
    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(patience)
            peer.connect(str(path))
            if request is not None:
                peer.sendall(json_bytes(request) + b"\n")
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(1 << 16):
                data += part
    except TimeoutError:
        raise NotRunning(f"the pipeline at {path} does not answer within {patience:g} s") from None
    except OSError as exc:
        raise NotRunning(f"nothing answers at {path}: {exc.strerror}") from exc
    try:
        return json.loads(data)
    except ValueError:
        raise NotRunning(f"the pipeline at {path} gave no whole answer") from None


def call(name: str, directory: Path | None, what: str, patience: float | None = PATIENCE, **arguments: Any) -> Any:
    """The result of a call of a running pipeline. NotRunning if it does not run, HeadraceError if it cannot."""
    answer = ask(status_socket(name, directory), {"call": what, **arguments}, patience)
    if "result" not in answer:
        raise HeadraceError(answer.get("error", f"the pipeline does not know the call {what!r}"))
    return answer["result"]


def _sockets(args: argparse.Namespace) -> Iterator[Path]:
    if args.path is None and args.name is None:
        yield from sorted(user_state().glob("*/status.sock"))
        yield from sorted(runtime_dir().glob("*.sock"))
        return
    name, directory = find(args)
    yield status_socket(name, directory)
    if args.name is not None:
        yield status_socket(name, log_directory("embedded://memory", name))


def _status(args: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []
    errors: list[str] = []
    for path in _sockets(args):
        try:
            found.append(ask(path))
        except NotRunning as exc:
            errors.append(str(exc))
    if args.output == "json":
        if found:
            print_json(found[0] if len(found) == 1 else found)
    else:
        print("\n".join(map(_page, found)), end="")
    if not found:
        print(f"headrace: no pipeline is running{': ' + errors[0] if errors else ''}", file=sys.stderr)
    return 0 if found else 1


def _log(args: argparse.Namespace) -> int:
    name, directory = find(args)
    found = call(name, directory, "deliveries", sink=args.sink, limit=args.limit, failures=args.failures)
    if args.output == "json":
        print_json(found)
        return 0
    rows = [
        [when(e["at"] * 1000), e["event"], str(e["attempt"]), e["outcome"], str(e["status"] or ""),
         f"{e['seconds'] * 1000:.1f} ms", printable(e["excerpt"])]
        for e in found
    ]  # fmt: skip
    heads = ("WHEN", "EVENT", "TRY", "OUTCOME", "STATUS", "TOOK", "ANSWER OR REASON")
    print(table(rows, heads) if rows else "nothing yet")
    return 0


def _page(document: dict[str, Any]) -> str:
    state = document.get("state", "?")
    reason = f": {document['reason']}" if document.get("reason") else ""
    lines = [f"{document.get('name', '?')} is {state} since {_ago(document.get('since'))}{reason}"]
    rows = [_component(kind[:-1], name, part) for kind in KINDS for name, part in document.get(kind, {}).items()]
    if rows:
        lines.append(table(rows, ("", "NAME", "STATE", "SINCE", "COUNTERS AND REASON")))
    stream = document.get("stream", {})
    for name, part in stream.get("orphans", {}).items():
        held = f"{part['events']} events, {rough_size(part['bytes'])}"
        lines.append(f"orphan {name}: {held}, until a sink of that name is back, or headrace orphans purge")
    config = document.get("config", {})
    if config.get("generation", 1) > 1:
        lines.append(f"configuration {config['generation']} since {_ago(config['since'])}")
    if error := config.get("error"):
        lines.append(f"the configuration read {_ago(config['error_at'])} was not applied, the one before goes on:")
        lines += [f"  {line}" for line in error.splitlines()]
    letters = stream.get("dead_letters", {})
    if letters.get("kept") or letters.get("held"):
        held = f"{letters['held']} held, " if "held" in letters else ""
        lines.append(f"dead letters: {held}{letters.get('kept', 0)} since the start, see headrace dlq ls")
    return "\n".join(lines) + "\n"


def _component(kind: str, name: str, part: dict[str, Any]) -> list[str]:
    counters = ", ".join(f"{key} {_amount(key, value)}" for key, value in part.get("counters", {}).items() if value)
    reason = part.get("reason") or ""
    error = part.get("last_error") or ""
    past = f"last error {_ago(part.get('last_error_at'))}: {error}" if error and error != reason else ""
    notes = [counters, reason, _flow(part.get("flow", {})), past]
    return [kind, name, part.get("state", "?"), _ago(part.get("since")), "; ".join(filter(None, notes))]


def _amount(counter: str, value: float) -> str:
    if counter.endswith("_bytes"):
        return rough_size(value)
    return f"{value:.1f}s" if counter.endswith("_age") else f"{value:.0f}"


def _flow(flow: dict[str, Any]) -> str:
    """Why a sink sends less than it might, if it does."""
    if flow.get("next_try"):
        return f"circuit {flow['circuit']}, next try in {max(flow['next_try'] - time.time(), 0):.1f}s"
    return "circuit half open" if flow.get("circuit") == "half_open" else ""


def when(ms: float) -> str:
    """A time of day in Unix milliseconds, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))


def _ago(since: float | None) -> str:
    if since is None:
        return "?"
    seconds = max(int(time.time() - since), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"


# -- reload ------------------------------------------------------------------------------------------------------


def _reload(args: argparse.Namespace) -> int:
    answer = call(*find(args), "reload", patience=None, dry_run=args.dry_run)
    if args.output == "json":
        print_json(answer)
        return 0
    for warning in answer["warnings"]:
        print(warning, file=sys.stderr)
    for kind, ways in answer["changed"].items():
        for how, names in ways.items():
            print(f"{kind} {how}: {', '.join(names)}")
    if not answer["changed"]:
        print("nothing changed")
    return 0
