#!/usr/bin/env python3
"""Measures systems that do "MQTT t/# → rule → HTTP POST", all on the same work. See README.md.

bench.py run -s headrace,connect -S S1,S2 -r 3     runs, and appends to results/runs.jsonl
bench.py table [-b connect]                        medians by scenario, with the ratio to one system
bench.py summary                                   the matrices of docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness.report import Report  # noqa: E402 - the path must be set first
from harness.run import Run, System  # noqa: E402
from harness.scenarios import SCENARIOS, Scenario  # noqa: E402

RESULTS = HERE / "results"
SPEEDS = RESULTS / "speed.json"  # what each system can do, from earlier runs: how much work to give it
LOCK = Path(os.environ.get("BENCH_LOCK", Path(tempfile.gettempdir()) / "headrace-bench.lock"))
TARGET = 5.0  # seconds of work
SHOWN = (
    "n", "missing", "dup", "ooo", "in_per_s", "out_per_s", "cpu_per_100k", "rss_mb", "p50_us", "p99_us", "ready_s",
    "idle_cpu_pct", "conns", "recovery_s", "restart_span_s", "broker_cpu", "load_cpu", "foreign_cpu_pct", "note",
    "error",
)  # fmt: skip


def size(scenario: Scenario, name: str, system: str, speeds: dict[str, float]) -> tuple[int, int]:
    """How many events, and at what rate, so that a slow system ends in time too."""
    usual = speeds.get(f"{system}/S1")
    rate = scenario.rate
    if rate and usual and name[:2] in ("S4", "S6"):
        rate = min(rate, max(100, int(usual * 0.7) // 100 * 100))
    if scenario.kill:
        return int(min(scenario.n, usual * 20 if usual else scenario.n)) // 1000 * 1000, rate
    known = speeds.get(f"{system}/{name}") or usual
    n = min(scenario.n, max(2000, known * TARGET if known else 15_000))
    return int(n) // 1000 * 1000, rate


def one(system: System, name: str, variant: str, n: int | None) -> dict[str, Any]:
    """One run, alone on the machine as far as other runs go."""
    scenario = SCENARIOS[name]
    label = system.NAME + (f"+{variant}" if variant else "")
    speeds = json.loads(SPEEDS.read_text()) if SPEEDS.exists() else {}
    events, rate = size(scenario, name, label, speeds)
    with LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begin = time.time()
        run = Run(system, name, scenario, n or events, rate, variant)
        try:
            result = run.go()
        except (RuntimeError, OSError) as exc:
            result = {"error": str(exc)[-700:]}
        finally:
            run.close()
    version = getattr(system, "version", None)
    result |= {"system": label, "scenario": name, "at": int(begin), "wall_s": round(time.time() - begin, 1)}
    result["version"] = version() if version else ""
    if result.get("in_per_s") and not scenario.rate and not scenario.kill:
        speeds[f"{label}/{name}"] = result["in_per_s"]
        SPEEDS.write_text(json.dumps(speeds, indent=1))
    return result


def cmd_run(args: argparse.Namespace) -> None:
    RESULTS.mkdir(exist_ok=True)
    systems = [importlib.import_module(f"systems.{name}") for name in args.systems.split(",")]
    for _ in range(args.runs):
        for name in args.scenarios.split(","):
            for system in systems:
                if SCENARIOS[name].rule not in system.RULES or SCENARIOS[name].feed not in system.FEEDS:
                    continue
                result = one(system, name, args.variant, args.n)
                with (RESULTS / args.out).open("a") as out:
                    out.write(json.dumps(result) + "\n")
                shown = {key: result[key] for key in SHOWN if key in result}
                print(name, result["system"], json.dumps(shown), flush=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure")
    run.add_argument("-s", "--systems", required=True, help="modules in systems/, comma-separated")
    run.add_argument("-S", "--scenarios", required=True, help=f"of {', '.join(SCENARIOS)}")
    run.add_argument("-r", "--runs", type=int, default=1)
    run.add_argument("-n", type=int, help="events, in place of the scenario's own number")
    run.add_argument("--variant", default="", help="passed to the adapter")
    table = commands.add_parser("table", help="medians by scenario")
    table.add_argument("-b", "--base", default="connect")
    summary = commands.add_parser("summary", help="the matrices")
    for command in (run, table, summary):
        command.add_argument("-o", "--out", default="runs.jsonl", help="file in results/")
    args = parser.parse_args()
    if args.command == "run":
        cmd_run(args)
    else:
        report = Report(RESULTS / args.out)
        print(report.table(args.base) if args.command == "table" else report.summary())


if __name__ == "__main__":
    main()
