"""Which events go into one request, and what becomes of them when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import Any

from headrace.components import Form, JoiningSink, Piece
from headrace.errors import DeliveryError
from headrace.events import Batch, Event
from headrace.testing.doubles import Recorder, RecordingSink
from headrace.testing.doubles import RecordingSinkConfig as Config

QUICK: dict[str, Any] = {"retry": {"initial": "10ms", "max": "50ms", "max_attempts": 4}}


class Joining(RecordingSink, JoiningSink[Config]):
    """Takes several events in one request, as ``http`` does: those with the same ``where``, ten bytes each."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.joined: list[list[int]] = []
        self.under_way = self.most = 0

    def piece(self, event: Event, form: Form) -> Piece:
        if event.get("bad"):
            raise DeliveryError("nothing can be made of it", kind="invalid")
        return Piece(event.get("where"), event.get("body", b"0123456789"))

    async def write_joined(self, batch: Batch, pieces: Sequence[bytes], common: Hashable, form: Form) -> None:
        recorder = self.config.recorder
        self.joined.append([event["n"] for event in batch])
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        for event in batch:
            outcome = recorder.script(event)
            if isinstance(outcome, Exception):
                raise outcome
        recorder.delivered.extend(batch)


def order(recorder: Recorder, key: str) -> list[int]:
    return [event["n"] for event in recorder.delivered if event["key"] == key]


async def test_a_request_carries_several_events_of_one_key_in_order(bench: Any) -> None:
    b = bench(Recorder(), sink_class=Joining, batch={"size": 10, "every": "20ms"})
    await b.give(*("a" * 7), "b")
    await b.all_settled()
    assert order(b.recorder, "a") == list(range(7))
    assert len(b.runner.sink.joined) == 1
    assert b.counters["success"] == 8


async def test_the_one_to_blame_is_found(bench: Any) -> None:
    def script(event: Event) -> Exception | None:
        return DeliveryError("500", kind="status", status=500) if event["n"] == 3 else None

    b = bench(Recorder(script), sink_class=Joining, batch={"size": 4}, **QUICK)
    for _ in range(3):
        await b.give(*("a" * 6), "b", "c")
    await b.all_settled()
    assert [event["n"] for event, _ in b.given_up] == [3, 3, 3]
    assert b.counters["success"] == 21
    per_record = [0, 1, 2, 4, 5]
    assert order(b.recorder, "a") == per_record * 3


async def test_a_request_has_no_more_bytes_than_it_may(bench: Any) -> None:
    b = bench(Recorder(), sink_class=Joining, batch={"size": 100, "bytes": "34B"})  # [1,2,3] and ten bytes each
    await b.give(*("a" * 7), *("bcdefgh"))
    await b.all_settled()
    assert max(map(len, b.runner.sink.joined)) == 3
    assert len(b.runner.sink.joined) <= 6
    assert order(b.recorder, "a") == list(range(7))


async def test_what_is_too_long_for_a_request_goes_alone(bench: Any) -> None:
    b = bench(Recorder(), sink_class=Joining, batch={"size": 100, "bytes": "34B"})
    await b.give("a", "a", "a", "b", change={1: {"body": b"x" * 100}})
    await b.all_settled()
    assert [1] in b.runner.sink.joined
    assert order(b.recorder, "a") == [0, 1, 2]


async def test_events_of_one_key_that_go_to_different_places_wait_for_each_other(bench: Any) -> None:
    b = bench(Recorder(), sink_class=Joining, batch={"size": 100})
    await b.give(*("a" * 4), change={n: {"where": n % 2} for n in range(4)})
    await b.all_settled()
    assert b.runner.sink.joined == [[0], [1], [2], [3]]
    assert b.runner.sink.most == 1


async def test_an_event_nothing_can_be_made_of_costs_the_others_nothing(bench: Any) -> None:
    b = bench(Recorder(), sink_class=Joining, batch={"size": 100})
    await b.give(*("a" * 4), "b", change={0: {"bad": True}, 2: {"bad": True}})
    await b.all_settled()
    assert [event["n"] for event, _ in b.given_up] == [0, 2]
    assert order(b.recorder, "a") == [1, 3]
    assert b.counters["attempts"] == 5


async def test_a_trickle_is_sent_when_its_oldest_event_has_waited_long_enough(bench: Any) -> None:
    b = bench(Recorder(), sink_class=Joining, batch={"size": 100, "every": "60ms"})
    began = asyncio.get_running_loop().time()
    while not b.runner.sink.joined:
        await b.give("a")
        await asyncio.sleep(0.005)
        assert asyncio.get_running_loop().time() - began < 5, "new events put it off for ever"


async def test_enough_bytes_are_not_waited_with(bench: Any) -> None:
    b = bench(Recorder(), sink_class=Joining, batch={"size": 100, "every": "1h", "bytes": "500B"})
    await b.give(*("a" * 6))  # the stream's estimate is a hundred bytes each
    await b.until(lambda: b.runner.sink.joined)


async def test_what_is_tried_in_the_place_of_a_head_is_tried_by_itself(bench: Any) -> None:
    tried: list[int] = []

    def script(event: Event) -> Exception | None:
        tried.append(event["n"])
        broken = event["n"] == 0 or tried.count(1) < 6
        return DeliveryError("500", kind="status", status=500) if broken else None

    b = bench(Recorder(script), sink_class=Joining, batch={"size": 10}, **QUICK)
    await b.give(*("a" * 8))  # one lane: nothing else succeeds beside it
    await b.all_settled()
    assert [event["n"] for event, _ in b.given_up] == [0]
    assert order(b.recorder, "a") == [1, 2, 3, 4, 5, 6, 7]
    assert not [request for request in b.runner.sink.joined[1:] if 1 in request and len(request) > 1]
