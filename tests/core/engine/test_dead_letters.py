"""What becomes of events a sink gave up: letters, replay, purge, another sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace import Batch, ComponentConfig, Done, Sink, hookimpl
from headrace.engine.calls import call
from headrace.engine.dead_letters import DEAD_LETTERS, Which
from headrace.errors import DeliveryError, HeadraceError
from headrace.events import Event, decode, encode_event, join
from headrace.stream import read_topic
from headrace.templates import Template
from headrace.testing.pipelines import RunningPipeline, run_pipeline

REFUSED = DeliveryError("the server answered 400", kind="status", status=400, answer=b"no")
ALL: dict[str, Any] = {"which": {}}


class Peers:
    """What each sink of type ``peer`` got, and which events it refuses."""

    def __init__(self) -> None:
        self.got: dict[str, list[Event]] = {"main": [], "spare": []}
        self.refuses: dict[str, Callable[[Event], bool]] = {}

    def plugin(self) -> ModuleType:
        peers = self

        class Peer(Sink[ComponentConfig]):
            """Takes events, or refuses them."""

            name = "peer"

            async def write(self, batch: Batch, done: Done) -> None:
                for i, event in enumerate(batch):
                    if peers.refuses.get(self.ctx.name, lambda event: False)(event):
                        done(i, REFUSED)
                    else:
                        peers.got[self.ctx.name].append(event)

        module = ModuleType("peers")

        @hookimpl
        def register_sinks() -> list[type[Peer]]:
            return [Peer]

        vars(module)["register_sinks"] = register_sinks
        return module

    def seqs(self, sink: str) -> list[int]:
        return [event["seq"] for event in self.got[sink]]


@pytest.fixture
def peers() -> Iterator[Peers]:
    return Peers()


def config(count: int = 6, more: str = "") -> str:
    return f"""
name: letters
sources: {{g: {{type: generate, devices: 1, rate: 0, count: {count}}}}}
rules: {{r: {{sql: 'SELECT payload.seq AS seq FROM "#"', to: main}}}}
sinks:
  main: {{type: peer{more}}}
  spare: {{type: peer}}
"""


async def settled(running: RunningPipeline) -> dict[str, Any]:
    return await running.until(
        lambda s: (
            s["sources"]["g"]["state"] == "stopped" and all(t["unsettled"] == 0 for t in s["stream"]["topics"].values())
        )
    )


def balance(status: dict[str, Any]) -> None:
    """At rest every action of a rule has ended in one way."""
    for rule in status["rules"].values():
        c = rule["counters"]
        assert c["actions.total"] == c["actions.success"] + c["actions.failed"] + c["actions.discarded"]
        assert c["actions.failed"] == c["actions.failed.out_of_service"] + c["actions.failed.unknown"]


def test_an_error_travels_with_its_event_and_only_with_it() -> None:
    plain, failed = Event({"a": 1}, rule="r"), Event({"a": 2}, rule="r")
    failed.error = {"reason": "refused", "status": 400, "attempts": 3, "sink": "main", "at": 5}
    read = decode(join([encode_event(plain), encode_event(failed)]))
    assert [event.error for event in read] == [None, failed.error]
    assert read[1].delivery_id == failed.delivery_id
    template = Template("${meta.error.reason}/${meta.error.status}/${meta.error}", missing="undefined")
    assert template.render(read[0]) == "undefined/undefined/undefined"
    assert template.render(read[1]).startswith('refused/400/{"reason"')
    assert "error" not in plain.meta


@pytest.mark.parametrize("durable", [True, False])
async def test_letters_are_replayed_with_their_ids_and_the_law_holds(
    peers: Peers, tmp_path: Path, durable: bool
) -> None:
    peers.refuses["main"] = lambda event: event["seq"] in (1, 4)
    directory = tmp_path if durable else None
    async with run_pipeline(config(), plugins=[peers.plugin()], directory=directory) as running:
        status = await settled(running)
        assert status["sinks"]["main"]["counters"]["failed"] == 2
        assert status["stream"]["dead_letters"] | {"held_bytes": 0} == {
            "kept": 2, "dropped": 0, "replayed": 0, "purged": 0, "held": 2, "held_bytes": 0,
        }  # fmt: skip
        letters = await call(running.pipeline, "dlq.ls", {"which": {"sink": "main"}, "limit": 10})
        assert [letter["event"]["seq"] for letter in letters] == [1, 4]
        del peers.refuses["main"]
        assert await call(running.pipeline, "dlq.replay", ALL) == {"replayed": 2, "failed": {}}
        status = await settled(running)
        c = status["sinks"]["main"]["counters"]
        assert (c["matched"], c["success"], c["failed"], c["replayed"]) == (8, 6, 2, 2)
        balance(status)
        assert status["rules"]["r"]["counters"]["actions.success"] == 4
        assert status["stream"]["dead_letters"]["held"] == 0
        assert await call(running.pipeline, "dlq.replay", ALL) == {"replayed": 0, "failed": {}}
    assert sorted(peers.seqs("main")) == [0, 1, 2, 3, 4, 5]
    again = [event for event in peers.got["main"] if event.error is not None]
    assert [(e.delivery_id, e.error["reason"], e.error["attempts"]) for e in again if e.error] == [
        (letter["delivery_id"], "the server answered 400", 1) for letter in letters
    ]


async def test_a_replayed_event_that_fails_again_is_a_letter_again(peers: Peers) -> None:
    peers.refuses["main"] = lambda event: event["seq"] == 3
    async with run_pipeline(config(), plugins=[peers.plugin()]) as running:
        await settled(running)
        assert (await call(running.pipeline, "dlq.replay", ALL))["replayed"] == 1
        status = await running.until(lambda s: s["stream"]["dead_letters"]["kept"] == 2)
        assert status["stream"]["dead_letters"]["held"] == 1
        status = await settled(running)
        assert status["sinks"]["main"]["counters"]["failed"] == 2
        balance(status)


async def test_purge_settles_for_good_and_the_count_is_rebuilt_at_start(peers: Peers, tmp_path: Path) -> None:
    peers.refuses["main"] = lambda event: event["seq"] >= 2
    async with run_pipeline(config(), plugins=[peers.plugin()], directory=tmp_path) as running:
        await settled(running)
        (one,) = await call(running.pipeline, "dlq.ls", {"which": {"id": "2"}, "limit": 5})
        assert (await call(running.pipeline, "dlq.purge", {"which": {"id": one["event_id"]}})) == {"purged": 1}
        assert (await call(running.pipeline, "dlq.purge", {"which": {"reason": "nothing like it"}})) == {"purged": 0}
    left = [kept.event["event"]["seq"] for kept in read_topic(tmp_path, DEAD_LETTERS)]
    assert len(left) == 3
    assert one["event"]["seq"] not in left
    idle = "name: letters\nsinks: {main: {type: peer}}"
    async with run_pipeline(idle, plugins=[peers.plugin()], directory=tmp_path) as running:
        letters = running.status()["stream"]["dead_letters"]
        assert (letters["held"], letters["kept"]) == (3, 0)
        assert (await call(running.pipeline, "dlq.purge", ALL)) == {"purged": 3}
        assert running.status()["stream"]["dead_letters"] | {"held_bytes": 0} == {
            "kept": 0, "dropped": 0, "replayed": 0, "purged": 3, "held": 0, "held_bytes": 0,
        }  # fmt: skip
    assert list(read_topic(tmp_path, DEAD_LETTERS)) == []


async def test_the_filters(peers: Peers, tmp_path: Path) -> None:
    peers.refuses["main"] = lambda event: True
    async with run_pipeline(config(2), plugins=[peers.plugin()], directory=tmp_path) as running:
        await settled(running)
    first, second = read_topic(tmp_path, DEAD_LETTERS)
    for which, found in [
        (Which(), 2),
        (Which(sink="main", rule="r", reason="ANSWERED 4"), 2),
        (Which(sink="spare"), 0),
        (Which(rule="x"), 0),
        (Which(since=second.event.timestamp + 1), 0),
        (Which(since=first.event.timestamp), 2),
        (Which(id=first.event["event_id"]), 1),
        (Which(id=second.event["delivery_id"]), 1),
        (Which(id=str(second.offset)), 1),
    ]:
        assert sum(map(which, (first, second))) == found, which


async def test_letters_of_a_sink_that_is_gone_stay_and_say_so(peers: Peers, tmp_path: Path) -> None:
    peers.refuses["main"] = lambda event: True
    async with run_pipeline(config(3), plugins=[peers.plugin()], directory=tmp_path) as running:
        await settled(running)
    async with run_pipeline("name: letters\n", directory=tmp_path) as running:
        done = await call(running.pipeline, "dlq.replay", ALL)
        assert done == {"replayed": 0, "failed": {"main": "there is no sink 'main' running"}}
        assert running.status()["stream"]["dead_letters"]["held"] == 3


async def test_another_sink_gets_the_event_with_its_error_and_the_rule_counts_it_once(peers: Peers) -> None:
    peers.refuses["main"] = lambda event: event["seq"] == 1
    async with run_pipeline(config(more=", on_error: spare"), plugins=[peers.plugin()]) as running:
        status = await settled(running)
    (event,) = peers.got["spare"]
    assert event["seq"] == 1
    assert event.error is not None
    assert event.error | {"at": 0} == {
        "sink": "main", "reason": "the server answered 400", "kind": "status", "status": 400, "attempts": 1, "at": 0,
    }  # fmt: skip
    assert status["sinks"]["main"]["counters"]["failed"] == 1
    assert status["sinks"]["spare"]["counters"]["success"] == 1
    rule = status["rules"]["r"]["counters"]
    assert (rule["actions.total"], rule["actions.success"], rule["actions.failed"]) == (6, 5, 1)


async def test_when_the_other_sink_fails_too_it_ends_in_the_letters(peers: Peers) -> None:
    peers.refuses["main"] = peers.refuses["spare"] = lambda event: event["seq"] == 1
    async with run_pipeline(config(more=", on_error: spare"), plugins=[peers.plugin()]) as running:
        status = await settled(running)
        balance(status)
        (letter,) = await call(running.pipeline, "dlq.ls", ALL | {"limit": 9})
        assert letter["sink"] == "spare"
        assert status["rules"]["r"]["counters"]["actions.failed"] == 1


async def test_a_replay_begins_its_ttl_anew(peers: Peers) -> None:
    peers.refuses["main"] = lambda event: True
    async with run_pipeline(config(1, ", ttl: 2s"), plugins=[peers.plugin()]) as running:
        await settled(running)
        peers.refuses.clear()
        dead_letters = running.pipeline.dead_letters
        assert dead_letters is not None

        async def give(sink: str, events: list[Event]) -> None:
            for event in events:
                event.timestamp -= 60_000  # it lay there for a minute
            await running.pipeline.give(sink, events)

        assert (await dead_letters.replay(Which(), give)).replayed == 1  # type: ignore[arg-type]  # a list is a sequence
        status = await settled(running)
        assert status["sinks"]["main"]["counters"]["dropped.expired"] == 0
        assert peers.seqs("main") == [0]


async def test_what_is_no_call_is_an_error() -> None:
    async with run_pipeline("name: letters\n") as running:
        for name, arguments in [("dlq.nope", {}), ("dlq.purge", {"which": {"colour": "red"}}), ("dlq.ls", {})]:
            with pytest.raises(HeadraceError, match="is no call, or has wrong arguments"):
                await call(running.pipeline, name, arguments)
