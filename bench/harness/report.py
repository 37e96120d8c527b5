"""Tables from results: medians, over the quiet runs where there are any."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.scenarios import SCENARIOS

__all__ = ["Report"]

QUIET = 20  # per cent of the machine that went to processes that are no part of the run
DASH = "–"
Cell = Callable[[str], str]


class Report:
    def __init__(self, file: Path) -> None:
        self.rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for line in file.read_text().splitlines():
            row = json.loads(line)
            if "error" not in row:
                self.rows[row["system"], row["scenario"]].append(row)
        self.systems = list(dict.fromkeys(system for system, _ in self.rows))

    def runs(self, system: str, scenario: str) -> list[dict[str, Any]]:
        found = self.rows.get((system, scenario), [])
        return [row for row in found if row.get("foreign_cpu_pct", 0) <= QUIET] or found

    def median(self, system: str, scenario: str, key: str) -> float | None:
        values = [row[key] for row in self.runs(system, scenario) if row.get(key) is not None]
        return statistics.median(values) if values else None

    def text(self, system: str, scenario: str, key: str, form: str = ",.0f", scale: float = 1) -> str:
        value = self.median(system, scenario, key)
        return DASH if value is None else format(value * scale, form)

    # -- one table a scenario ---------------------------------------------------------------------------------

    def table(self, base: str) -> str:
        return "\n\n".join(self._scenario(name, base) for name in SCENARIOS if any(s == name for _, s in self.rows))

    def _scenario(self, name: str, base: str) -> str:
        scenario = SCENARIOS[name]
        if scenario.startup:
            columns, main = ["ready_s", "rss_mb", "idle_cpu_pct"], "ready_s"
        elif scenario.rate:
            columns, main = ["rate", "in_per_s", "cpu_per_100k", "rss_mb", "p50_us", "p99_us"], "cpu_per_100k"
        else:
            columns, main = ["in_per_s", "out_per_s", "cpu_per_100k", "rss_mb"], "in_per_s"
        if not scenario.startup:
            columns += ["missing", "dup", "ooo", *(["recovery_s"] if scenario.fault else [])]
            columns += [*(["restart_span_s"] if scenario.kill else []), "conns", "foreign_cpu_pct"]
        systems = [system for system in self.systems if (system, name) in self.rows]
        lines = [
            f"### {name}: {scenario.what}\n",
            f"| system | runs | {' | '.join(columns)} | {main} ÷ {base} |",
            "|---|" + "---:|" * (len(columns) + 2),
        ]
        for system in systems:
            cells = [self.text(system, name, column, ",.2f").removesuffix(".00") for column in columns]
            mine, other = self.median(system, name, main), self.median(base, name, main)
            ratio = f"{mine / other:.2f}" if mine is not None and other else DASH
            lines.append(f"| {system} | {len(self.runs(system, name))} | {' | '.join(cells)} | {ratio} |")
        return "\n".join(lines)

    # -- one row a system -------------------------------------------------------------------------------------

    def summary(self) -> str:
        def value(key: str, form: str = ",.0f", scale: float = 1) -> Callable[[str], Cell]:
            return lambda scenario: lambda system: self.text(system, scenario, key, form, scale)

        def pair(first: str, second: str, form: str = ",.0f", scale: float = 1) -> Callable[[str], Cell]:
            one, two = value(first, form, scale), value(second, form, scale)
            return lambda scenario: lambda system: f"{one(scenario)(system)} / {two(scenario)(system)}"

        speed, cpu, memory = value("in_per_s"), value("cpu_per_100k", ",.1f"), value("rss_mb")
        s7 = ("S7_1", "S7_10", "S7_100", "S7_1000")
        faults = {name: pair("missing", "dup")(name) for name in ("S4", "S4d", "S4e", "S5", "S5i")}
        drained = {f"{name} drained, s": value("recovery_s", ",.1f")(name) for name in ("S4", "S4d")}
        latency = {
            "rate": value("rate")("S6"),
            "p50, ms": value("p50_us", ",.2f", 1e-3)("S6"),
            "p99, ms": value("p99_us", ",.1f", 1e-3)("S6"),
            "p99.9, ms": value("p999_us", ",.1f", 1e-3)("S6"),
            "CPU s per 100k": cpu("S6"),
        }
        start = {"first event, s": value("ready_s", ",.2f")("S9"), "idle MB": memory("S9")}
        groups = [
            ("Events in, per second", _by(speed, ("S1", "S1L", "S1i", "S1p", "S1e", "S2", "S3", "S8"))),
            ("Events in, per second, without a broker", _by(speed, ("S1d", "S1m", "S2d", "S3d", "S8d"))),
            (
                "CPU seconds per 100,000 events in",
                _by(cpu, ("S1", "S1L", "S1d", "S1m", "S2", "S2d", "S3", "S3d", "S8")),
            ),
            ("Peak memory, MB", _by(memory, ("S1", "S2", "S6", "S7_1000"))),
            ("Latency at 2,000/s, or at 0.7 of what the system can do", latency),
            ("Start", start),
            ("Faults: events lost / delivered twice", faults | drained),
            ("Many rules: CPU seconds per 100,000 events at 1,000/s", _by(cpu, s7)),
            ("Many rules: p50 / p99, ms", _by(pair("p50_us", "p99_us", ",.1f", 1e-3), s7)),
            ("Runs used", _by(lambda name: lambda system: str(len(self.runs(system, name))), SCENARIOS)),
        ]
        return "\n\n".join(text for title, columns in groups if (text := self._matrix(title, columns)))

    def _matrix(self, title: str, columns: dict[str, Cell]) -> str:
        cells = {system: {name: cell(system) for name, cell in columns.items()} for system in self.systems}
        empty = {DASH, f"{DASH} / {DASH}", "0"}
        names = [name for name in columns if any(row[name] not in empty for row in cells.values())]
        if not names:
            return ""
        lines = [f"{title}\n", f"| system | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
        for system, row in cells.items():
            if any(row[name] not in empty for name in names):
                lines.append(f"| {system} | {' | '.join(row[name] for name in names)} |")
        return "\n".join(lines)


def _by(make: Callable[[str], Cell], scenarios: Sequence[str] | dict[str, Any]) -> dict[str, Cell]:
    return {name: make(name) for name in scenarios}
