"""What a component's status says once it is open."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import ClassVar

from headrace import Ack, Batch, ComponentConfig, NotConnected, Source, hookimpl
from headrace.engine.opening import FIRST, open_until_up
from headrace.testing import Feed, ListSource, make_context
from headrace.testing.pipelines import run_pipeline


class Saying(ListSource):
    """Says itself how it is."""

    async def open(self) -> None:
        self.ctx.status.set("degraded", "one of two topics refused")


async def test_an_open_component_runs() -> None:
    source = ListSource(ListSource.Config(feed=Feed()), make_context())
    await open_until_up(source)
    assert source.ctx.status.state == "running"


async def test_what_a_component_says_of_itself_stays() -> None:
    source = Saying(Saying.Config(feed=Feed()), make_context())
    await open_until_up(source)
    assert (source.ctx.status.state, source.ctx.status.reason) == ("degraded", "one of two topics refused")


class NothingConfig(ComponentConfig):
    """No options."""


class Unreadable(Source[NothingConfig]):
    """Opens, and cannot be read."""

    name = "unreadable"
    opened: ClassVar[list[float]] = []

    async def open(self) -> None:
        self.opened.append(time.monotonic())

    async def read(self) -> tuple[Batch, Ack]:
        raise NotConnected("it is a directory")


class Plugin:
    @hookimpl
    def register_sources(self) -> list[type[Unreadable]]:
        return [Unreadable]


async def test_a_source_that_opens_and_cannot_be_read_is_opened_less_and_less_often() -> None:
    config = """
        sources: {in: {type: unreadable}}
        rules: {all: {sql: SELECT * FROM "t", to: out}}
        sinks: {out: {type: console}}
    """
    Unreadable.opened.clear()
    async with run_pipeline(config, plugins=[Plugin()]) as running:
        status = await running.until(lambda _: len(Unreadable.opened) == 3)
    first, second = (later - sooner for sooner, later in pairwise(Unreadable.opened))
    assert first >= FIRST
    assert second >= 2 * FIRST
    assert status["sources"]["in"]["last_error"] == "it is a directory"
