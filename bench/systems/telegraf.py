"""Telegraf (Go): mqtt_consumer → starlark → outputs.http. ``TELEGRAF`` names the command."""

from __future__ import annotations

import os
import shlex

from harness.run import Job

NAME = "telegraf"
RULES = {"pass", "filter30", "none", "batch"}
FEEDS = {"broker", "direct"}

_FILTER = """[[processors.starlark]]
  source = '''
def apply(metric):
  t = metric.fields["temp"]
  if t <= {limit}:
    return None
  metric.fields["tf"] = t * 1.8 + 32
  metric.fields.pop("temp")
  metric.fields.pop("hum")
  return metric
'''
"""


def configure(job: Job) -> None:
    limit = {"filter30": 30, "none": 1000}.get(job.rule)
    batch = job.rule == "batch"
    (job.directory / "telegraf.conf").write_text(f"""[agent]
  interval = "1s"
  flush_interval = "100ms"
  metric_batch_size = {100 if batch else 1000}
  metric_buffer_limit = 100000
  omit_hostname = true
  quiet = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{job.mqtt_port}"]
  topics = ["t/#"]
  qos = 1
  persistent_session = true
  client_id = "{job.client_id}"
  max_undelivered_messages = 1000
  data_format = "json"
{_FILTER.format(limit=limit) if limit else ""}[[outputs.http]]
  url = "{job.url}"
  data_format = "json"
  use_batch_format = {str(batch).lower()}
  max_idle_conn = 100
  max_idle_conn_per_host = 100
  [outputs.http.headers]
    Content-Type = "application/json"
""")


def command(job: Job) -> tuple[list[str], dict[str, str]]:
    command = shlex.split(os.environ.get("TELEGRAF", "telegraf"))
    return [*command, "--config", str(job.directory / "telegraf.conf")], {}
