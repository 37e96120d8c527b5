"""The page "Differences from EMQX", made from the test data: ``python tests/support/sql_differences.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "sql-differences.md"
DATA = ROOT / "tests" / "plugins" / "sql"
CASES: list[dict[str, Any]] = json.loads((DATA / "cases.json").read_text(encoding="utf-8"))
DIFFERENCES: list[dict[str, Any]] = json.loads((DATA / "differences.json").read_text(encoding="utf-8"))
BY_ID = {case["id"]: case for case in CASES}
EVENT = {"event": "message.publish", "topic": "t/1", "qos": 1, "clientid": "c1", "payload": "{}"}

HEAD = """# Differences from EMQX

A query that runs on an EMQX broker runs here with the same result. These are the exceptions; in most of them EMQX
fails for every event, so no working rule relies on it. The page is made from the data of the tests.

| What | EMQX | headrace |
|---|---|---|
"""
MORE = """
## What headrace has besides

None of these changes the meaning of a query that EMQX accepts: the words are ordinary names everywhere else.

| Query | Meaning |
|---|---|
| `x IS NULL`, `x IS NOT NULL` | undefined, or null in JSON |
| `x BETWEEN a AND b`, `x NOT BETWEEN a AND b` | `x >= a AND x <= b` |
| `x LIKE 'a%'`, `x NOT LIKE 'a_c'` | `%` is any text, `_` one character; a missing value is not like anything |
| `coalesce(a, b, c, …)`, `COALESCE(…)` | the first that is not undefined, of any number of values |
| `FROM "site/+site/+device/temp"` | a wildcard with a name: `site` and `device` are columns |
| `format_date('second', 'Europe/Paris', …)` | the name of a time zone, wherever an offset is expected |
| `msgpack_decode(x)`, `cbor_decode(x)` | decoders for binary payloads; CBOR needs `pip install 'headrace[cbor]'` |

With `strict: true` a query that EMQX would not read is refused. With `escapes: true`, `''` in a string is one quote,
and `\\n`, `\\t`, `\\x41` are what they stand for.

## Peculiarities of EMQX that are kept

"""


def example(case: dict[str, Any]) -> dict[str, Any]:
    """A case of a difference as a full one: one of the 601 with another expectation, or one of its own."""
    if "id" in case:
        return {**BY_ID[case["id"]], "expect": case["expect"]}
    event = {**EVENT, "payload": case.get("payload", EVENT["payload"])}
    return {"id": case["sql"], "sql": case["sql"], "event": event, "expect": case["expect"]}


def page() -> str:
    """The text of the page."""
    changed = {case.get("id") for difference in DIFFERENCES for case in difference["cases"]}
    rows = [f"| {d['about']} | {d['emqx']} | {d['here']} |" for d in DIFFERENCES]
    kept = [
        "- {}: `{}`".format(case["why"].rpartition(" [")[0], case["sql"].replace(' FROM "plant/#"', ""))
        for case in CASES
        if case.get("quirk") and case["id"] not in changed
    ]
    return HEAD + "\n".join(rows) + "\n" + MORE + "\n".join(kept) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
