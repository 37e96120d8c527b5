"""A running source ``http``, and somebody who posts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from certificates import Certificates, make_certificates
from headrace.testing import make_context
from headrace_plugins.http_source import HttpSource

Serve = Callable[..., Awaitable[HttpSource]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(option=…)``: an open source on a free port; closed at the end."""
    sources: list[HttpSource] = []

    async def make(**options: Any) -> HttpSource:
        source = HttpSource(HttpSource.Config(**{"listen": "127.0.0.1:0", **options}), make_context("in"))
        sources.append(source)
        await source.open()
        return source

    yield make
    for source in sources:
        await source.close()


class Poster:
    """``await post(source, topic, data, …)`` gives status, answer and headers."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(self, source: HttpSource, topic: str, data: Any = b"x", **options: Any) -> tuple[int, Any, Any]:
        async with self._session.post(f"http://{source.address}/in/{topic}", data=data, **options) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    def start(self, *args: Any, **options: Any) -> asyncio.Task[tuple[int, Any, Any]]:
        return asyncio.create_task(self(*args, **options))


@pytest.fixture
async def post() -> AsyncIterator[Poster]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
        yield Poster(session)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))
