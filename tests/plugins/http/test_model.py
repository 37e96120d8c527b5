"""Whatever a server does, each event is settled once, each key is heard in order, and nothing is lost.

Hypothesis plays publisher, server and network by turns; at the end of each game the server is well, and everything must
arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from typing import Any

import pytest
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from feeding import feeding
from headrace import Event
from headrace.testing.context import make_event
from headrace.testing.pipelines import run_pipeline

KEYS = ("a", "b", "c")
TIMEOUT = 0.15
EXAMPLES = 10


def faults(server: Any) -> dict[str, tuple[Any, bool]]:
    """What a server may do with a request, and whether it has then answered 2xx for all to see."""
    answer, raw = server.answer, server.raw
    slow = {"wait": lambda: asyncio.sleep(0.02)}
    return {
        "ok": (answer(200, b"fine"), True),
        "empty": (answer(204), True),
        "slow": (answer(200, **slow), True),
        "byte by byte": (answer(200, b"fine", by_bytes=True), True),
        "chunked": (raw(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), True),
        "notice first": (raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n"), True),
        "closes politely": (answer(200, b"", "Connection: close", close=True), True),
        "closes impolitely": (answer(200, close=True), True),
        "HTTP/1.0": (raw(b"HTTP/1.0 200 X\r\n\r\nuntil the end", close=True), True),
        "more than it says": (answer(200, b"too long", "Content-Length: 3"), True),
        "less than it says": (answer(200, b"half", "Content-Length: 9", close=True), False),
        "half a head": (raw(b"HTTP/1.1 200 X\r\nConte", close=True), False),
        "nonsense": (raw(b"\x16\x03\x01 what?\r\n\r\n", close=True), False),
        "hangs": (server.hang(), False),
        "too late": (answer(200, wait=lambda: asyncio.sleep(TIMEOUT * 2)), False),
        "closes": (server.close(), False),
        "resets": (server.reset(), False),
        "busy": (answer(503), False),
        "asks to wait": (answer(429, b"", "Retry-After: 0"), False),
        "broken": (answer(500, b"oops"), False),
    }


class Game(RuleBasedStateMachine):
    """``server_class``, ``pipelining`` and more options of the sink are set by the test."""

    server_class: Any = None
    pipelining = 1
    options = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = uvloop.new_event_loop()
        self.stack = contextlib.AsyncExitStack()
        self.published: Counter[str] = Counter()
        self.ahead: list[str] = []
        self.delivered: set[tuple[str, int]] = set()
        self.first: dict[str, list[int]] = {key: [] for key in KEYS}

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def begin(self) -> None:
        self.run(self._begin())

    async def _begin(self) -> None:
        self.server = self.server_class()
        await self.server.start()
        self.faults = faults(self.server)
        if self.pipelining == 1:  # with more, the second answer is the next request's, and nobody could tell
            twice = b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n" * 2
            self.faults["two answers"] = (self.server.raw(twice), True)
        self.server.respond = self._respond
        self.queue: asyncio.Queue[list[Event]] = asyncio.Queue()
        config = f"""
sources: {{in: {{type: feeding}}}}
rules: {{all: {{sql: 'SELECT clientid AS k, payload.n AS n FROM "#"', to: out}}}}
sinks:
  out: {{type: http, url: "{self.server.url}", pool_size: 2, pipelining: {self.pipelining}, timeout: {TIMEOUT * 1000}ms,
        retry: {{initial: 5ms, max: 20ms, max_attempts: 1000000}}{self.options}}}
"""
        self.running = await self.stack.enter_async_context(run_pipeline(config, plugins=[feeding(self.queue)]))

    def _respond(self, seen: Any) -> Any:
        body = json.loads(seen.body)
        answer, delivers = self.faults[self.ahead.pop(0) if self.ahead else "ok"]
        for row in body if isinstance(body, list) else [body]:
            if row["n"] not in self.first[row["k"]]:
                self.first[row["k"]].append(row["n"])
            if delivers:
                self.delivered.add((row["k"], row["n"]))
        return answer

    @rule(key=st.sampled_from(KEYS), n=st.integers(1, 5))
    def publish(self, key: str, n: int) -> None:
        first = self.published[key]
        self.published[key] += n
        events = [make_event(json.dumps({"n": i}), clientid=key) for i in range(first, first + n)]
        self.run(self.queue.put(events))

    @rule(data=st.data())
    def server_will(self, data: st.DataObject) -> None:
        self.ahead.append(data.draw(st.sampled_from(sorted(self.faults))))

    @rule(down=st.booleans())
    def server_goes(self, down: bool) -> None:
        self.run(self._goes(down))

    async def _goes(self, down: bool) -> None:
        port = self.server.port
        await self.server.stop()
        if down:
            await asyncio.sleep(0.02)
        await self.server.start(port)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05]))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @invariant()
    def the_counters_add_up_and_keys_are_in_order(self) -> None:
        if hasattr(self, "running"):
            self.running.status()  # which checks conservation
        for key, order in self.first.items():
            assert order == list(range(len(order))), f"{key}: {order}"

    def teardown(self) -> None:
        try:
            if hasattr(self, "running"):
                self.run(self._end())
        finally:
            self.run(self.stack.aclose())
            if hasattr(self, "server"):
                self.run(self.server.stop())
            self.run(asyncio.sleep(0))  # what was closed is closed in the next turn
            self.loop.close()

    async def _end(self) -> None:
        total = self.published.total()
        status = await self.running.until(lambda status: status["sinks"]["out"]["counters"]["success"] >= total, 30)
        counters = status["sinks"]["out"]["counters"]
        assert (counters["success"], counters["failed"], counters["dropped"]) == (total, 0, 0)
        assert self.delivered == {(key, n) for key, count in self.published.items() for n in range(count)}
        self.the_counters_add_up_and_keys_are_in_order()


@pytest.mark.parametrize(
    ("depth", "more"),
    [(1, ""), (4, ""), (1, ", batch: {size: 3, every: 10ms}"), (4, ', path: "/${n}", batch: {size: 9, bytes: 40B}')],
    ids=["one by one", "pipelined", "joined", "joined and parted"],
)
def test_nothing_a_server_does_loses_an_event(
    server: Any, depth: int, more: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Played(Game):
        server_class = type(server)
        pipelining = depth
        options = more

    Played.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None)
    Played.TestCase("runTest").debug()
    assert not [record.message for record in caplog.records if "settled" in record.message]
