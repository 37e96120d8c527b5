"""What running a command gives, and a configuration to run it on."""

from collections.abc import Callable
from typing import NamedTuple

GOOD = """
name: plant
sources: {g: {type: generate, rate: 0, count: 3}}
rules: {r: {transforms: [{type: sql, query: 'SELECT clientid, payload.seq AS seq FROM "#"'}], to: out}}
sinks: {out: {type: console}}
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


Headrace = Callable[..., Result]
