"""Fixtures around the rig: each test has processes, ports and directories of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import rig
from rig import Devices, Headrace, Mosquitto, Receiver


@pytest.fixture
def free_port() -> int:
    return rig.free_port()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    await one.start()
    yield one
    await one.stop()


MakeHeadrace = Callable[[dict[str, Any]], Headrace]


@pytest.fixture
async def headrace(tmp_path: Path) -> AsyncIterator[MakeHeadrace]:
    made: list[Headrace] = []

    def make(config: dict[str, Any]) -> Headrace:
        directory = tmp_path / f"h{len(made)}"
        directory.mkdir()
        config = {"name": f"test-{len(made)}", "stream": {"url": f"embedded://{directory}/log"}, **config}
        made.append(Headrace(directory, config))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.returncode is None:
            await one.kill()


MakeMosquitto = Callable[..., Awaitable[Mosquitto]]


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[MakeMosquitto]:
    made: list[Mosquitto] = []

    async def make(options: str = "max_queued_messages 0\nmax_inflight_messages 1000") -> Mosquitto:
        directory = tmp_path / f"m{len(made)}"
        directory.mkdir()
        made.append(Mosquitto(directory, options))
        await made[-1].start()
        return made[-1]

    yield make
    for one in made:
        await one.stop()


@pytest.fixture
async def devices() -> AsyncIterator[Callable[..., Devices]]:
    made: list[Devices] = []

    def make(port: int, **options: Any) -> Devices:
        made.append(Devices(port, **options))
        return made[-1]

    yield make
    for one in made:
        await one.stop()
