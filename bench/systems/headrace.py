"""headrace: one rule, one HTTP sink, the durable embedded stream. ``HEADRACE`` names the command.

Variants: ``pipelined`` (4 connections, 32 requests on each), ``memory`` (nothing on disk), ``unordered``,
``scrape`` (with the API, its metrics read each second), ``dashboard`` (with a page that looks and taps).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.run import Job

NAME = "headrace"
RULES = {"pass", "filter30", "none", "rules", "batch"}
LOOKERS = {"scrape", "dashboard"}
FEEDS = {"broker", "direct", "served"}

_COLUMNS = "payload.temp * 1.8 + 32 AS tf, payload.id AS id, topic, payload.seq AS seq, payload.ts AS ts"
_SQL = {
    "pass": 'SELECT * FROM "t/#"',
    "batch": 'SELECT payload.id AS id, payload.temp AS temp, payload.seq AS seq, payload.ts AS ts FROM "t/#"',
    "filter30": f'SELECT {_COLUMNS} FROM "t/#" WHERE payload.temp > 30',
    "none": f'SELECT {_COLUMNS} FROM "t/#" WHERE payload.temp > 1000',
}
_RULE_I = (
    "SELECT {i} AS rule, payload.id AS id, payload.temp AS temp, payload.seq AS seq, payload.ts AS ts "
    'FROM "t/#" WHERE payload.id = {i}'
)


def configure(job: Job) -> None:
    queries = [_SQL[job.rule]] if job.rule in _SQL else [_RULE_I.format(i=i) for i in range(job.rules)]
    sink: dict[str, Any] = {"type": "http", "url": job.url, "method": "POST"}
    if job.rule == "pass":
        sink["body"] = "${payload}"  # the message as published, as the other systems send it
    if job.rule == "batch":
        sink["batch"] = {"size": 100, "every": "10ms", "as": "array"}
    if job.variant == "pipelined":
        sink |= {"pool_size": 4, "pipelining": 32}
    if job.feed == "served":
        sink["key"] = "${topic}"  # the loader is two clients; devices are many
    if job.variant == "unordered":
        sink["order"] = "none"
    source: dict[str, Any] = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{job.mqtt_port}", "client_id": job.client_id}
    if job.feed == "served":
        source = {"type": "mqtt_server", "listen": f"127.0.0.1:{job.mqtt_port}"}
    config = {
        "name": "bench",
        "sources": {"in": source},
        "rules": {f"r{i}": {"sql": query, "to": "out"} for i, query in enumerate(queries)},
        "sinks": {"out": sink},
        "stream": {"url": "embedded://memory" if job.variant == "memory" else f"embedded://{job.directory}/log"},
    }
    if job.variant in LOOKERS:
        config["api"] = {"listen": f"127.0.0.1:{job.spare_port}"}
    (job.directory / "config.json").write_text(json.dumps(config))


def after_start(job: Job) -> None:
    """Somebody looks, if the variant says so; they end with the system."""
    if job.variant in LOOKERS:
        program = Path(__file__).resolve().parent.parent / "programs" / "looker.py"
        subprocess.Popen([sys.executable, str(program), str(job.spare_port), job.variant])


def _command() -> list[str]:
    beside = Path(sys.executable).parent / "headrace"
    return shlex.split(os.environ.get("HEADRACE", str(beside) if beside.exists() else "headrace"))


def command(job: Job) -> tuple[list[str], dict[str, str]]:
    return [*_command(), "run", str(job.directory / "config.json")], {}


def version() -> str:
    git = shutil.which("git")
    if not git:
        return ""
    where = Path(__file__).resolve().parent
    result = subprocess.run(
        [git, "describe", "--always", "--dirty"], cwd=where, capture_output=True, text=True, check=False
    )
    return result.stdout.strip()
