"""``generate``: a source of made-up device readings, for demos and tests."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import deque

from pydantic import Field, field_validator

from headrace import (
    Ack,
    Batch,
    ComponentConfig,
    Context,
    EndOfInput,
    Event,
    Offer,
    Source,
    hookimpl,
    json_bytes,
    new_id,
    now_ms,
)
from headrace.templates import Template

MAX_BATCH = 256
COLUMNS = frozenset(
    ("event", "id", "clientid", "payload", "topic", "qos", "flags", "pub_props", "publish_received_at", "timestamp")
)


class GenerateConfig(ComponentConfig):
    """Options of ``generate``."""

    devices: int = Field(10, ge=1, le=1_000_000, description="How many devices speak, in turn.")
    rate: float = Field(
        10.0, ge=0, description="Events per second of all devices together; 0 is as fast as they are taken."
    )
    count: int | None = Field(None, ge=1, description="Stop after so many events; default is to go on for ever.")
    topic: str = Field(
        "device/${device}/data", description="Template of the topic; it knows device, seq, ts, temp and hum."
    )
    payload: str | None = Field(
        None,
        description="Template of the payload, with the same names; default is a JSON object of them.",
        examples=['{"t": ${temp}}'],
    )
    seed: int | None = Field(None, description="Makes temp and hum the same every time.")

    @field_validator("topic", "payload")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        if text is not None:
            Template(text)
        return text


class Generate(Source[GenerateConfig]):
    """Devices in turn say how warm and how damp it is."""

    name = "generate"

    def __init__(self, config: GenerateConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self._random = random.Random(config.seed)  # noqa: S311 - made-up weather, no secret
        self._topic = Template(config.topic)
        self._payload = None if config.payload is None else Template(config.payload)
        self._made = 0
        self._started = 0.0
        self._unsettled = 0
        self._again: deque[list[Event]] = deque()
        self._settled = asyncio.Event()

    @classmethod
    def offers(cls, config: GenerateConfig) -> Offer:
        return Offer(COLUMNS, (re.sub(r"[^/]*\$\{[^}]*\}[^/]*", "+", config.topic),))

    async def open(self) -> None:
        self._started = time.monotonic() - (self._made / self.config.rate if self.config.rate else 0.0)
        self.ctx.status.set("running")

    async def read(self) -> tuple[Batch, Ack]:
        while self.config.count is not None and self._made >= self.config.count and not self._again:
            if not self._unsettled:
                raise EndOfInput(f"{self._made} events made")
            self._settled.clear()  # a batch under way may yet come back
            await self._settled.wait()
        if self._again:
            batch = self._again.popleft()
        else:
            batch = [self._event() for _ in range(await self._due())]
        self._unsettled += 1

        def ack(error: Exception | None) -> None:
            self._unsettled -= 1
            if error is not None:
                self._again.append(batch)
            self._settled.set()

        return batch, ack

    async def refilter(self, filters: tuple[str, ...]) -> bool:
        return True  # whatever is read, it makes the same

    async def _due(self) -> int:
        """Wait until at least one event is due; how many are."""
        most = MAX_BATCH
        if self.config.count is not None:
            most = min(most, self.config.count - self._made)
        if not self.config.rate:
            await asyncio.sleep(0)
            return most
        wait = self._started + (self._made + 1) / self.config.rate - time.monotonic()
        await asyncio.sleep(max(wait, 0))
        late = int((time.monotonic() - self._started) * self.config.rate) - self._made
        return max(1, min(most, late))

    def _event(self) -> Event:
        self._made += 1
        device = (self._made - 1) % self.config.devices
        now = now_ms()
        reading = {
            "device": device,
            "seq": (self._made - 1) // self.config.devices,
            "ts": now,
            "temp": round(self._random.gauss(25, 8), 2),
            "hum": round(self._random.uniform(20, 90), 1),
        }
        seen = Event(reading, id="-", timestamp=now)
        payload = json_bytes(reading).decode() if self._payload is None else self._payload.render(seen)
        clientid, id = f"device-{device}", new_id()
        columns = {
            "event": "message.publish",
            "id": id,
            "clientid": clientid,
            "payload": payload,
            "topic": self._topic.render(seen),
            "qos": 1,
            "flags": {"retain": False, "dup": False},
            "pub_props": {},
            "publish_received_at": now,
            "timestamp": now,
        }
        return Event(columns, id=id, key=clientid, timestamp=now, source=self.ctx.name)


@hookimpl
def register_sources() -> list[type[Generate]]:
    return [Generate]
