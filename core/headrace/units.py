"""Durations and sizes with units, as option types.

``5s``, ``100ms``, ``1.5h`` → seconds; ``256MB``, ``64KiB`` → bytes (KB and KiB are both 1,024, as in EMQX).
A bare number is refused where a unit matters; ``0`` needs none.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

__all__ = ["Duration", "Size", "format_duration", "format_size", "parse_duration", "parse_size", "rough_size"]

_DURATION = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*\Z")


def _parse(value: Any, units: dict[str, Any], example: str, what: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0:
            return 0
        raise ValueError(f"a {what} needs a unit, such as {example}")
    found = _NUMBER.match(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"not a {what}; write it like {example}")
    number, unit = found.groups()
    if not unit and float(number):
        raise ValueError(f"a {what} needs a unit, such as {example}")
    if unit and unit not in units:
        raise ValueError(f"unknown unit {unit!r}; use one of {', '.join(units)}")
    return float(number) * float(units.get(unit, 1))


def parse_duration(value: Any) -> float:
    """Seconds of a text like ``5s`` or ``100ms``."""
    return _parse(value, _DURATION, "5s or 100ms", "duration")


def parse_size(value: Any) -> int:
    """Bytes of a text like ``256MB``."""
    if isinstance(value, str):
        value = value.replace("iB", "B")
        found = _NUMBER.match(value)
        if found:
            value = found[1] + found[2].upper()
    return int(_parse(value, _SIZE, "256MB or 64KB", "size"))


def format_duration(seconds: float) -> str:
    """The shortest text that parses back."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _DURATION[unit] == 0:
            return f"{int(seconds / _DURATION[unit])}{unit}"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms" if seconds else "0s"


def format_size(size: int) -> str:
    """The shortest text that parses back."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size and size % _SIZE[unit] == 0:
            return f"{size // _SIZE[unit]}{unit}"
    return f"{size}B"


def rough_size(size: float) -> str:
    """A size for people to read, in the largest unit it reaches: ``14.4 MB``."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= _SIZE[unit]:
            return f"{size / _SIZE[unit]:.1f} {unit}"
    return f"{size:.0f} B"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$|^0$", "examples": ["5s"], "x-unit": "duration"}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[kKmMgGtT]?i?[bB]$|^0$", "examples": ["256MB"], "x-unit": "size"}
    ),
]
