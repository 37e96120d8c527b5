"""What a component's status says once it is open."""

from __future__ import annotations

from headrace.engine.opening import open_until_up
from headrace.testing import Feed, ListSource, make_context


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
