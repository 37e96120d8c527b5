"""A real headrace with its API, and a receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards import Dashboard, Receiver


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Dashboard]]:
    """Start headrace with what a file holds beside its name, its stream and its API; ends it after the test."""
    running: list[Dashboard] = []

    def begin(text: str, **more: Any) -> Dashboard:
        running.append(Dashboard(tmp_path, text, **more))
        return running[-1]

    yield begin
    for each in running:
        each.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
