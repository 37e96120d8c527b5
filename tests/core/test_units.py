"""Durations and sizes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from headrace import Duration, Size
from headrace.units import format_duration, format_size, parse_duration, parse_size, rough_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("100ms", 0.1), ("1.5h", 5400), ("2m", 120), ("1d", 86400), (" 3 s ", 3), ("0", 0), (0, 0), (0.0, 0)],
)
def test_a_duration_is_seconds(text: Any, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MB", 256 << 20),
        ("64KiB", 64 << 10),
        ("1.5kb", 1536),
        ("7B", 7),
        ("2 GB", 2 << 30),
        ("1TB", 1 << 40),
        (0, 0),
    ],
)
def test_a_size_is_bytes_in_steps_of_1024(text: Any, size: int) -> None:
    assert parse_size(text) == size
    assert isinstance(parse_size(text), int)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "needs a unit, such as 5s or 100ms"),
        ("5", "needs a unit"),
        ("5 seconds", "unknown unit 'seconds'; use one of ms, s, m, h, d"),
        ("5S", "unknown unit 'S'"),
        ("soon", "not a duration; write it like 5s"),
        ("-5s", "not a duration"),
        ("1e3s", "not a duration"),
        ("", "not a duration"),
        ("5s\n6s", "not a duration"),
        (True, "not a duration"),
        (None, "not a duration"),
        (["5s"], "not a duration"),
    ],
)
def test_what_is_no_duration_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [(5, "needs a unit, such as 256MB"), ("5", "needs a unit"), ("5 bits", "unknown unit"), ("-1MB", "not a size")],
)
def test_what_is_no_size_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_size(value)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.1, "100ms"), (60, "1m"), (90, "90s"), (86400, "1d"), (0.0005, "0.5ms")]
)
def test_a_duration_is_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0B"), (1, "1B"), (1024, "1KB"), (1 << 30, "1GB"), (1536, "1536B")])
def test_a_size_is_written_short(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**9))
def test_what_is_written_reads_back(n: int) -> None:
    assert parse_size(format_size(n)) == n
    assert parse_duration(format_duration(n / 1000)) == pytest.approx(n / 1000)


class Options(BaseModel):
    wait: Duration = 0.1
    size: Size = 1024


def test_as_option_types_they_read_and_write_text() -> None:
    options = Options.model_validate({"wait": "2m", "size": "8MB"})
    assert (options.wait, options.size) == (120, 8 << 20)
    assert options.model_dump(mode="json") == {"wait": "2m", "size": "8MB"}
    assert Options().model_dump() == {"wait": 0.1, "size": 1024}


@pytest.mark.parametrize(("type_", "good"), [(Duration, "5s"), (Size, "64KiB")])
def test_their_schema_says_how_to_write_them(type_: Any, good: str) -> None:
    import re

    schema = TypeAdapter(type_).json_schema()
    assert schema["type"] == "string"
    for text in (good, "0", *schema["examples"]):
        assert re.search(schema["pattern"], text)
        TypeAdapter(type_).validate_python(text)
    assert not re.search(schema["pattern"], "5")


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (15111546, "14.4 MB")])
def test_sizes_for_people_have_one_digit(size: float, text: str) -> None:
    assert rough_size(size) == text
