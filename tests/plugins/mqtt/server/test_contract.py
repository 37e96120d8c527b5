"""The contract every source keeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from headrace.testing import make_context
from headrace.testing.contracts import SourceContract
from headrace_plugins.mqtt_server.source import MqttServer

Join = Callable[..., Awaitable[object]]


class TestMqttServer(SourceContract):
    @pytest.fixture
    def source(self) -> MqttServer:
        return MqttServer(MqttServer.Config(listen="127.0.0.1:0"), make_context("direct"))

    @pytest.fixture
    def produce(self, source, endpoint_class, join):
        sent = []

        async def one():
            sent.append(await join(endpoint_class(source), f"dev{len(sent)}"))
            sent[-1].publish("t/1", qos=1)

        return one
