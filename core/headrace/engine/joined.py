"""Several events in one request, for sinks that can (``JoiningSink``) and a ``batch.size`` above 1."""

from __future__ import annotations

import time
from collections.abc import Hashable

from headrace.components import JoiningSink, Piece
from headrace.config.model import BatchOptions
from headrace.engine.delivery import SinkRunner
from headrace.lanes import Item

__all__ = ["JoinedRunner"]


class _Request:
    """Heads of lanes, and of each lane some that are behind its head, in order: all that go in one request."""

    __slots__ = ("behind", "common", "heads", "pieces", "size")

    def __init__(self, common: Hashable) -> None:
        self.common = common
        self.heads: list[Item] = []
        self.behind: list[Item] = []
        self.pieces: list[bytes] = []  # of the heads, then of those behind
        self.size = 1  # a bracket

    def takes(self, piece: Piece, batch: BatchOptions) -> bool:
        """Does it belong into this request, and fit? The first always fits."""
        fits = len(self.pieces) < batch.size and self.size + len(piece.data) + 1 <= batch.bytes
        return piece.common == self.common and (fits or not self.pieces)

    def add(self, item: Item, piece: Piece, *, behind: bool = False) -> None:
        (self.behind if behind else self.heads).append(item)
        self.pieces.append(piece.data)
        self.size += len(piece.data) + 1  # a comma or a line break


class JoinedRunner(SinkRunner):
    """A request carries the heads of many lanes, and of each lane the events behind its head, in order.

    It succeeds or fails as a whole. When others succeed meanwhile, its events are tried again one by one, so that the
    one to blame is found and the rest gets through.
    """

    sink: JoiningSink  # type: ignore[type-arg]  # whatever its options

    def _send(self, room: int) -> None:
        if self._flow.broken:
            super()._send(room)
            return
        if self._too_few():
            return
        self._transmit(self._begin(self._lanes.take(self._options.batch.size)))
        if self._lanes.ready and self._writing < max(self._options.inflight, self._options.batch.size):
            self._schedule()

    def _too_few(self) -> bool:
        """Wait for more? Only if the batch is not full and its oldest event is younger than ``every``."""
        batch, born = self._options.batch, self._lanes.born
        if not batch.every or born is None:
            return False
        waiting = self._ahead.events - self._writing
        about = self._ahead.bytes * waiting // max(self._ahead.events, 1)
        wait = born + batch.every - self._loop.time()
        if wait <= 0 or waiting >= batch.size or about >= batch.bytes:
            return False
        self._wake_in(wait)
        return True

    def _transmit(self, items: list[Item]) -> None:
        """Put these heads of lanes into as few requests as can be, and send them."""
        requests: dict[Hashable, _Request] = {}
        for head in items:
            try:
                piece = self.sink.piece(head.event, self._options.batch.as_)
            except Exception as exc:  # noqa: BLE001 - a sink may raise anything
                self._settle_failed(head, exc, time.perf_counter())
                continue
            if head.alone:
                request = _Request(piece.common)
                request.add(head, piece)
                self._dispatch(request)
                continue
            request = requests.get(piece.common) or _Request(piece.common)
            if not request.takes(piece, self._options.batch):
                self._dispatch(request)
                request = _Request(piece.common)
            request.add(head, piece)
            requests[piece.common] = request
        for request in requests.values():
            self._fill(request)
            self._dispatch(request)

    def _fill(self, request: _Request) -> None:
        """Take along what waits behind its heads."""
        if self._flow.broken:
            return
        batch = self._options.batch
        for head in request.heads:
            while len(request.pieces) < batch.size and (followers := self._lanes.followers(head, 1)):
                piece = None if followers[0].alone else self._piece_of(followers[0])
                if piece is None or not request.takes(piece, batch):
                    self._lanes.put_back(followers)
                    break
                request.add(followers[0], piece, behind=True)
        self._mark(request.behind)

    def _piece_of(self, item: Item) -> Piece | None:
        try:
            return self.sink.piece(item.event, self._options.batch.as_)
        except Exception:  # noqa: BLE001 - what is wrong is told when it is a head itself
            return None

    def _dispatch(self, request: _Request) -> None:
        self._spawn(self._write_joined(request))

    async def _write_joined(self, request: _Request) -> None:
        items = request.heads + request.behind
        began = time.perf_counter()
        traced = self._taps.attempts(self.name, items)
        try:
            receipt = await self.sink.write_joined(
                [item.event for item in items], request.pieces, request.common, self._options.batch.as_
            )
        except Exception as exc:  # noqa: BLE001 - a sink may raise anything
            self._measure(items[0], began, len(items), exc)
            if traced is not None:
                traced.all_ended(exc)
            self._refused(request, exc, began)
            self._schedule()
        else:
            self._measure(items[0], began, len(items), None, receipt)
            if traced is not None:
                traced.all_ended(None, receipt)
            if request.behind:
                self._succeeded(request.behind, release=False)
            self._succeeded(request.heads)
            self._schedule()

    def _refused(self, request: _Request, error: Exception, began: float) -> None:
        failure = self._policy.classify(error)
        outage = failure.later or (failure.network and self._successes == request.heads[0].mark)
        apart = len(request.pieces) > 1 and not outage
        self._writing -= len(request.behind)
        self._lanes.put_back(request.behind)
        for item in request.behind:
            self._erred(item, error, began)
            item.alone = item.alone or apart
        for head in request.heads:
            head.alone = head.alone or apart
            if apart:  # nobody is blamed for what the whole request did
                self._erred(head, error, began)
                self._writing -= 1
                self._lanes.again(head)
            else:
                self._settle_failed(head, error, began)
