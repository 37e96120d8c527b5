"""``dlq``: the events a sink gave up: list them, look at them, give them to their sinks again, or be rid of them."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.cli import state
from headrace.cli.output import Commands, command, printable, table
from headrace.config import Checked, check
from headrace.errors import HeadraceError
from headrace.events import Event, json_bytes, now_ms
from headrace.units import parse_duration

__all__ = ["add_commands"]

PAGE = 1000
"""Letters that ``ls`` shows of a pipeline that keeps them in memory."""
UNLIMITED = 1 << 62


def add_commands(commands: Commands) -> None:
    dlq = command(commands, "dlq", _dlq, "dead letters, the events a sink gave up: list, show, replay or purge them")
    dlq.add_argument("action", choices=["ls", "show", "replay", "purge"])
    state.add_pipeline(dlq)
    dlq.add_argument("--sink", default="", help="only those of this sink")
    dlq.add_argument("--rule", default="", help="only those of this rule")
    dlq.add_argument("--reason", default="", metavar="TEXT", help="only those whose reason has this in it")
    dlq.add_argument(
        "--since", default=0, type=_since, metavar="WHEN", help="not older than 2h, or than 2026-11-24T08:00"
    )
    dlq.add_argument("--id", default="", help="one: its number in the list, or the id of its event or delivery")
    dlq.add_argument("--all", action="store_true", help="replay or purge everything, without any of these")
    dlq.add_argument("--limit", type=int, metavar="N", help="show so many at most, the oldest ones (10 for show)")


def _since(text: str) -> int:
    """Unix milliseconds of ``2h`` (ago) or of a local time."""
    try:
        return now_ms() - int(parse_duration(text) * 1000)
    except ValueError:
        pass
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration such as 2h, and no time such as 2026-11-24T08:00"
        ) from None


def _dlq(args: argparse.Namespace) -> int:
    name, directory = state.find(args)
    _refuse_kafka(args, name)
    which = {key: getattr(args, key) for key in ("sink", "rule", "reason", "since", "id")}
    if args.action in ("replay", "purge"):
        if any(which.values()) == args.all:
            print(f"headrace: say which letters to {args.action}, or --all", file=sys.stderr)
            return 2
        return _change(args, name, directory, which)
    letters = _letters(args, name, directory, which)
    return _show(args, letters) if args.action == "show" else _ls(args, letters)


def _refuse_kafka(args: argparse.Namespace, name: str) -> None:
    """A topic on Kafka has no tombstones of ours: what is done here with a log, Kafka's tools do there."""
    if args.path is None or Path(args.path).is_dir():
        return
    spec = check([args.path]).spec
    if spec is not None and (spec.stream.url or "").startswith("kafka://"):
        raise HeadraceError(
            f"dead letters on Kafka are the topic {name}.dead_letters: list, replay and purge them with Kafka's own "
            "tools (kafka-console-consumer, kafka-delete-records); headrace dlq works on the embedded log"
        )


# -- looking -----------------------------------------------------------------------------------------------------


def _letters(
    args: argparse.Namespace, name: str, directory: Path | None, which: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """From the files where there are some, whether the pipeline runs or not; else from its memory."""
    limit = args.limit or (10 if args.action == "show" else None)
    if directory is None:
        try:
            yield from state.call(name, directory, "dlq.ls", which=which, limit=limit or PAGE)
        except state.NotRunning:
            raise HeadraceError(f"{name} keeps nothing (embedded://memory)") from None
        return
    from headrace.engine.calls import letter
    from headrace.engine.dead_letters import DEAD_LETTERS, Which
    from headrace.stream import read_topic

    yield from map(letter, islice(filter(Which(**which), read_topic(directory, DEAD_LETTERS)), limit))


def _ls(args: argparse.Namespace, letters: Iterator[dict[str, Any]]) -> int:
    if args.output == "json":
        for letter in letters:  # one a line: there may be very many
            sys.stdout.buffer.write(json_bytes(letter) + b"\n")
        return 0
    rows = [_row(letter) for letter in letters]
    print(table(rows, ("NO", "WHEN", "RULE", "SINK", "KEY", "TRIES", "REASON")) if rows else "no dead letters")
    return 0


def _row(letter: dict[str, Any]) -> list[str]:
    shown = [letter.get(key, "") for key in ("rule", "sink", "key", "attempts", "reason")]
    return [str(letter["offset"]), state.when(letter["at"]), *(printable(str(each)) for each in shown)]


def _show(args: argparse.Namespace, letters: Iterator[dict[str, Any]]) -> int:
    found = list(letters)
    if args.path is None or Path(args.path).is_dir():
        requests = [{"error": "give the configuration to see the request"}] * len(found)
    else:
        requests = asyncio.run(_rendered(check([args.path]), found))
    for letter, request in zip(found, requests, strict=True):
        if args.output == "json":
            sys.stdout.buffer.write(json_bytes({**letter, "request_now": request}) + b"\n")
        else:
            print(_page(letter, request))
    if not found and args.output == "text":
        print("no dead letters")
    return 0


async def _rendered(checked: Checked, letters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each would be sent as now, made by its sink; ``error`` says why it cannot be made."""
    if checked.spec is None:
        return [{"error": "the configuration has errors, see headrace lint"}] * len(letters)
    from headrace.engine.dead_letters import revive
    from headrace.engine.trial import Trial

    made: list[dict[str, Any]] = []
    async with Trial(checked.spec, checked.registry) as trial:
        for letter in letters:
            try:
                made.append(dict(await trial.render(revive(Event(letter)))))
            except HeadraceError as exc:
                made.append({"error": str(exc)})
    return made


def _page(letter: dict[str, Any], rendered: dict[str, Any]) -> str:
    get = letter.get
    lines = [
        f"{letter['offset']}  {state.when(letter['at'])}  rule {get('rule')}  sink {get('sink')}  key {get('key')}",
        f"    event {get('event_id')}  delivery {get('delivery_id')}",
        f"    failed after {get('attempts')} attempts: {get('reason')}",
    ]
    if get("answer"):
        lines.append(f"    answer {get('status')}: {json_bytes(get('answer')).decode()}")
    lines.append(f"    columns: {json_bytes(get('event')).decode()}")
    if get("request"):
        lines.append(f"    sent: {' '.join(str(value) for value in letter['request'].values())}")
    lines += [
        f"    now {key}: {value if isinstance(value, str) else json_bytes(value).decode()}"
        for key, value in rendered.items()
    ]
    return "\n".join(printable(line) for line in lines)


# -- changing ----------------------------------------------------------------------------------------------------


def _change(args: argparse.Namespace, name: str, directory: Path | None, which: dict[str, Any]) -> int:
    try:
        result = state.call(name, directory, f"dlq.{args.action}", None, which=which)
    except state.NotRunning as exc:
        if directory is None:
            raise HeadraceError(f"{name} keeps nothing (embedded://memory)") from None
        if not (directory / "topics").is_dir():
            raise HeadraceError(f"{directory} holds no log: {exc}") from None
        result = asyncio.run(_change_here(args.action, name, directory, which))
    if args.output == "json":
        sys.stdout.buffer.write(json_bytes(result) + b"\n")
    else:
        print(f"{args.action}: {result.get('replayed', result.get('purged'))} dead letters")
    for sink, reason in result.get("failed", {}).items():
        print(f"headrace: those of sink {sink} stay: {reason}", file=sys.stderr)
    return 1 if result.get("failed") else 0


async def _change_here(action: str, name: str, directory: Path, which: dict[str, Any]) -> dict[str, Any]:
    """On the log of a pipeline that does not run. Replayed events wait there for its next start."""
    from headrace.config.model import StreamOptions
    from headrace.engine.dead_letters import DEAD_LETTERS, DeadLetters, Which
    from headrace.stream import Stream, TopicOptions

    log = logging.getLogger("headrace.dlq")
    stream = Stream(StreamOptions(), name=name, directory=directory, log=log)
    await stream.open()
    try:
        topic = await stream.topic(DEAD_LETTERS, TopicOptions(max_bytes=UNLIMITED, consumed=False))
        letters = DeadLetters(topic, log)

        async def give(sink: str, events: Sequence[Event]) -> None:
            target = await stream.topic(f"sink.{sink}", TopicOptions(max_bytes=UNLIMITED))
            await target.send(events)

        if action == "purge":
            return {"purged": await letters.purge(Which(**which))}
        return dataclasses.asdict(await letters.replay(Which(**which), give))
    finally:
        await stream.close()
