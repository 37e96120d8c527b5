"""A pipeline of two topics to be killed: numbers → ``events`` → ``sink.out`` → a file. argv: LOG OUT FIRST TOTAL.

OUT.journal counts what a kill may repeat: a line for each settlement (topic, events), one for each commit (topic), and
what is in transit between the topics.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from headrace.config.model import StreamOptions
from headrace.events import Event
from headrace.stream import Record, Stream, TopicOptions
from headrace.stream.files import Files

OPTIONS = TopicOptions(max_bytes=1 << 20)


def note_commits(journal: int) -> None:
    names: dict[int, str] = {}
    real_open, real_write = Files.open, Files.write_at

    def open(files: Files, path: Path) -> int:
        fd = real_open(files, path)
        names[fd] = path.parent.name if path.name == "offsets" else ""
        return fd

    def write_at(files: Files, fd: int, data: bytes, position: int) -> int:
        written = real_write(files, fd, data, position)
        if names[fd]:
            os.write(journal, b"%s\n" % names[fd].encode())
        return written

    Files.open, Files.write_at = open, write_at  # type: ignore[method-assign]


async def main(log: str, out: str, first: int, total: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    journal = os.open(out + ".journal", flags)
    note_commits(journal)
    accepted, delivered = os.open(out + ".accepted", flags), os.open(out, flags)
    stream = Stream(StreamOptions(min_free_disk=0), name="kill", directory=Path(log), log=logging.getLogger())
    await stream.open()
    events = await stream.topic("events", OPTIONS)
    sink = await stream.topic("sink.out", OPTIONS)
    loop = asyncio.get_running_loop()

    async def forward(record: Record) -> None:
        await sink.room()
        batch = [event for index, event in enumerate(record.events) if index not in record.settled]

        def sent(call: asyncio.Future[None]) -> None:
            if not call.exception():
                record.settle_all()
                os.write(journal, b"events %d\ntransit -%d\n" % (len(batch), len(batch)))

        os.write(journal, b"transit %d\n" % len(batch))
        sink.send(batch).add_done_callback(sent)

    async def deliver(record: Record) -> None:
        for index, event in enumerate(record.events):
            if index not in record.settled:
                os.write(delivered, b"%d\n" % event["n"])
                if event["n"] % 5:
                    record.settle(index)
                    os.write(journal, b"sink.out 1\n")
                else:  # out of order, so that the commit record has ranges
                    loop.call_later(0.01, record.settle, index)

    await stream.consume(sink, deliver)
    await stream.consume(events, forward)
    for n in range(first, total, 4):
        await events.room()
        await events.send([Event({"n": i}) for i in range(n, min(n + 4, total))])
        os.write(accepted, b"".join(b"%d\n" % i for i in range(n, min(n + 4, total))))
    while events.unsettled or sink.unsettled:
        await asyncio.sleep(0.01)
    await stream.close()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
