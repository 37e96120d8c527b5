"""The functions of rule SQL."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

from headrace_plugins.sql.errors import Problem
from headrace_plugins.sql.functions import (
    arrays,
    bits,
    codecs,
    context,
    convert,
    dates,
    digests,
    formatting,
    kinds,
    maps,
    numbers,
    patterns,
    programs,
    state,
    strings,
    terms,
)
from headrace_plugins.sql.functions.base import BUILTINS, Function
from headrace_plugins.sql.nodes import Call, Literal

__all__ = ["AREAS", "BUILTINS", "Function", "lookup"]

# importing an area declares its functions
AREAS = (
    *(context, kinds, numbers, bits, convert, strings, patterns, formatting),
    *(arrays, maps, digests, codecs, terms, dates, state, programs),
)
_OWN_MODULE = "emqx_rule_funcs."
_BEYOND_EMQX = {"coalesce": 2, "coalesce_ne": 2, "COALESCE": None, "msgpack_decode": None, "cbor_decode": None}
"""What EMQX does not have: functions, and arguments beyond so many."""


def lookup(call: Call, others: Mapping[str, Function] | None, *, strict: bool = False) -> Function:
    """The built-in or plugin's function a call means. Problem if there is none, or if it takes other arguments.

    ``strict``: without what EMQX does not have.
    """
    name = call.name.removeprefix(_OWN_MODULE)
    function = BUILTINS.get(name) or (others or {}).get(name)
    if strict and name in _BEYOND_EMQX:
        most = _BEYOND_EMQX[name]
        if most is None:
            raise Problem(call.at, f"EMQX has no function {name}()", "leave out strict: true to use it")
        function = replace(BUILTINS[name], most=most)
    if function is None and others is None:
        return Function(name, lambda *_: None, 0, None)
    if function is None:
        raise Problem(call.at, f"there is no function {call.name}()", _near(name, [*BUILTINS, *(others or {})]))
    given = len(call.args)
    if given < function.least or (function.most is not None and given > function.most):
        raise Problem(call.at, f"{function.name}() takes {function.arguments}, not {given}")
    if function.check is not None:
        literals = {i: arg.value for i, arg in enumerate(call.args) if isinstance(arg, Literal)}
        try:
            function.check(literals)
        except ValueError as exc:
            raise Problem(call.at, f"{function.name}(): {exc}") from None
    return function


_ELSEWHERE = {
    "now": "now_timestamp() or now_rfc3339()",
    "len": "strlen() of a string, length() of an array",
    **dict.fromkeys(("ifnull", "nvl", "isnull"), "coalesce() or is_null()"),
    **dict.fromkeys(("cast", "to_number", "to_char"), "int(), float() or str()"),
    **dict.fromkeys(("substring", "mid", "left", "right"), "substr()"),
    **dict.fromkeys(("to_json", "json"), "json_encode() or json_decode()"),
    **dict.fromkeys(("date_format", "strftime", "to_date"), "format_date() or date_to_unix_ts()"),
    **dict.fromkeys(("pow", "exponent"), "power()"),
}
"""What functions of other dialects are called here."""
_AGGREGATES = frozenset(("count", "sum", "avg", "min", "max"))


def _near(name: str, known: list[str]) -> str:
    if "." in name:
        return "functions of other modules are not available"
    if name.lower() in _AGGREGATES:
        return "rule SQL looks at one event at a time: it has no aggregates"
    if name.lower() in _ELSEWHERE:
        return f"use {_ELSEWHERE[name.lower()]}"
    if name.lower() in known:
        return f"names are case-sensitive: {name.lower()}()"
    near = difflib.get_close_matches(name, known, 3)
    return "did you mean " + ", ".join(f"{word}()" for word in near) + "?" if near else ""
