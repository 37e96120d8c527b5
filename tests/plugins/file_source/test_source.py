"""The source ``file``: lines as they come, files that are rotated, and places that are kept."""

from __future__ import annotations

import asyncio
import json
import os
import shutil

import pytest

from headrace import EndOfInput, NotConnected
from headrace.testing import make_context
from headrace.testing.contracts import SourceContract
from headrace.testing.pipelines import run_pipeline
from headrace_plugins.file_source import FileSource


class Reading:
    """A source, and what was read from it."""

    def __init__(self, directory, **options):
        self.path = directory / "in.jsonl"
        self.directory = directory
        self.options = {"poll": "1ms", **options}
        self.events = []
        self.restart()

    def restart(self):
        config = FileSource.Config(path=self.path, **self.options)
        self.source = FileSource(config, make_context("lines", state_dir=self.directory / "state"))

    async def lines(self, n=None, ack=True):
        """The payloads that come next, until there are ``n``, or until nothing comes."""
        payloads = []
        while n is None or len(payloads) < n:
            try:
                async with asyncio.timeout(10 if n is not None else 0.05):
                    batch, settle = await self.source.read()
            except TimeoutError:
                break
            self.events += batch
            payloads += [event["payload"] for event in batch]
            if ack:
                settle(None)
        return payloads

    def write(self, *lines, end="\n"):
        with self.path.open("a") as file:
            file.write("".join(line + end for line in lines))


@pytest.fixture
async def reading(tmp_path):
    made = []

    def make(**options):
        made.append(Reading(tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        await each.source.close()


class TestContract(SourceContract):
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "in.jsonl"
        path.write_text("")
        return path

    @pytest.fixture
    def source(self, path, tmp_path):
        return FileSource(FileSource.Config(path=path, poll="1ms"), make_context("in", state_dir=tmp_path))

    @pytest.fixture
    def produce(self, path):
        async def produce():
            with path.open("a") as file:
                file.write('{"n": 1}\n')

        return produce


async def test_a_line_is_the_payload_of_a_message(reading):
    r = reading(topic="plant/7")
    r.write('{"a": 1.0}', "", "no JSON")
    await r.source.open()
    assert await r.lines(2) == ['{"a": 1.0}', "no JSON"]
    event = r.events[0]
    assert event.columns == {
        "event": "message.publish",
        "id": event.id,
        "topic": "plant/7",
        "payload": '{"a": 1.0}',
        "qos": 1,
        "flags": {"retain": False, "dup": False},
        "pub_props": {},
        "publish_received_at": event.timestamp,
        "timestamp": event.timestamp,
    }


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
async def test_what_is_no_file_is_refused_at_once(reading, make):
    r = reading()
    make(r.path)
    with pytest.raises(NotConnected, match="no file"):
        await r.source.open()


async def test_what_is_added_is_read_when_its_line_is_whole(reading):
    r = reading()
    r.write("one")
    await r.source.open()
    assert await r.lines(1) == ["one"]
    r.write("tw", end="")
    assert await r.lines() == []
    r.write("o", "three")
    assert await r.lines(2) == ["two", "three"]


async def test_a_restart_goes_on_after_what_the_stream_has(reading):
    r = reading()
    r.write("one", "two")
    await r.source.open()
    assert await r.lines(2) == ["one", "two"]
    r.write("three")
    assert await r.lines(1, ack=False) == ["three"]
    ids = [event.id for event in r.events]
    assert len(set(ids)) == 3
    await r.source.close()
    r.write("four")
    r.restart()
    await r.source.open()
    assert await r.lines(2) == ["three", "four"]
    assert r.events[3].id == ids[2], "a line read again is the same event"


async def test_acks_out_of_order_keep_the_oldest_unsettled_place(reading):
    r = reading()
    acks = []
    r.write("one")
    await r.source.open()
    for line in ("two", "three"):
        acks.append((await r.source.read())[1])
        r.write(line)
    acks.append((await r.source.read())[1])
    acks[2](None)
    acks[1](None)
    await r.source.close()
    r.restart()
    await r.source.open()
    assert await r.lines(3) == ["one", "two", "three"]


async def test_a_refused_batch_comes_again(reading):
    r = reading()
    r.write("one")
    await r.source.open()
    batch, ack = await r.source.read()
    ack(RuntimeError("full"))
    again, ack = await r.source.read()
    assert again is batch


async def test_without_memory_every_start_is_the_first(reading):
    r = reading(remember=False)
    r.write("one")
    await r.source.open()
    assert await r.lines(1) == ["one"]
    await r.source.close()
    r.restart()
    await r.source.open()
    assert await r.lines(1) == ["one"]


async def test_it_can_begin_at_the_end(reading):
    r = reading(start="end")
    r.write("old")
    await r.source.open()
    r.write("new")
    assert await r.lines(1) == ["new"]


@pytest.mark.parametrize("names", [("in.jsonl.1", "in.jsonl.2"), ("in.jsonl-20260102", "in.jsonl-20260101")])
async def test_rotated_files_are_read_to_the_end_and_in_order(reading, names):
    r = reading()
    r.write("one")
    await r.source.open()
    assert await r.lines(1) == ["one"]
    r.write("two", end="")
    r.path.rename(r.directory / names[1])
    r.path.touch()
    assert await r.lines() == [], "the new file is empty: the old one may still grow"
    with (r.directory / names[1]).open("a") as late:
        late.write(" late\n")
    r.write("three")
    r.path.rename(r.directory / names[0])
    r.write("four")
    assert await r.lines(3) == ["two late", "three", "four"]
    assert await r.lines() == []


async def test_rotation_while_it_was_away(reading):
    r = reading()
    r.write("one")
    await r.source.open()
    assert await r.lines(1) == ["one"]
    await r.source.close()
    r.write("two")
    r.path.rename(r.directory / "in.jsonl.2")
    r.write("three")
    r.path.rename(r.directory / "in.jsonl.1")
    r.write("four")
    r.restart()
    await r.source.open()
    assert await r.lines(3) == ["two", "three", "four"]
    assert "files.lost" not in r.source.ctx.metrics.counters


async def test_a_file_that_is_gone_is_counted_and_the_new_one_read(reading):
    r = reading()
    r.write("one")
    await r.source.open()
    await r.lines(1)
    await r.source.close()
    r.path.rename(r.directory / "elsewhere")
    r.write("two")
    r.restart()
    await r.source.open()
    assert await r.lines(1) == ["two"]
    assert r.source.ctx.metrics["files.lost"] == 1


async def test_a_file_that_is_cut_is_read_from_its_beginning(reading):
    r = reading()
    r.write("one", "two")
    await r.source.open()
    await r.lines(2)
    shutil.copy(r.path, r.directory / "copy")
    os.truncate(r.path, 0)
    r.write("three")
    assert await r.lines(1) == ["three"]
    assert len({event.id for event in r.events}) == 3


async def test_a_file_rewritten_while_it_was_away_is_told_from_the_old_one(reading):
    r = reading()
    r.write("one")
    await r.source.open()
    await r.lines(1)
    await r.source.close()
    r.path.write_text("another, and longer\n")
    r.restart()
    await r.source.open()
    assert await r.lines(1) == ["another, and longer"]


async def test_a_damaged_memory_is_no_end(reading, caplog):
    r = reading()
    r.write("one")
    (r.directory / "state").mkdir()
    (r.directory / "state" / "file_source.lines.json").write_text("{")
    await r.source.open()
    assert await r.lines(1) == ["one"]
    assert "is damaged" in caplog.text


async def test_a_replay_ends_with_the_file_and_its_last_line(reading):
    r = reading(follow=False)
    r.write("one")
    r.write("two", end="")
    await r.source.open()
    assert await r.lines(1) == ["one"]
    batch, ack = await r.source.read()
    assert [event["payload"] for event in batch] == ["two"]
    end = asyncio.ensure_future(r.source.read())
    await asyncio.sleep(0)
    assert not end.done(), "the end waits for what is under way"
    ack(None)
    with pytest.raises(EndOfInput):
        await end


async def test_lines_that_are_too_long_are_passed_over_and_counted(reading):
    r = reading(max_line="1KB")
    r.write("one", "x" * 1025, "two", "y" * 600_000, "z" * 1024)
    await r.source.open()
    assert await r.lines(3) == ["one", "two", "z" * 1024]
    assert r.source.ctx.metrics["lines.too_long"] == 2


async def test_many_lines_come_in_bounded_batches(reading):
    r = reading()
    r.write(*(f'{{"n": {n}}}' for n in range(10_000)))
    await r.source.open()
    batch, ack = await r.source.read()
    ack(None)
    assert len(batch) == 1000
    await r.source.close()
    r.restart()
    await r.source.open()
    seen = await r.lines(9_000)
    assert [json.loads(line)["n"] for line in seen] == list(range(1_000, 10_000))


async def test_what_the_file_sink_wrote_comes_back(reading):
    r = reading(lines="event")
    message = {"event": "message.publish", "id": "a1", "topic": "t/1", "clientid": "dev1", "payload": "{}", "qos": 0}
    r.write(json.dumps(message | {"timestamp": 1700000000000}), json.dumps({"payload": {"a": [1]}}), "[1]", "no JSON")
    await r.source.open()
    assert await r.lines(2) == ["{}", '{"a":[1]}']
    first, second = r.events
    assert first.columns.items() >= message.items()
    assert (first.key, first.timestamp) == ("dev1", 1700000000000)
    assert (second["topic"], second["event"]) == ("lines", "message.publish")
    assert r.source.ctx.metrics["lines.invalid"] == 2


async def test_a_file_that_is_not_there_yet_is_waited_for(reading):
    r = reading()
    with pytest.raises(NotConnected, match="No such file"):
        await r.source.open()
    r.write("one")
    await r.source.open()
    assert await r.lines(1) == ["one"]


async def test_a_pipeline_replays_what_another_wrote(tmp_path):
    (tmp_path / "in.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(2000)))
    text = f"""
sources: {{old: {{type: file, path: "{tmp_path / "in.jsonl"}", follow: false, topic: t/1}}}}
rules: {{all: {{sql: SELECT payload.n AS n FROM "t/#", to: out}}}}
sinks: {{out: {{type: file, path: "{tmp_path / "out.jsonl"}"}}}}
"""
    for _ in range(2):  # the second time there is nothing left to read
        async with run_pipeline(text, directory=tmp_path / "log") as running:
            await running.until(
                lambda s: s["sources"]["old"]["state"] == "stopped" and not s["sinks"]["out"]["counters"]["queuing"]
            )
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(2000))
