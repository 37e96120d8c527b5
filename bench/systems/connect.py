"""Redpanda Connect (Go): mqtt input → mapping → http_client output. ``CONNECT`` names the command.

Variants: ``mif2``, ``mif128``, … set ``max_in_flight`` (its own default is 64).
"""

from __future__ import annotations

import os
import shlex

from harness.run import Job

NAME = "connect"
RULES = {"pass", "filter30", "none", "rules", "batch"}
FEEDS = {"broker", "direct"}

_ROW = '{"tf": this.temp * 1.8 + 32, "id": this.id, "topic": meta("mqtt_topic"), "seq": this.seq, "ts": this.ts}'
_CASE = """
        - check: this.id == {i}
          processors:
            - mapping: 'root = {{"rule": {i}, "id": this.id, "temp": this.temp, "seq": this.seq, "ts": this.ts}}'"""
_BATCHING = """
    batching:
      count: 100
      period: 10ms
      processors:
        - archive:
            format: json_array"""


def _processors(job: Job) -> str:
    if job.rule in ("filter30", "none"):
        limit = 30 if job.rule == "filter30" else 1000
        return f"\n    - mapping: |\n        root = if this.temp > {limit} {{ {_ROW} }} else {{ deleted() }}"
    if job.rule == "rules":  # a switch whose cases are tried in turn: one pipeline, the way its manual shows
        return "\n    - switch:" + "".join(_CASE.format(i=i) for i in range(job.rules))
    return "[]"


def configure(job: Job) -> None:
    in_flight = job.variant.removeprefix("mif") or "64"
    (job.directory / "config.yaml").write_text(f"""http:
  enabled: false
logger:
  level: WARN
input:
  mqtt:
    urls: ["tcp://127.0.0.1:{job.mqtt_port}"]
    client_id: {job.client_id}
    topics: ["t/#"]
    qos: 1
    clean_session: false
pipeline:
  processors: {_processors(job)}
output:
  http_client:
    url: {job.url}
    verb: POST
    headers: {{Content-Type: application/json}}
    max_in_flight: {in_flight}{_BATCHING if job.rule == "batch" else ""}
""")


def command(job: Job) -> tuple[list[str], dict[str, str]]:
    command = shlex.split(os.environ.get("CONNECT", "redpanda-connect"))
    return [*command, "run", str(job.directory / "config.yaml")], {}
