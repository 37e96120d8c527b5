"""Runs a file of SQL cases through the transform ``sql``: ``python -m headrace.testing.sql CASES.json``.

A case has ``id``, ``area``, ``sql``, ``event`` (all its columns), ``expect`` and maybe ``match: subset``, ``env`` (by
itself, ``TZ`` is UTC) and ``quirk``. ``expect`` is ``outputs``, ``no_result``, ``error``, ``parse_error`` or
``type_checks``. A query that is refused when it is read has met an ``error`` as well as a ``parse_error``. undefined
and null are written null, bytes that are no UTF-8 ``{"$bytes": base64}``.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from headrace.components import Context, Inputs, Transform
from headrace.events import UNDEFINED, Event, new_id
from headrace.registry import Registry
from headrace.topics import event_topics, matches

__all__ = ["Case", "Outcome", "agrees", "load", "main", "outcome"]

Case = Mapping[str, Any]
_KEYS: Final = frozenset({"sql", "event", "expect"})


class Outcome(NamedTuple):
    """What came of a case: ``outputs``, ``no_result``, ``error``, ``refused`` or ``crash``; the rows or the reason."""

    kind: str
    rows: Sequence[Any] = ()
    reason: str = ""

    def __str__(self) -> str:
        return _compact(list(self.rows)) if self.kind == "outputs" else f"{self.kind} ({self.reason})"


def load(path: Path) -> list[dict[str, Any]]:
    """The cases of a file. ValueError if it holds none."""
    cases = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(cases, list) or not all(isinstance(case, dict) and case.keys() >= _KEYS for case in cases):
        raise ValueError(f"{path} is no list of cases, each with {', '.join(sorted(_KEYS))}")
    return cases


# -- running one


def outcome(case: Case, transform: type[Transform[Any]]) -> Outcome:
    """Run a case: its query, as if alone in a pipeline, on its event. What it raises is an outcome too."""
    try:
        return _outcome(case, transform)
    except Exception as exc:  # noqa: BLE001 - of a plugin, or of a case that is none; the next one is run all the same
        return Outcome("crash", reason=f"{type(exc).__name__}: {exc}")


def _outcome(case: Case, transform: type[Transform[Any]]) -> Outcome:
    context = Context("rule", pipeline=new_id())
    with _environment({"TZ": "UTC", **case.get("env", {})}):
        try:
            rule = transform(transform.Config.model_validate({"query": case["sql"], "strict": True}), context)
        except (ValidationError, ValueError) as exc:
            return Outcome("refused", reason=_reason(exc))
        event = Event({name: _from_case(value) for name, value in case["event"].items()})
        if not _wanted(rule.inputs(), event):
            return Outcome("no_result", reason="from")
        output = rule.process([event])
    for error in output.exceptions.values():
        return Outcome("error", reason=str(error))
    if output.no_result:
        return Outcome("no_result", reason="where")
    return Outcome("outputs", [_to_case(row) for _, row in output.rows])


def _reason(exc: Exception) -> str:
    if isinstance(exc, ValidationError):
        error = exc.errors(include_url=False, include_input=False)[0]
        return str(getattr(error.get("ctx", {}).get("error"), "message", error["msg"]))
    return str(getattr(exc, "message", exc))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    time.tzset()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        time.tzset()


def _wanted(inputs: Inputs, event: Event) -> bool:
    name = event.get("event", "message.publish")
    if name == "message.publish":
        return any(matches(filter, event.get("topic", "")) for filter in inputs.topics)
    return any(matches(filter, topic) for filter in inputs.events for topic in event_topics(name))


def _from_case(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {name: _from_case(member) for name, member in value.items()}
    return [_from_case(item) for item in value] if isinstance(value, list) else value


def _to_case(value: Any) -> Any:
    if value is UNDEFINED:
        return None
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: _to_case(member) for name, member in value.items()}
    return [_to_case(item) for item in value] if isinstance(value, list) else value


# -- comparing


def agrees(case: Case, got: Outcome) -> bool:
    """Is this what the case expects?"""
    expect = case["expect"]
    if "parse_error" in expect:
        return got.kind == "refused"
    if "error" in expect:
        return got.kind in ("error", "refused")
    if "no_result" in expect:
        return got.kind == "no_result"
    if got.kind != "outputs":
        return False
    if "type_checks" in expect:
        return all(_is_kind(kind, got.rows[0].get(column)) for column, kind in expect["type_checks"].items())
    wanted = expect["outputs"]
    if len(wanted) != len(got.rows):
        return False
    subset = case.get("match") == "subset"
    return all(_same(row, _only(found, row) if subset else found) for row, found in zip(wanted, got.rows, strict=True))


def _only(row: Any, wanted: Mapping[str, Any]) -> Any:
    return {name: value for name, value in row.items() if name in wanted}


def _same(a: Any, b: Any) -> bool:
    """1 and 1.0 differ; floats may differ in their last digits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return math.isclose(a, b, rel_tol=1e-12)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(value, b[name]) for name, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) is float,
    "string": lambda value: type(value) is str,
    "bool": lambda value: type(value) is bool,
    "uuid_v4": lambda value: type(value) is str and _UUID.fullmatch(value) is not None,
    "hex32": lambda value: type(value) is str and re.fullmatch(r"[0-9a-f]{32}", value) is not None,
}


def _is_kind(kind: str, value: Any) -> bool:
    return kind in _KINDS and _KINDS[kind](value)


# -- the report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the files, print what failed and a table per area; 1 if any case failed, 2 if a file is none."""
    paths = list(sys.argv[1:] if argv is None else argv)
    if not paths:
        print("usage: python -m headrace.testing.sql CASES.json...", file=sys.stderr)
        return 2
    try:
        cases = [case for path in paths for case in load(Path(path))]
    except (OSError, ValueError) as exc:
        print(f"headrace: {exc}", file=sys.stderr)
        return 2
    transform = Registry.discover().find("transform", "sql")
    assert issubclass(transform, Transform)
    passed: Counter[tuple[str, bool]] = Counter()
    total: Counter[tuple[str, bool]] = Counter()
    for case in cases:
        key = (str(case.get("area", "?")), bool(case.get("quirk")))
        got = outcome(case, transform)
        total[key] += 1
        if agrees(case, got):
            passed[key] += 1
        else:
            mark = " (quirk)" if key[1] else ""
            print(f"{case.get('id', '?')}{mark}: expected {_compact(case['expect'])}, got {got}: {case['sql']!r}")
    _table(passed, total)
    failed = sum(total.values()) - sum(passed.values())
    print(f"{sum(passed.values())} passed, {failed} failed")
    return 1 if failed else 0


def _table(passed: Counter[tuple[str, bool]], total: Counter[tuple[str, bool]]) -> None:
    print(f"{'area':<16}{'passed':>12}{'quirks':>12}")
    for area in sorted({area for area, _ in total}):
        plain, quirk = (f"{passed[area, q]}/{total[area, q]}" if total[area, q] else "" for q in (False, True))
        print(f"{area:<16}{plain:>12}{quirk:>12}")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main())
