"""One of several processes on a Kafka topic, to be killed: ``events`` → a file. argv: URL NAME OUT."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from headrace.config.model import StreamOptions
from headrace.stream import Record, Stream, TopicOptions


async def main(url: str, name: str, out: str) -> None:
    delivered = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stream = Stream(StreamOptions(url=url), name=name, directory=None, log=logging.getLogger())
    await stream.open()
    topic = await stream.topic("events", TopicOptions(max_bytes=1 << 20))
    loop = asyncio.get_running_loop()

    async def deliver(record: Record) -> None:
        for index, event in enumerate(record.events):
            os.write(delivered, b"%d\n" % event["n"])
            loop.call_later(0.02 * (event["n"] % 3), record.settle, index)  # out of order

    await stream.consume(topic, deliver)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
