"""What a body is taken for."""

from __future__ import annotations

import pytest

from headrace_plugins.http_source.bodies import format_of, payloads


@pytest.mark.parametrize(
    ("content_type", "format"),
    [
        ("application/json", "json"),
        ("application/cloudevents+json", "json"),
        ("application/x-ndjson", "ndjson"),
        ("application/jsonl", "ndjson"),
        ("text/plain", "raw"),
        ("application/octet-stream", "raw"),
    ],
)
def test_the_media_type_says_what_a_body_is(content_type, format):
    assert format_of(content_type) == format


@pytest.mark.parametrize(
    ("body", "format", "found"),
    [
        (b'{"a": 1.0}', "json", ['{"a": 1.0}']),
        (b' [ {"a": 1.0}, 12345678901234567890123, "x" ] ', "json", ['{"a": 1.0}', "12345678901234567890123", '"x"']),
        (b"[]", "json", []),
        (b'{"a": 1}\n\n{"b": 2}\r\n', "ndjson", ['{"a": 1}', '{"b": 2}']),
        (b"[1]\n[2]", "ndjson", ["[1]", "[2]"]),
        (b"", "ndjson", []),
        (b"{not json", "raw", ["{not json"]),
        (b"\xff\x00", "raw", [b"\xff\x00"]),
        (b"", "raw", [""]),
    ],
)
def test_payloads_are_cut_and_not_changed(body, format, found):
    assert payloads(body, format, True) == found


def test_an_array_is_one_event_if_that_is_asked_for():
    assert payloads(b"[1, 2]", "json", False) == ["[1, 2]"]


@pytest.mark.parametrize(
    ("body", "format", "why"),
    [
        (b'{"a": ', "json", "the body is not JSON"),
        (b"", "json", "the body is not JSON"),
        (b"[1, 2,]", "json", "the body is not JSON"),
        (b'"\xff"', "json", "the body is not JSON"),
        (b'{"a": 1}\n{"a"\n', "ndjson", "line 2 is not JSON"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_taken(body, format, why):
    with pytest.raises(ValueError, match=why):
        payloads(body, format, True)
