"""The stream on Apache Kafka: the same topics and consumers, shared by as many processes as wanted."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from headrace.errors import StreamError
from headrace.events import Event
from headrace.stream.topic import Message, Record, Topic, TopicOptions, messages

__all__ = ["MESSAGE_LIMIT", "Delivered", "Kafka", "KafkaRecord", "KafkaTopic"]

PARTITIONS = 8  # of topics made here; those that exist keep theirs
MESSAGE_LIMIT = 8 << 20  # an event of ``max_event_bytes`` must fit, encoded
_NOTHING: frozenset[int] = frozenset()


class Kafka:
    """The topics of one pipeline on a cluster; their names begin with the pipeline's."""

    def __init__(self, url: str, name: str, logger: logging.Logger) -> None:
        self.url = url
        self.name = name
        self.logger = logger
        self.closed = False
        self.servers = url.removeprefix("kafka://").rstrip("/").split(",")
        self.producer: Any = None

    async def open(self) -> None:
        """Connect the producer. ``StreamError`` if no broker answers."""
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self.servers,
            acks="all",
            linger_ms=5,
            max_batch_size=1 << 18,
            max_request_size=MESSAGE_LIMIT,
        )
        try:
            await self.producer.start()
        except (KafkaError, OSError) as exc:
            await self.producer.stop()
            raise StreamError(f"{self.url} cannot be reached: {exc}") from exc

    async def topic(self, name: str, options: TopicOptions) -> KafkaTopic:
        """The topic of this name, made if it is not there."""
        full_name = f"{self.name}.{name}"
        config = {"max.message.bytes": str(MESSAGE_LIMIT)}
        if not options.consumed:
            config["retention.bytes"] = str(options.max_bytes // PARTITIONS)
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        try:
            await admin.start()
            # before any consumer starts: topics that Faust makes itself may stay unassigned
            answer = await admin.create_topics([NewTopic(full_name, PARTITIONS, 1, topic_configs=config)])
            code = answer.topic_errors[0][1]
            if code not in (0, TopicAlreadyExistsError.errno):
                raise for_code(code)
            partitions = await self.producer.partitions_for(full_name)
        except (KafkaError, OSError) as exc:
            raise StreamError(f"{full_name} cannot be made on {self.url}: {exc}") from exc
        finally:
            await admin.close()
        return KafkaTopic(self, name, full_name, options, len(partitions))

    async def close(self) -> None:
        """Send what is under way and disconnect."""
        self.closed = True
        if self.producer:
            await self.producer.stop()

    def trouble(self) -> str:
        return ""  # the cluster looks after its disks

    def orphans(self) -> dict[str, tuple[int, int]]:
        """Empty: another process may consume what this one does not."""
        return {}

    async def purge(self, name: str) -> None:
        raise StreamError(f"{name}: a topic on Kafka is deleted with Kafka's own tools")


class Delivered:
    """A message that was handed over; ``settled`` once nothing of it is open."""

    __slots__ = ("offset", "settled", "timestamp")

    def __init__(self, offset: int, timestamp: int) -> None:
        self.offset = offset
        self.timestamp = timestamp
        self.settled = False


class KafkaRecord(Record):
    """One message from Kafka. Once its partition was taken away, settling it does nothing: it comes again."""

    __slots__ = ("_delivered", "_epoch", "_left", "_once", "_topic")

    def __init__(self, topic: KafkaTopic, events: Sequence[Event], size: int, delivered: Delivered) -> None:
        super().__init__(events, _NOTHING, size)
        self._topic = topic
        self._epoch = topic.epoch
        self._delivered = delivered
        self._left = len(events)
        self._once = bytearray(len(events))

    def settle(self, *indexes: int) -> None:
        for index in indexes:
            if self._once[index] or not self._left:
                self._topic.kafka.logger.error("%s: an event is settled already", self._topic.full_name)
            else:
                self._once[index] = 1
                self._settle(1)

    def settle_all(self) -> None:
        self._settle(self._left)

    def _settle(self, events: int) -> None:
        if self._epoch != self._topic.epoch:
            return
        count, left = len(self.events), self._left
        self._left = left - events
        self._delivered.settled = not self._left
        self._topic.settle(events, self.size * left // count - self.size * self._left // count)


class KafkaTopic(Topic):
    """A topic on Kafka. ``unsettled`` counts what this process is sending and what was handed to it."""

    def __init__(self, kafka: Kafka, name: str, full_name: str, options: TopicOptions, partitions: int) -> None:
        super().__init__(name, options)
        self.kafka = kafka
        self.full_name = full_name
        self.epoch = 0
        self._partitions = partitions
        self._order = asyncio.Lock()
        self._sending: set[asyncio.Task[None]] = set()
        self._held = 0
        self._held_bytes = 0
        self._handed: deque[Delivered] = deque()
        self._settled: asyncio.Future[None] | None = None
        self._app: Any = None

    # -- sending

    def _closed(self) -> str:
        return "the stream is closed" if self.kafka.closed else ""

    def _drop_oldest(self, size: int) -> None:
        """Only what the engine holds: what is unread may be another process's."""
        if self.on_full:
            self.on_full(max(self.unsettled_bytes + size - self.options.max_bytes, 1))

    def _cut(self, events: Sequence[Event]) -> list[Message]:
        by_partition: dict[int, list[Event]] = {}
        for event in events:
            by_partition.setdefault(crc32(event.key.encode()) % self._partitions, []).append(event)
        parts = []
        for partition, group in by_partition.items():
            for message in messages(group):
                message.position = partition
                parts.append(message)
        return parts

    def _store(self, parts: Sequence[Message], call: asyncio.Future[None]) -> None:
        task = asyncio.get_running_loop().create_task(self._send(parts, call))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, parts: Sequence[Message], call: asyncio.Future[None]) -> None:
        send = self.kafka.producer.send
        acks = []
        error: BaseException | None = None
        try:
            async with self._order:  # the producer may make one wait for space; nobody may overtake
                for part in parts:
                    ack = await send(self.full_name, part.payload, partition=part.position)
                    acks.append(ack)  # one by one: those made before one fails must not be forgotten
        except (KafkaError, OSError) as exc:
            error = exc
        for outcome in await asyncio.gather(*acks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                error = outcome
        self.unsettled -= sum(part.count for part in parts)
        self.unsettled_bytes -= sum(len(part.payload) for part in parts)
        self.wake()
        if call.done():
            return
        if error:
            call.set_exception(StreamError(f"{self.full_name}: {error}"))
        else:
            call.set_result(None)

    # -- reading

    def faust_app(self, group: str) -> Any:
        from headrace.stream.kafka_app import KafkaApp

        self.reading = True
        self._app = KafkaApp(self, group)
        return self._app

    def hand_over(self, events: Sequence[Event], size: int, delivered: Delivered) -> KafkaRecord:
        """Count a message as held, and wrap it for the engine."""
        self.unsettled += len(events)
        self.unsettled_bytes += size
        self._held += len(events)
        self._held_bytes += size
        self._handed.append(delivered)
        return KafkaRecord(self, events, size, delivered)

    def settle(self, events: int, size: int) -> None:
        """So many events and bytes need nothing more."""
        self.unsettled -= events
        self.unsettled_bytes -= size
        self._held -= events
        self._held_bytes -= size
        self.wake()
        if not self._held and self._settled and not self._settled.done():
            self._settled.set_result(None)

    def forget(self) -> None:
        """The partitions were assigned anew: what was handed over and is not settled comes again, maybe elsewhere."""
        self.epoch += 1
        self._handed.clear()
        self.settle(self._held, self._held_bytes)

    @property
    def held(self) -> int:
        return self._held

    @property
    def unread(self) -> int:
        """Messages, not events, in the partitions of this process: what is in them is not known before."""
        return self._app.consumer.lag() if self._app else 0

    async def until_settled(self) -> None:
        while self._held:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled

    @property
    def oldest(self) -> int | None:
        while self._handed and self._handed[0].settled:
            self._handed.popleft()
        return min((delivered.timestamp for delivered in self._handed if not delivered.settled), default=None)
