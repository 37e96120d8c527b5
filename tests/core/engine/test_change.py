"""Changes while events flow: what changed is replaced, what did not is left alone, nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from headrace.components import ComponentConfig, Connector, Context, Event
from headrace.config import load
from headrace.config.model import (
    ApiOptions,
    BufferOptions,
    ConnectorSpec,
    PipelineSpec,
    RetryOptions,
    RuleSpec,
    SinkOptions,
    SinkSpec,
    SourceSpec,
    StreamOptions,
    TransformSpec,
)
from headrace.engine import Pipeline
from headrace.errors import EndOfInput, HeadraceError, NotConnected, StreamError
from headrace.registry import Registry
from headrace.testing import check_conservation
from headrace.testing.doubles import Feed, ListSource, MapTransform, Recorder, RecordingSink


class Line(Connector[ComponentConfig]):
    """A connection that counts its instances."""

    name = "line"
    closed = 0

    async def close(self) -> None:
        Line.closed += 1


class WiredSink(RecordingSink):
    """A sink that needs a connector."""

    name = "wired"
    connector_type = Line


class Refiltered(ListSource):
    """A source that follows the topics of the rules."""

    name = "refiltered"
    heard: list[tuple[str, ...]]

    async def refilter(self, filters: tuple[str, ...]) -> bool:
        if "bad" in filters:
            raise NotConnected("the broker is away")
        Refiltered.heard.append(filters)
        return True


def source(name: str, feed: Feed, cls: type[ListSource] = ListSource) -> dict[str, SourceSpec]:
    return {name: SourceSpec(name, cls, cls.Config(feed=feed))}


def rule(
    name: str, *sinks: str, topics: tuple[str, ...] = ("#",), mark: int = 0, enable: bool = True
) -> dict[str, RuleSpec]:
    config = MapTransform.Config(function=FUNCTIONS[mark], topics=topics)
    return {name: RuleSpec(name, (TransformSpec(MapTransform, config),), sinks or ("out",), enable=enable)}


FUNCTIONS: list[Callable[[Event], dict[str, Any]]] = [
    lambda event: {"n": event["n"], "mark": 0},
    lambda event: {"n": event["n"], "mark": 1},
]


def sink(name: str, recorder: Recorder, connector: str | None = None, **options: Any) -> dict[str, SinkSpec]:
    cls = WiredSink if connector else RecordingSink
    options = {"retry": RetryOptions(initial="10ms", max="20ms"), **options}
    return {name: SinkSpec(name, cls, cls.Config(recorder=recorder), SinkOptions(**options), connector)}


def connector(name: str, enable: bool = True) -> dict[str, ConnectorSpec]:
    return {name: ConnectorSpec(name, Line, ComponentConfig(), enable=enable)}


class Running:
    """A pipeline with one source and what a test changes about it."""

    def __init__(self, pipeline: Pipeline, feed: Feed) -> None:
        self.pipeline = pipeline
        self.feed = feed
        self._n = 0

    async def change(self, **parts: Any) -> Any:
        plan = await self.pipeline.apply(replace(self.pipeline.spec, **parts))
        self.status()
        return plan.snapshot()

    async def give(self, count: int, topic: str = "t", key: str = "k") -> None:
        """``count`` events, one batch; returns when the stream has them."""
        before = len(self.feed.acks)
        self.feed.put(Event({"topic": topic, "n": self._n + i}, key=key) for i in range(count))
        self._n += count
        await self.feed.until(lambda: len(self.feed.acks) > before)

    def status(self) -> dict[str, Any]:
        document = self.pipeline.snapshot()
        check_conservation(document)
        for one in document["rules"].values():
            c = one["counters"]
            assert c["actions.total"] >= c["actions.success"] + c["actions.failed"] + c["actions.discarded"]
        return document

    async def until(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while not condition(document := self.status()):
                await asyncio.sleep(0.005)
        return document

    def counters(self, kind: str, name: str) -> dict[str, int]:
        counters: dict[str, int] = self.status()[kind][name]["counters"]
        return counters


Run = Callable[..., Any]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    made: list[Pipeline] = []

    async def start(recorder: Recorder, *, cls: type[ListSource] = ListSource, **parts: Any) -> Running:
        feed = Feed()
        spec = PipelineSpec(
            "test", stream=StreamOptions(url="embedded://memory"),
            **{"sources": source("in", feed, cls), "rules": rule("r"), "sinks": sink("out", recorder), **parts},
        )  # fmt: skip
        made.append(Pipeline(spec, Registry()))
        await made[-1].start()
        return Running(made[-1], feed)

    yield start
    for pipeline in made:
        await pipeline.stop(timeout=0)


def numbers(recorder: Recorder) -> list[int]:
    return [event["n"] for event in recorder.delivered]


async def test_rules_come_change_and_go_and_keep_their_counters(run: Run) -> None:
    Refiltered.heard = []
    recorder = Recorder()
    r = await run(recorder, cls=Refiltered)
    await r.give(3)
    await recorder.arrived(3)
    assert await r.change(rules=rule("r", mark=1) | rule("also")) == {"rules": {"added": ["also"], "changed": ["r"]}}
    await r.give(2)
    await recorder.arrived(7)
    assert r.counters("rules", "r")["matched"] == 5
    assert r.counters("rules", "also")["matched"] == 2
    assert {e["mark"] for e in recorder.delivered[3:] if e.rule == "r"} == {1}
    await r.change(rules=rule("r", mark=1, enable=False))
    assert "also" not in r.status()["rules"]
    await r.give(4)
    status = r.status()
    assert (status["state"], status["rules"]["r"]["state"]) == ("running", "disabled")
    assert status["rules"]["r"]["counters"]["matched"] == 5
    await r.change(rules=rule("r", mark=1))
    await r.give(1)
    await recorder.arrived(8)
    assert status["config"]["generation"] == 3
    assert (recorder.opened, recorder.closed, r.feed.opened) == (1, 0, 1)


async def test_a_sink_that_changed_goes_on_with_what_the_old_one_had_not_settled(run: Run) -> None:
    old, new = Recorder(lambda event: None if event["n"] < 5 else NotConnected("away")), Recorder()
    r = await run(old)
    await r.give(5)
    await old.arrived(5)
    await r.give(20)
    await r.until(lambda s: s["sinks"]["out"]["counters"]["inflight"])
    await r.change(sinks=sink("out", new))
    await r.give(5)
    await new.arrived(25)
    assert numbers(new) == list(range(5, 30))
    status = await r.until(lambda s: s["sinks"]["out"]["counters"]["success"] == 30)
    assert status["sinks"]["out"]["counters"]["matched"] == 30
    assert (old.opened >= 1, old.closed, new.opened, new.closed) == (True, 1, 1, 0)


async def test_what_is_under_way_ends_in_the_old_sink(run: Run) -> None:
    old, new = Recorder(), Recorder()
    old.script = lambda event: old.hang() if event["n"] == 2 else None
    r = await run(old)
    await r.give(3)
    await old.until(lambda: old.hanging == 1)
    changing = asyncio.ensure_future(r.change(sinks=sink("out", new)))
    await r.until(lambda s: s["config"]["generation"] == 2)
    await r.give(2)
    assert not changing.done()
    old.release()
    await changing
    await new.arrived(2)
    assert (numbers(old), numbers(new)) == ([0, 1, 2], [3, 4])


async def test_a_sink_that_is_removed_leaves_what_it_has_for_another_of_its_name(run: Run) -> None:
    recorder = Recorder(lambda event: NotConnected("away"))
    r = await run(recorder, rules=rule("r", "out", "other"), sinks=sink("out", recorder) | sink("other", Recorder()))
    await r.give(4)
    await r.until(lambda s: s["sinks"]["out"]["counters"]["inflight"])
    await r.change(rules=rule("r", "other"), sinks=sink("other", Recorder()))
    status = r.status()
    assert list(status["sinks"]) == ["other"]
    assert status["stream"]["orphans"]["sink.out"]["events"] == 4
    again = Recorder()
    await r.change(rules=rule("r", "other", "out"), sinks=sink("other", Recorder()) | sink("out", again))
    await again.arrived(4)
    counters = (await r.until(lambda s: s["sinks"]["out"]["counters"]["success"] == 4))["sinks"]["out"]["counters"]
    assert (counters["matched"], counters["recovered"]) == (4, 0)
    assert r.status()["stream"]["orphans"] == {}


async def test_an_orphan_is_purged_on_request_and_an_empty_one_by_itself(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    away, well = Recorder(lambda event: NotConnected("away")), Recorder()
    r = await run(well, rules=rule("r", "a", "b"), sinks=sink("a", away) | sink("b", well))
    await r.give(2)
    await well.arrived(2)
    await r.until(lambda s: s["sinks"]["b"]["counters"]["success"] == 2)
    with pytest.raises(StreamError, match="no orphan"):
        await r.pipeline.purge("sink.a")
    await r.change(rules={}, sinks={})
    await r.until(lambda s: "sink.b" not in r.pipeline.stream._backend.topics)
    assert list(r.status()["stream"]["orphans"]) == ["sink.a"]
    await r.pipeline.purge("sink.a")
    assert "sink.a: 2 events purged, as was asked for" in caplog.text
    assert "full" not in caplog.text
    assert r.status()["stream"]["orphans"] == {}
    assert r.pipeline.parts.sinks == {}


async def test_a_disabled_sink_is_given_nothing_and_keeps_what_waits(run: Run) -> None:
    away, well = Recorder(lambda event: NotConnected("away")), Recorder()
    r = await run(away)
    await r.give(2)
    await r.until(lambda s: s["sinks"]["out"]["counters"]["inflight"])
    await r.change(sinks=sink("out", away, enable=False))
    await r.give(3)
    status = await r.until(lambda s: s["rules"]["r"]["counters"]["matched"] == 5)
    assert (status["state"], status["sinks"]["out"]["state"]) == ("running", "disabled")
    assert status["sinks"]["out"]["counters"]["queuing"] == 2
    assert status["rules"]["r"]["counters"]["actions.discarded"] == 3
    assert status["stream"]["orphans"] == {}
    await r.change(sinks=sink("out", well))
    await r.give(1)
    await well.arrived(3)
    assert numbers(well) == [0, 1, 5]
    counters = (await r.until(lambda s: s["sinks"]["out"]["counters"]["success"] == 3))["rules"]["r"]["counters"]
    assert counters["actions.total"] == counters["actions.success"] + counters["actions.discarded"] == 6


async def test_a_disabled_connector_stops_its_sinks(run: Run) -> None:
    recorder = Recorder()
    Line.closed = 0
    r = await run(recorder, connectors=connector("c"), sinks=sink("out", recorder, "c"))
    await r.give(1)
    await recorder.arrived(1)
    await r.change(connectors=connector("c", enable=False))
    assert Line.closed == 1
    await r.give(2)
    status = await r.until(lambda s: s["rules"]["r"]["counters"]["matched"] == 3)
    assert (status["connectors"]["c"]["state"], status["sinks"]["out"]["state"]) == ("disabled", "disabled")
    assert status["sinks"]["out"]["counters"]["dropped.resource_stopped"] == 2
    assert status["rules"]["r"]["counters"]["actions.failed.out_of_service"] == 2
    await r.change(connectors=connector("c"))
    await r.give(1)
    await recorder.arrived(2)
    assert numbers(recorder) == [0, 3]


async def test_a_connector_that_changed_restarts_its_own_sinks_only(run: Run) -> None:
    one, other = Recorder(), Recorder()
    r = await run(
        one,
        connectors=connector("c"),
        rules=rule("r", "one", "other"),
        sinks=sink("one", one, "c") | sink("other", other),
    )

    class Longer(Line):
        name = "longer"

    await r.change(connectors={"c": ConnectorSpec("c", Longer, ComponentConfig())})
    await r.give(1)
    await one.arrived(1)
    await other.arrived(1)
    assert (one.opened, one.closed, other.opened, other.closed) == (2, 1, 1, 0)


async def test_removing_a_sink_that_blocks_frees_the_rules(run: Run) -> None:
    away, well = Recorder(lambda event: NotConnected("away")), Recorder()
    full = BufferOptions(max_bytes="4KB")
    r = await run(well, rules=rule("r", "out", "well"), sinks=sink("out", away, buffer=full) | sink("well", well))
    for _ in range(40):
        r.feed.put(Event({"topic": "t", "n": 0, "payload": "x" * 500}, key="k") for _ in range(5))
    await r.until(lambda s: s["stream"]["blocked_by"] == "out")
    await r.change(rules=rule("r", "well"), sinks=sink("well", well))
    await r.until(lambda s: s["sinks"]["well"]["counters"]["success"] == 200)
    assert r.status()["stream"]["orphans"]["sink.out"]["events"] >= 5


async def test_sources_come_change_and_go(run: Run) -> None:
    recorder, other = Recorder(), Feed()
    r = await run(recorder)
    first, second = source("in", r.feed), source("more", other)
    await r.change(sources=first | second)
    other.put([{"topic": "t", "n": 7}])
    await recorder.arrived(1)
    await r.change(sources={"in": replace(first["in"], enable=False)} | second)
    assert (r.feed.closed, other.closed, other.opened) == (1, 0, 1)
    assert r.status()["sources"]["in"]["state"] == "disabled"
    await r.change(sources=first)
    assert other.closed == 1
    await r.give(1)
    await recorder.arrived(2)
    assert r.counters("sources", "in")["received"] == 1
    assert list(r.status()["sources"]) == ["in"]


async def test_a_source_follows_the_topics_of_the_rules_or_is_opened_anew(run: Run) -> None:
    Refiltered.heard = []
    recorder, follows, not_so = Recorder(), Feed(), Feed()
    sources = source("a", follows, Refiltered) | source("b", not_so)
    r = await run(recorder, sources=sources, rules=rule("r", topics=("x",)))
    await follows.until(lambda: follows.opened == 1)
    await r.change(rules=rule("r", topics=("x", "y")))
    await not_so.until(lambda: not_so.opened == 2)
    assert Refiltered.heard == [("x", "y")]
    assert (follows.opened, not_so.closed) == (1, 1)
    follows.put([{"topic": "y", "n": 1}])
    await recorder.arrived(1)
    await r.change(rules=rule("r", topics=("bad",)))
    await follows.until(lambda: follows.opened == 2)
    not_so.fail(EndOfInput())
    await r.until(lambda s: s["sources"]["b"]["state"] == "stopped")
    await r.change(rules=rule("r", topics=("z",)))
    assert not_so.opened == 3, "what has ended stays so"


async def test_what_cannot_be_made_changes_nothing(run: Run) -> None:
    class Impossible(RecordingSink):
        name = "impossible"

        def __init__(self, config: Any, ctx: Context) -> None:
            raise ValueError("no")

    recorder = Recorder()
    r = await run(recorder)
    bad = {"bad": SinkSpec("bad", Impossible, Impossible.Config(recorder=recorder))}
    with pytest.raises(HeadraceError, match="bad: cannot be made: ValueError: no"):
        await r.change(sinks=r.pipeline.spec.sinks | bad, rules={})
    with pytest.raises(HeadraceError, match="api: changed, and that needs a restart"):
        await r.change(api=ApiOptions(), rules={})
    await r.give(1)
    await recorder.arrived(1)
    assert r.status()["config"]["generation"] == 1
    assert list(r.status()["sinks"]) == ["out"]


async def test_nothing_is_lost_or_reordered_by_changes_under_load(run: Run) -> None:
    recorder = Recorder(lambda event: asyncio.sleep(0.001))
    r = await run(recorder)

    async def load() -> None:
        for _ in range(200):
            await r.give(10)

    loading = asyncio.ensure_future(load())
    changes = 0
    while not loading.done():
        inflight = 10 + changes % 5
        await r.change(sinks=sink("out", recorder, inflight=inflight), rules=rule("r", mark=changes % 2))
        changes += 1
    await loading
    await recorder.arrived(2000)
    assert numbers(recorder) == list(range(2000))
    assert not recorder.clashes
    assert changes > 10
    await r.until(lambda s: s["sinks"]["out"]["counters"]["success"] == 2000)


async def test_a_thousand_changes_of_a_rule_leave_memory_flat(tmp_path: Any) -> None:
    file = tmp_path / "pipeline.yaml"
    registry = Registry.discover()
    plans = []
    for n in range(2):
        file.write_text(
            f"""
            name: flat
            sources: {{in: {{type: generate, rate: 100}}}}
            rules:
              r: {{sql: 'SELECT payload.seq + {n} AS x FROM "#" WHERE payload.device = {n}', to: out}}
              s: {{sql: 'SELECT payload.seq AS x FROM "#" WHERE payload.device = 5', to: out}}
            sinks: {{out: {{type: http, url: "http://127.0.0.1:9"}}}}
            stream: {{url: "embedded://memory"}}
            """
        )
        plans.append(load([file], registry=registry))
    pipeline = Pipeline(plans[0], registry)
    await pipeline.start()
    before = 0
    for n in range(1, 1101):
        await pipeline.apply(plans[n % 2])
        if n == 100:
            gc.collect()
            before = sys.getallocatedblocks()
    gc.collect()
    grown = sys.getallocatedblocks() - before
    await pipeline.stop(timeout=0)
    assert pipeline.config.generation == 1101
    assert grown < 5_000, f"{grown} blocks more after 1,000 changes"
