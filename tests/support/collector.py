"""An OpenTelemetry collector: takes spans by OTLP over HTTP, and keeps them to be looked at."""

from __future__ import annotations

from typing import Any, NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rig import free_port, until


class Seen(NamedTuple):
    """One span."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: str
    """What its status says if that is an error."""
    seconds: float


class Collector:
    """Listens on a port of its own; ``headers`` are those of the last request."""

    def __init__(self) -> None:
        self.port = free_port()
        self.spans: list[Seen] = []
        self.resource: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def got(self, n: int) -> list[Seen]:
        await until(lambda: len(self.spans) >= n, 20, f"{n} spans, got {[span.name for span in self.spans]}")
        return self.spans

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    async def _take(self, request: web.Request) -> web.Response:
        self.headers = dict(request.headers)
        told = ExportTraceServiceRequest.FromString(await request.read())
        for group in told.resource_spans:
            self.resource = _plain(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += map(_seen, scope.spans)
        return web.Response(content_type="application/x-protobuf")


def _seen(span: Any) -> Seen:
    return Seen(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _plain(span.attributes),
        span.status.message if span.status.code == 2 else "",
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
