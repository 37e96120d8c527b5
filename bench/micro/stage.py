"""What is measured: queries, and the rule stage around them."""

from __future__ import annotations

import random
from typing import Any

from headrace.engine.rules import Rule, RuleSet
from headrace.engine.tally import RuleTally
from headrace.metrics import Status
from headrace.testing import make_context
from headrace_plugins.sql import Sql, SqlConfig

__all__ = ["EVENTS", "hot", "query", "reading", "rules"]

EVENTS = 1000
"""So many a round: a millisecond a round is a microsecond an event."""

hot = (
    "SELECT payload.temp * 1.8 + 32 AS tf, payload.id AS id, topic, payload.seq AS seq, payload.ts AS ts "
    'FROM "t/#" WHERE payload.temp > 30'
)
"""The rule of scenario S2."""


def query(text: str) -> Sql:
    """A transform of one query."""
    return Sql(SqlConfig(query=text), make_context())


def rules(*queries: str) -> RuleSet:
    """The rule stage of a pipeline with these rules, all to one sink."""
    return RuleSet(
        Rule(f"r{i}", [query(text)], ["out"], None, RuleTally(), Status("running")) for i, text in enumerate(queries)
    )


def reading(i: int) -> dict[str, Any]:
    """A payload of 256 bytes as ``bench.py`` publishes it; a fifth are hotter than 30."""
    chance = random.Random(i)
    temp = (chance.randrange(301, 450) if chance.random() < 0.2 else chance.randrange(100, 300)) / 10
    return {"id": i, "temp": temp, "hum": 40, "ts": 1_700_000_000_000_000 + i, "seq": i, "pad": "x" * 170}
