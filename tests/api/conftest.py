"""A real headrace with its API, and a receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboards import Dashboard, Receiver, receiving, running_here


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Dashboard]]:
    """Start headrace with what a file holds beside its name, its stream and its API; ends it after the test."""
    yield from running_here(tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server
