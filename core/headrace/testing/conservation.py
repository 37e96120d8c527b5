"""The conservation law: every event that came in is somewhere, and counted there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["check_conservation"]

_LAWS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sources": (("received",), ("appended", "rejected", "pending")),
    "rules": (("matched",), ("passed", "failed.exception", "failed.no_result")),
    "sinks": (("matched", "recovered"), ("success", "failed", "dropped", "late_reply", "queuing", "inflight")),
}


def check_conservation(status: Mapping[str, Any]) -> None:
    """AssertionError if the counters of a status answer (``headrace status -o json``) do not add up.

    Source: received = appended + rejected + pending. Rule: matched = passed + failed.exception + failed.no_result.
    Sink: matched + recovered = success + failed + dropped + late_reply + queuing + inflight.
    A counter ``a`` beside counters ``a.b``, ``a.c`` must be their sum; a counter that is not there is 0.
    """
    problems: list[str] = []
    for section, (left, right) in _LAWS.items():
        for name, component in status.get(section, {}).items():
            where = f"{section}.{name}"
            counters = component["counters"]
            problems += [f"{where}: {text}" for text in _sums(counters)]
            ins, outs = _values(counters, left), _values(counters, right)
            if sum(ins.values()) != sum(outs.values()):
                problems.append(f"{where}: {_text(ins)} is not {_text(outs)}")
    if problems:
        raise AssertionError("\n".join(["the counters do not add up:", *problems]))


def _values(counters: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, int]:
    return {name: int(counters.get(name, sum(_parts(counters, name).values()))) for name in names}


def _parts(counters: Mapping[str, Any], name: str) -> dict[str, int]:
    return {key: value for key, value in counters.items() if key.startswith(f"{name}.") and key.count(".") == 1}


def _sums(counters: Mapping[str, Any]) -> list[str]:
    problems = []
    for name in ("rejected", "dropped", "failed", "retried", "errors"):
        parts = _parts(counters, name)
        if name in counters and parts and counters[name] != sum(parts.values()):
            problems.append(f"{name} {counters[name]} is not {_text(parts)}")
    return problems


def _text(values: Mapping[str, int]) -> str:
    return " + ".join(f"{name} {value}" for name, value in values.items())
