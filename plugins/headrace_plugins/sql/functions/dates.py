"""Dates and times, in epochs of seconds to nanoseconds. The calendar is the Gregorian one, from year 0 on."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace_plugins.sql.functions.arguments import choice, integer, one_of, string
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.values import U, describe

_UNITS: Final = {"second": 1, "millisecond": 1000, "microsecond": 1_000_000, "nanosecond": 1_000_000_000}
_DAY: Final = 86_400
_YEAR_0, _YEAR_10000 = -719_528 * _DAY, (2_932_897 - 719_528) * _DAY


def _factor(unit: Any) -> int:
    return _UNITS[choice(unit, *_UNITS)]


# -- the calendar


def _date(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970."""
    era, day = divmod(days + 719_468, 146_097)  # 400 years that begin on a 1st of March
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month = month + 3 if month < 10 else month - 9
    return era * 400 + year + (month <= 2), month, day


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970. ValueError for a date that is not in the calendar."""
    if not (0 <= year <= 9999 and 1 <= month <= 12 and day >= 1):
        raise ValueError(f"there is no date {year:04d}-{month:02d}-{day:02d}")
    shifted = year - (month <= 2)
    of_era = shifted % 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    days = shifted // 400 * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    if _date(days) != (year, month, day):
        raise ValueError(f"there is no date {year:04d}-{month:02d}-{day:02d}")
    return days


# -- offsets

_OFFSET: Final = re.compile(r"([+-])(?:([0-9]+):([0-9]+)(?::([0-9]+))?|([0-9]{2})([0-9]{2}))")


def _offset(value: Any, at: int) -> int:
    """An offset in seconds: a number, ``Z``, ``±hh:mm``, ``±hhmm``, ``±hh:mm:ss``, ``local``, or a zone's name."""
    if value is U:
        return 0
    if not isinstance(value, str):
        return integer(value)
    if value in ("Z", "z"):
        return 0
    if value == "local":
        return time.localtime(at).tm_gmtoff
    found = _OFFSET.fullmatch(value)
    if found is None:
        return _zone_offset(value, at)
    hours, minutes, seconds = (int(found[2] or found[5]), int(found[3] or found[6]), int(found[4] or 0))
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{describe(value)} is no offset")
    return (-1 if found[1] == "-" else 1) * (hours * 3600 + minutes * 60 + seconds)


def _zone_offset(name: str, at: int) -> int:
    try:
        zone = ZoneInfo(name) if "/" in name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = None
    if zone is None:
        raise ValueError(f"{describe(name)} is no offset; write Z, +hh:mm, -hhmm, local or a zone such as Europe/Paris")
    offset = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at)).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


@function("timezone_to_second", kind="num")
@function(kind="num")
def timezone_to_offset_seconds(offset: Any) -> int:
    """Seconds of an offset such as +08:00, Z, local, or of a zone such as Europe/Paris now."""
    return _offset(offset, int(time.time()))


# -- templates

_FIELD: Final = re.compile(r"%(?:[YmdHMSNz]|[36]N|:{1,2}z)")
_WIDTHS: Final = {
    "%Y": 4,
    "%m": 2,
    "%d": 2,
    "%H": 2,
    "%M": 2,
    "%S": 2,
    "%3N": 3,
    "%6N": 6,
    "%N": 9,
    "%z": 5,
    "%:z": 6,
    "%::z": 9,
}
_DIGITS: Final = {"%3N": 3, "%6N": 6, "%N": 9}
_NANOSECONDS: Final = {"%3N": 1_000_000, "%6N": 1000, "%N": 1}


@lru_cache(maxsize=1000)
def _template(text: str) -> tuple[tuple[str, bool], ...]:
    """Parts of a template, each with whether it is a field."""
    parts: list[tuple[str, bool]] = []
    end = 0
    for found in _FIELD.finditer(text):
        parts += [(text[end : found.start()], False), (found[0], True)]
        end = found.end()
    return (*parts, (text[end:], False))


def _zone(offset: int, field: str) -> str:
    if abs(offset) >= _DAY:
        raise ValueError(f"an offset of {offset} seconds is more than a day")
    minutes, seconds = divmod(abs(offset), 60)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if offset < 0 else "+"
    if field == "%z":
        return f"{sign}{hours:02d}{minutes:02d}"
    return f"{sign}{hours:02d}:{minutes:02d}" + (f":{seconds:02d}" if field == "%::z" else "")


@function(kind="str", check=one_of(0, *_UNITS))
def format_date(unit: Any, offset: Any, template: Any, epoch: Any = None) -> str:
    """An epoch (now, if none is given) by a template: %Y %m %d %H %M %S %N %3N %6N %z %:z %::z."""
    factor = _factor(unit)
    if epoch is None:
        epoch = time.time_ns() * factor // 1_000_000_000
    seconds, fraction = divmod(integer(epoch), factor)
    shift = _offset(offset, seconds)
    days, rest = divmod(seconds + shift, _DAY)
    if seconds + shift < _YEAR_0:
        raise ValueError("the date is before year 0")
    year, month, day = _date(days)
    nanoseconds = fraction * (1_000_000_000 // factor)
    values = {"%Y": f"{year:04d}", "%m": f"{month:02d}", "%d": f"{day:02d}"}
    values |= {"%H": f"{rest // 3600:02d}", "%M": f"{rest // 60 % 60:02d}", "%S": f"{rest % 60:02d}"}
    values |= {field: f"{nanoseconds:09d}"[:digits] for field, digits in _DIGITS.items()}
    return "".join(
        (values.get(part) or _zone(shift, part)) if is_field else part for part, is_field in _template(string(template))
    )


@function(kind="num", check=one_of(0, *_UNITS))
def date_to_unix_ts(unit: Any, offset: Any, template: Any, text: Any = None) -> int:
    """A text read by a template, as an epoch; without an offset: ``date_to_unix_ts(unit, template, text)``."""
    if text is None:
        offset, template, text = 0, offset, template
    factor = _factor(unit)
    fields = _parse(string(text), _template(string(template)))
    missing = [field for field in ("%Y", "%m", "%d", "%H", "%M", "%S") if field not in fields]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing")
    seconds = _days(fields["%Y"], fields["%m"], fields["%d"]) * _DAY
    seconds += fields["%H"] * 3600 + fields["%M"] * 60 + fields["%S"] - fields.get("%z", 0)
    if not _YEAR_0 <= seconds < _YEAR_10000:
        raise ValueError("the date is beyond the years 0 to 9999")
    fraction = sum(fields.get(field, 0) * scale for field, scale in _NANOSECONDS.items())
    shift = _offset(offset, seconds)
    shift = _offset(offset, seconds - shift)  # of a zone with summer time: the one at that instant
    return (seconds * 1_000_000_000 + fraction) * factor // 1_000_000_000 - shift * factor


def _parse(text: str, template: tuple[tuple[str, bool], ...]) -> dict[str, int]:
    """The fields of a text; what stands between them is skipped by its length. An offset is under ``%z``."""
    fields: dict[str, int] = {}
    at = 0
    for part, is_field in template:
        if at >= len(text):
            break
        width = _WIDTHS[part] if is_field else len(part)
        piece = text[at : at + width]
        at += width
        if len(piece) < width:
            raise ValueError(f"{describe(text)} ends within {part}")
        if not is_field:
            continue
        if part.endswith("z"):
            fields["%z"] = _offset(piece, 0)
        elif re.fullmatch(r"[+-]?[0-9]+", piece):
            fields[part] = int(piece)
        else:
            raise ValueError(f"{piece!r} is no number, for {part}")
    return fields


# -- RFC 3339

_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2}).([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))",
    re.DOTALL,
)


@function(kind="num", check=one_of(1, *_UNITS))
def rfc3339_to_unix_ts(text: Any, unit: Any = "second") -> int:
    """An RFC 3339 text as an epoch."""
    factor = _factor(unit)
    found = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{describe(text)} is no date of RFC 3339")
    year, month, day, hour, minute, second = (int(found[i]) for i in range(1, 7))
    offset = (int(found[9]) * 3600 + int(found[10]) * 60) * (-1 if found[8] == "-" else 1) if found[8] else 0
    seconds = _days(year, month, day) * _DAY + hour * 3600 + minute * 60 + second - offset
    fraction = 0 if factor == 1 or not found[7] else int(factor * float(f"0.{found[7][:30]}") + 0.5)
    return seconds * factor + fraction


@function(kind="str", check=one_of(1, *_UNITS))
def unix_ts_to_rfc3339(epoch: Any, unit: Any = "second") -> str:
    """In the time zone of the system."""
    factor = _factor(unit)
    seconds, fraction = divmod(integer(epoch), factor)
    if not _YEAR_0 <= seconds < _YEAR_10000:
        raise ValueError("the date is beyond the years 0 to 9999")
    shift = time.localtime(seconds).tm_gmtoff
    days, rest = divmod(seconds + shift, _DAY)
    year, month, day = _date(days)
    shown = f"{year:04d}-{month:02d}-{day:02d}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    if factor > 1:
        shown += f".{fraction:0{len(str(factor)) - 1}d}"
    return shown + _zone(shift, "%:z")


@function(kind="str", check=one_of(0, *_UNITS))
def now_rfc3339(unit: Any = "second") -> str:
    """The time now as RFC 3339, in the time zone of the system."""
    return unix_ts_to_rfc3339(now_timestamp(unit), unit)


@function(kind="num", check=one_of(0, *_UNITS))
def now_timestamp(unit: Any = "second") -> int:
    """The time now as an epoch."""
    return time.time_ns() * _factor(unit) // 1_000_000_000


@function(kind="str")
def mongo_date(epoch: Any = None, unit: Any = "millisecond") -> str:
    """An epoch (now, if none is given) as MongoDB's shell writes it."""
    if epoch is None:
        epoch, unit = time.time_ns() // 1_000_000, "millisecond"
    milliseconds = integer(epoch) * 1000 // _factor(unit)
    return f"ISODate({format_date('millisecond', 0, '%Y-%m-%dT%H:%M:%S.%3N', milliseconds)}Z)"
