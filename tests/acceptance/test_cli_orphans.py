"""``headrace orphans``, on a pipeline that runs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from commands import Headrace, start, wait_for

CONFIG = """
name: plant
sources: {g: {type: generate, rate: 0, count: 3}}
rules: {r: {sql: 'SELECT payload FROM "#"', to: NAME}}
sinks: {NAME: {type: http, url: "http://127.0.0.1:1"}}
"""


def test_what_a_sink_left_is_listed_and_purged_on_demand(cli: Headrace) -> None:
    config = Path("plant.yaml")
    config.write_text(CONFIG.replace("NAME", "old"))
    process = start("run", str(config), env=dict(os.environ))
    try:
        wait_for(lambda: cli("status", "plant").code == 0 and " matched 3" in cli("status", "plant").out)
        config.write_text(CONFIG.replace("NAME", "new"))
        assert cli("reload", "plant").code == 0
        assert [line.split() for line in cli("orphans", "ls", "plant").out.splitlines()][1][:2] == ["old", "3"]
        assert cli("orphans", "purge", "plant").code == 2, "it has to be said which"
        assert "no orphan" in cli("orphans", "purge", "plant", "--sink", "new").err
        assert cli("orphans", "purge", "plant", "--sink", "old").out == "purge: 3 events\n"
        assert json.loads(cli("orphans", "ls", "plant", "-o", "json").out) == {}
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
