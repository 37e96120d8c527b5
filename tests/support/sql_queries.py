"""Queries and events by chance, of which enough have rows."""

from __future__ import annotations

from random import Random
from typing import Any

__all__ = ["Chance"]

_NAMES = ["payload"] * 5 + ["a", "b", "x", "qos", "topic", "payload", "n", "s", "flags", "e", "item"]
_KEYS = ["a", "b", "l", "o", "s", "n", "t"]
_INDICES = ["1", "2", "-1", "0", "-0", "+1", "i", "a", "qos", "payload.i", "l[1]"]
_NUMBERS = ["0", "1", "2", "7", "1.5", "0.0", "2.0", "100000000000000000000", "1.0e308"]
_OTHERS = ["'a'", "'5'", "''", "'true'", "'plant/#'", "'{\"a\":1}'", "true", "false", "null", "[1..3]", "[2..1]", "[]"]
_TARGETS = [
    *("a", "b", "x", "n", "payload", "payload.a", "payload.l[1]", "a.b", "a[1]", "b.o[i]", "qos", "flags.retain"),
    "topic",
]
_CALLS = {
    **dict.fromkeys(("upper", "str", "length", "abs", "is_null", "int", "first", "is_empty", "bool", "json_encode"), 1),
    **dict.fromkeys(("coalesce", "concat", "nth", "contains", "map_get"), 2),
    **dict.fromkeys(("null", "clientid", "topic"), 0),
}
_PAYLOADS = [
    '{"a":1,"b":"x","l":[1,[2],{"a":3}],"o":{"a":{"b":2},"n":null},"s":"{\\"a\\":[5]}","n":null,"t":true,"i":2}',
    '{"a":"5","b":2.5,"l":[],"o":{},"s":"zz","t":false}',
    '{"a":[1,2,3],"l":"[7,8]","b":true,"i":1}',
    '[1,{"a":2}]',
    "no json",
    "5",
    "",
]


class Chance:
    """The same queries and events for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._one_of = self._random.choice

    def _likely(self, chance: float) -> bool:
        return self._random.random() < chance

    def event(self) -> dict[str, Any]:
        """The columns of an event."""
        one_of = self._one_of
        payload = one_of(_PAYLOADS[:2] * 4 + _PAYLOADS)
        columns = {"topic": "plant/a", "qos": one_of([0, 1]), "payload": payload, "flags": {"retain": False}}
        if self._likely(0.3):
            columns["a"] = one_of([1, "q", None, {"b": 1}, [4, 5], 2.5])
        if self._likely(0.3):
            columns["s"] = '{"a":{"b":7}}'
        return columns

    def query(self) -> str:
        where = f" WHERE {self._condition(self._one_of([0, 1, 1, 2]))}" if self._likely(0.6) else ""
        if self._likely(0.5):
            return f'SELECT {self._fields(4)} FROM "#"{where}'
        variables = [f"{self._scalar(1)} AS {self._one_of(['a', 'b', 'o.k', 'payload'])}"] * self._one_of([0, 0, 1])
        array = self._one_of(["payload.l", "payload", "payload.l", "[1, 'a', [2]]", "a", self._scalar(1)])
        array += self._one_of(["", " AS e", " AS e", " AS a", " AS payload"])
        do = f" DO {self._fields(3)}" if self._likely(0.7) else ""
        incase = f" INCASE {self._condition(self._one_of([0, 1]))}" if self._likely(0.5) else ""
        return f'FOREACH {", ".join([*variables, array])}{do}{incase} FROM "#"{where}'

    def _fields(self, most: int) -> str:
        return ", ".join(self._field() for _ in range(self._random.randint(1, most)))

    def _field(self) -> str:
        if self._likely(0.1):
            return "*"
        depth = self._one_of([0, 0, 1, 1, 2])
        return f"{self._case(depth) if self._likely(0.2) else self._branch(depth)} AS {self._one_of(_TARGETS)}"

    def _path(self) -> str:
        steps = [
            f".{self._one_of(_KEYS)}" if self._likely(0.6) else f"[{self._one_of(_INDICES)}]"
            for _ in range(self._one_of([0, 1, 1, 1, 2, 2, 3]))
        ]
        return self._one_of(_NAMES) + "".join(steps)

    def _scalar(self, depth: int) -> str:
        if depth <= 0 or self._likely(0.4):
            return self._one_of([self._path(), self._path(), self._one_of(_NUMBERS), self._one_of(_OTHERS)])
        a, b = self._scalar(depth - 1), self._scalar(depth - 1)
        return self._one_of([
            f"{a} {self._one_of(['+', '+', '-', '*', '/', 'div', 'mod'])} {b}",
            f"({a})", f"- {a}", f"[{a}, {b}]", f"{self._path()}[{self._one_of(['1..2', '-1..-1', '2..1'])}]",
            self._call(depth), self._call(depth),
        ])  # fmt: skip

    def _call(self, depth: int) -> str:
        name = self._one_of([*_CALLS])
        return f"{name}({', '.join(self._argument(depth - 1) for _ in range(_CALLS[name]))})"

    def _argument(self, depth: int) -> str:
        return self._case(depth) if self._likely(0.2) else self._branch(depth)

    def _branch(self, depth: int) -> str:
        return self._scalar(depth) if self._likely(0.8) else self._comparison(depth)

    def _comparison(self, depth: int) -> str:
        op = self._one_of(["=", "=", "!=", "<>", "<", ">", "<=", ">=", "=~"])
        return f"{self._scalar(depth)} {op} {self._scalar(depth)}"

    def _case(self, depth: int) -> str:
        simple = self._likely(0.5)
        test = self._scalar if simple else self._condition
        whens = [f" WHEN {test(depth)} THEN {self._branch(depth)}" for _ in range(self._one_of([1, 2, 3]))]
        default = f" ELSE {self._branch(depth)}" if self._likely(0.6) else ""
        return f"CASE {self._scalar(depth) if simple else ''}{''.join(whens)}{default} END"

    def _condition(self, depth: int) -> str:
        if depth > 0 and self._likely(0.4):
            joined = f"({self._condition(depth - 1)}) {self._one_of(['AND', 'OR'])} {self._condition(depth - 1)}"
            return joined if self._likely(0.7) else f"NOT ({joined})"
        a, b = self._scalar(depth), self._scalar(depth)
        return self._one_of([
            *[self._comparison(depth)] * 4, f"{a} IN ({b}, {self._scalar(depth)})", f"{a} NOT IN ({b})",
            f"{a} IS {self._one_of(['', 'NOT '])}NULL", f"{a} BETWEEN {b} AND {self._scalar(depth)}", f"{a} LIKE {b}",
            f"NOT {a}", self._call(depth), self._path(),
        ])  # fmt: skip
