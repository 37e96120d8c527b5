"""The connector and the sink pass the contract every plugin is held to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from headrace import HeadraceError
from headrace.testing.context import make_context
from headrace.testing.contracts import ConnectorContract, SinkContract
from headrace_plugins.http import HttpConnector, HttpSink
from headrace_plugins.http.config import HttpConnectorConfig, HttpSinkConfig


class TestHttpConnector(ConnectorContract):
    not_secret = frozenset({"api_key"})  # the map that holds one

    @pytest.fixture
    async def connector(self, server: Any) -> HttpConnector:
        return HttpConnector(HttpConnectorConfig(url=server.url), make_context())


class TestHttpSink(SinkContract):
    @pytest.fixture
    async def sink(self, server: Any) -> AsyncIterator[HttpSink]:
        connector = HttpConnector(HttpConnectorConfig(url=server.url), make_context())
        await connector.open()
        yield HttpSink(HttpSinkConfig(), make_context(connector=connector))
        await connector.close()


def test_a_sink_without_a_connector_says_so() -> None:
    with pytest.raises(HeadraceError, match="needs an http connector"):
        HttpSink(HttpSinkConfig(), make_context())
