"""The file sink."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from headrace import Event, NotConnected
from headrace.testing import make_context, make_event
from headrace.testing.contracts import SinkContract, opened, write
from headrace_plugins.file import File, FileConfig


def make(path: Path, **options: Any) -> File:
    return File(FileConfig(path=path, **options), make_context("out"))


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in path.read_bytes().splitlines()]


class TestContract(SinkContract):
    @pytest.fixture
    def sink(self, tmp_path: Path) -> File:
        return make(tmp_path / "events.jsonl")


class TestContractWithSync(SinkContract):
    @pytest.fixture
    def sink(self, tmp_path: Path) -> File:
        return make(tmp_path / "events.jsonl", sync=True)


async def test_lines_are_appended_in_a_directory_made_for_them(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "events.jsonl"
    for n in range(2):
        sink = make(path)
        async with opened(sink):
            assert await write(sink, [Event({"n": n}), Event({"n": n + 10})]) == [None, None]
    assert numbers(path) == [0, 10, 1, 11]


async def test_a_template_makes_the_line(tmp_path: Path) -> None:
    sink = make(tmp_path / "log", template="${topic} ${payload}")
    async with opened(sink):
        await write(sink, [make_event("x", topic="t/1")])
    assert (tmp_path / "log").read_text() == "t/1 x\n"


@pytest.mark.parametrize("cut", range(1, 12))
async def test_an_unfinished_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "events.jsonl"
    whole = b'{"n":1}\n' * 20_000  # the line's begin may be blocks away
    path.write_bytes(whole + b'{"n":12345}\n'[:cut])
    sink = make(path)
    async with opened(sink):
        await write(sink, [Event({"n": 2})])
    kept = [12345] if cut == 11 else []
    assert numbers(path) == [1] * 20_000 + kept + [2]


async def test_a_long_unfinished_line_is_cut_off_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"n":1}\n{"n": "' + b"x" * 200_000)
    sink = make(path)
    async with opened(sink):
        await write(sink, [Event({"n": 2})])
    assert numbers(path) == [1, 2]


async def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = make(path, rotate={"size": "20B", "keep": 2}, sync=True)
    async with opened(sink):
        for n in range(10, 19):
            await write(sink, [Event({"n": n})])
    names = sorted(os.listdir(tmp_path))
    assert names == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    assert [numbers(tmp_path / name) for name in names] == [[18], [16, 17], [14, 15]]


async def test_a_file_has_one_writer(tmp_path: Path) -> None:
    first, second = make(tmp_path / "events.jsonl"), make(tmp_path / "events.jsonl")
    async with opened(first):
        with pytest.raises(NotConnected, match="another sink"):
            await second.open()
    async with opened(second):
        assert await write(second, [Event({"n": 1})]) == [None]


async def test_a_path_that_cannot_be_written_is_not_connected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotConnected, match="cannot write"):
        await make(tmp_path / "file" / "events.jsonl").open()


@pytest.fixture
def small_disk() -> Any:
    """Files of this process end at 100 bytes: the nearest thing to a full disk that needs no rights."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("sync", [False, True])
async def test_a_full_disk_leaves_whole_lines(tmp_path: Path, small_disk: Any, sync: bool) -> None:
    path = tmp_path / "events.jsonl"
    sink = make(path, sync=sync)
    async with opened(sink):
        small_disk(100)
        verdicts = [(await write(sink, [Event({"n": n})]))[0] for n in range(10, 25)]
        small_disk(resource.RLIM_INFINITY)
        delivered = [n for n, verdict in zip(range(10, 25), verdicts, strict=True) if verdict is None]
        assert isinstance(verdicts[-1], OSError)
        assert numbers(path) == delivered
        assert await write(sink, [Event({"n": 99})]) == [None]
    assert numbers(path) == [*delivered, 99]


async def test_writes_at_the_same_time_keep_their_lines_apart(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = make(path, sync=True)
    async with opened(sink):
        await asyncio.gather(*(write(sink, [Event({"n": n, "x": "y" * 5000})]) for n in range(30)))
    assert sorted(numbers(path)) == list(range(30))
