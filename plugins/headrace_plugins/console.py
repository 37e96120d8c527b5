"""``console``: a sink that prints each event."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import Field, field_validator

from headrace import Batch, ComponentConfig, Context, DeliveryError, Done, Event, Sink, hookimpl, json_bytes
from headrace.templates import Template


class ConsoleConfig(ComponentConfig):
    """Options of ``console``."""

    template: str | None = Field(
        None, description="Template of the line; default is the event as JSON.", examples=["${topic} ${payload}"]
    )
    pretty: bool = Field(False, description="Indent the JSON.")
    to: Literal["stdout", "stderr"] = Field("stdout", description="Where to print.")

    @field_validator("template")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        if text is not None:
            Template(text)
        return text


class Console(Sink[ConsoleConfig]):
    """Print each event as a line of JSON, or by a template."""

    name = "console"

    def __init__(self, config: ConsoleConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self._template = None if config.template is None else Template(config.template)

    async def open(self) -> None:
        self.ctx.status.set("running")

    def render(self, event: Event) -> Mapping[str, Any]:
        return {"line": self._line(event).decode("utf-8", "replace").rstrip("\n")}

    async def write(self, batch: Batch, done: Done) -> None:
        data = b"".join([self._line(event) for event in batch])
        try:
            await asyncio.to_thread(self._print, data)  # a full pipe must not hold the loop
        except (OSError, ValueError) as exc:
            raise DeliveryError(f"cannot print: {exc}") from exc

    def _line(self, event: Event) -> bytes:
        if self._template is not None:
            return self._template.render_bytes(event) + b"\n"
        line = json_bytes(event.columns)
        if self.config.pretty:
            line = orjson.dumps(orjson.loads(line), option=orjson.OPT_INDENT_2)
        return line + b"\n"

    def _print(self, data: bytes) -> None:
        stream = sys.stdout if self.config.to == "stdout" else sys.stderr
        stream.buffer.write(data)
        stream.flush()


@hookimpl
def register_sinks() -> list[type[Console]]:
    return [Console]
