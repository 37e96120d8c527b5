"""Several events in one request, for sinks that have ``write_joined`` and a ``batch.size`` above 1."""

from __future__ import annotations

import time
from typing import Any

from headrace.engine.delivery import SinkRunner
from headrace.lanes import Item

__all__ = ["JoinedRunner"]


class JoinedRunner(SinkRunner):
    """A request carries the heads of many lanes, and of each lane the events behind its head, in order.

    It succeeds or fails as a whole. When others succeed meanwhile, its events are tried again one by one, so that the
    one to blame is found and the rest gets through.
    """

    def _send(self, room: int) -> None:
        batch = self._options.batch
        if self._flow.broken:
            super()._send(room)
            return
        if self._too_few():
            return
        heads = self._lanes.take(batch.size)
        for item in [head for head in heads if head.alone]:
            self._request([item])
        self._request([head for head in heads if not head.alone])
        if self._lanes.ready and self._writing < max(self._options.inflight, batch.size):
            self._schedule()

    def _too_few(self) -> bool:
        """Wait for more? Only if the batch is not full and its oldest event is younger than ``every``."""
        batch = self._options.batch
        waiting = self._ahead.events - self._writing
        if not batch.every or waiting >= batch.size or not self._ahead.window:
            return False
        wait = self._ahead.window[-1].born + batch.every - self._loop.time()
        if wait <= 0:
            return False
        self._wake_in(wait)
        return True

    def _request(self, heads: list[Item]) -> None:
        heads = self._begin(heads)
        if not heads:
            return
        batch = self._options.batch
        followers: dict[Item, list[Item]] = {}
        room = batch.size - len(heads)
        for head in heads:
            if room <= 0 or head.alone:
                break
            behind = followers[head] = self._lanes.followers(head, room)
            self._mark(behind)
            room -= len(behind)
        self._spawn(self._write_joined(heads, followers))

    def _transmit(self, items: list[Item]) -> None:
        self._spawn(self._write_joined(items, {}))

    async def _write_joined(self, heads: list[Item], followers: dict[Item, list[Item]]) -> None:
        items = [item for head in heads for item in (head, *followers.get(head, ()))]
        began = time.perf_counter()
        write: Any = self.sink.write_joined  # type: ignore[attr-defined]  # only sinks that have it come here
        try:
            await write([item.event for item in items], self._options.batch.as_)
        except Exception as exc:  # noqa: BLE001 - a sink may raise anything
            self._measure(items[0], began, len(items), exc)
            self._refused(items[0], heads, followers, exc, began)
            self._schedule()
        else:
            self._measure(items[0], began, len(items), None)
            for head in heads:
                for item in followers.get(head, ()):
                    self._settle(item, None, began, release=False)
                self._settle(head, None, began)

    def _refused(
        self, first: Item, heads: list[Item], followers: dict[Item, list[Item]], error: Exception, began: float
    ) -> None:
        failure = self._policy.classify(error)
        outage = failure.later or (failure.network and self._successes == first.mark)
        apart = len(heads) + sum(map(len, followers.values())) > 1 and not outage
        for head in heads:
            behind = followers.get(head, [])
            self._writing -= len(behind)
            self._lanes.put_back(behind)
            for item in behind:
                self._erred(item, error, began)
            for item in (head, *behind):
                item.alone = item.alone or apart
            if apart:  # nobody is blamed for what the whole request did
                self._erred(head, error, began)
                self._writing -= 1
                self._lanes.again(head)
            else:
                self._settle(head, error, began)
