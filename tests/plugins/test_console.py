"""The console sink."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from headrace import DeliveryError, Event
from headrace.testing import make_context, make_event
from headrace.testing.contracts import SinkContract, write
from headrace_plugins.console import Console, ConsoleConfig


def make(**options: Any) -> Console:
    return Console(ConsoleConfig(**options), make_context("out"))


class TestContract(SinkContract):
    @pytest.fixture
    def sink(self) -> Console:
        return make()


async def test_an_event_is_a_line_of_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    await write(make(), [make_event("one\ntwo"), make_event(b"\xff")])
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["payload"] for line in lines] == ["one\ntwo", "/w=="]


async def test_a_template_makes_the_line_bytes_unchanged(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    await write(make(template="${topic}: ${payload}"), [make_event(b"\xff", topic="a/b")])
    assert capfdbinary.readouterr().out == b"a/b: \xff\n"


async def test_pretty_json_is_indented(capfd: pytest.CaptureFixture[str]) -> None:
    await write(make(pretty=True), [Event({"a": {"b": 1}})])
    assert capfd.readouterr().out == '{\n  "a": {\n    "b": 1\n  }\n}\n'


async def test_it_may_print_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    await write(make(to="stderr"), [Event({"a": 1})])
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", '{"a":1}\n')


async def test_a_closed_pipe_is_an_undelivered_event(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stdout", pipe)
    (verdict,) = await write(make(), [Event({"a": 1})])
    assert isinstance(verdict, DeliveryError)
    assert "cannot print" in str(verdict)
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_a_wrong_template_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown filter"):
        ConsoleConfig(template="${a|nope}")
