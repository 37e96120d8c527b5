"""What is left after a crash, a full disk or a damaged file."""

from __future__ import annotations

import asyncio
import errno
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from headrace.errors import HeadraceError, StreamError, StreamFull
from headrace.stream import TopicOptions
from headrace.stream.files import MemoryFiles
from headrace.stream.segments import HEADER, MAGIC
from headrace.stream.series import SUFFIX

T = Path("/log/topics/t")


async def turns(count: int = 4) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def commit(topic) -> None:
    """Sooner than by itself."""
    topic.schedule_commit()
    await turns()


class Run:
    """What one process saw: what was acknowledged to senders, which event each offset is, what it settled."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.offsets: dict[int, int] = {}
        self.settled: set[int] = set()
        self.taken: list[int] = []

    def take(self, topic, settle=lambda n: False):
        while record := topic.take():
            for index, event in enumerate(record.events):
                if index in record.settled:
                    continue
                n = event["n"]
                self.taken.append(n)
                assert self.offsets.setdefault(record.offset + index, n) == n, "an offset was used twice"
                if settle(n):
                    self.settled.add(n)
                    record.settle(index)

    async def send(self, topic, batch):
        call = topic.send(batch)
        await turns()
        if call.done() and not call.exception():
            self.acknowledged.update(event["n"] for event in batch)


async def work(open_topic, files, make, run: Run, first: int = 0) -> None:
    """A short life: three sends, with takes and settlements between; segments hold two records."""
    topic = await open_topic(files, segment_bytes=260)
    topic.start_reading(lambda: None)
    for number in (first, first + 3, first + 5):
        await run.send(topic, make(number, number + 1, number + 2)[: 3 if number == first else 2])
        run.take(topic, lambda n: n % 2 == 0 or n < first + 2)
        await commit(topic)
    with suppress(StreamError):
        await topic.log.close()


async def check(open_topic, files, make, before: Run) -> None:
    """The next process: nothing acknowledged is lost, no offset is used twice, no damage is seen."""
    topic = await open_topic(files)
    after = Run()
    after.offsets = before.offsets
    topic.start_reading(lambda: None)
    recovered = topic.recovered
    after.take(topic, lambda n: True)
    assert set(after.taken) >= before.acknowledged - before.settled
    assert len(after.taken) == len(set(after.taken)) == recovered
    assert topic.corrupt == 0
    await after.send(topic, make(100, 101))
    after.take(topic, lambda n: True)
    assert after.taken[-2:] == [100, 101]
    await turns()
    assert topic.unsettled == topic.unsettled_bytes == 0
    assert not [path for path in files._contents if path.suffix == ".corrupt"]


async def total(open_topic, make, faulty) -> int:
    files = faulty()
    run = Run()
    await work(open_topic, files, make, run)
    assert run.acknowledged == set(range(7))
    return files.written


async def test_a_crash_at_any_byte_loses_nothing_acknowledged(open_topic, make, faulty, caplog):
    caplog.set_level(logging.CRITICAL)
    outcomes = set()
    for budget in range(await total(open_topic, make, faulty) + 1):
        files = faulty(budget, "cut")
        run = Run()
        with suppress(HeadraceError):  # it may not even have opened
            await work(open_topic, files, make, run)
        outcomes.add(frozenset(run.acknowledged))
        await check(open_topic, files.after_death(), make, run)
    assert {frozenset(), frozenset({0, 1, 2}), frozenset(range(5)), frozenset(range(7))} == outcomes


@pytest.mark.parametrize("fault", ["short", errno.ENOSPC, errno.EIO], ids=["short", "full", "broken"])
async def test_one_failed_write_at_any_byte_loses_nothing_acknowledged(open_topic, make, faulty, caplog, fault):
    caplog.set_level(logging.CRITICAL)
    incomplete = 0
    for budget in range(0, await total(open_topic, make, faulty) + 1, 3):
        files = faulty(budget, fault)
        run = Run()
        with suppress(HeadraceError):
            await work(open_topic, files, make, run)
        incomplete += len(run.acknowledged) < 7
        await check(open_topic, files.after_death(), make, run)
    assert incomplete > 10  # so failures were reported, not swallowed


async def test_a_failed_append_fails_its_future_and_leaves_no_trace(open_topic, make, faulty):
    files = faulty(fault=errno.ENOSPC)
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    await topic.send(make(1))
    (path,) = [path for path in files._contents if path.suffix == SUFFIX]
    whole = bytes(files._contents[path])
    files.failed, files.budget = False, files.written + 20
    with pytest.raises(StreamFull):
        await topic.send(make(2, 3))
    assert (topic.unsettled, bytes(files._contents[path])) == (1, whole)
    assert not topic.has_room()
    async with asyncio.timeout(5):
        await topic.room()  # after a moment it tries again
    await topic.send(make(4))
    run = Run()
    run.take(topic)
    assert run.taken == [1, 4]


async def test_what_cannot_be_cut_back_is_cut_before_the_next_append(open_topic, make, faulty):
    class Stubborn(faulty):
        stubborn = False

        def truncate(self, fd, size):
            if self.stubborn:
                raise OSError(errno.EIO, "no")
            super().truncate(fd, size)

    files = Stubborn(fault=errno.EIO)
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    await topic.send(make(1))
    files.failed, files.budget, files.stubborn = False, files.written + 20, True
    with pytest.raises(StreamError):
        await topic.send(make(2))
    topic.log.low_disk = ""
    with pytest.raises(StreamError):  # still not cut back: nothing may be appended behind the rest
        await topic.send(make(3))
    files.stubborn, topic.log.low_disk = False, ""
    await topic.send(make(4))
    await topic.log.close()
    again = await open_topic(files.after_death())
    run = Run()
    again.start_reading(lambda: None)
    run.take(again)
    assert run.taken == [1, 4]


# -- damage


async def segments(open_topic, make, settle=lambda n: False) -> MemoryFiles:
    """Ten events, one a record, three records a segment, none settled unless asked for."""
    files = MemoryFiles()
    topic = await open_topic(files, segment_bytes=300)
    topic.start_reading(lambda: None)
    run = Run()
    for n in range(10):
        await run.send(topic, make(n))
    run.take(topic, settle)
    await turns()
    assert [found.base for found in topic.series.segments][-2:] == [6, 9]
    await topic.log.close()
    return files


def flip(files: MemoryFiles, path: Path, position: int) -> None:
    files._contents[path][position] ^= 0xFF


def segment(files: MemoryFiles, index: int) -> Path:
    return sorted(path for path in files._contents if path.suffix == SUFFIX)[index]


async def again(open_topic, files: MemoryFiles):
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    run = Run()
    run.take(topic)
    return topic, run.taken


async def test_the_rest_of_a_damaged_segment_is_put_aside_and_counted(open_topic, make, caplog):
    files = await segments(open_topic, make)
    record = (len(files._contents[segment(files, 1)]) - len(MAGIC)) // 3
    flip(files, segment(files, 1), len(MAGIC) + record + HEADER + 5)  # in the payload of event 4
    topic, taken = await again(open_topic, files)
    assert (topic.corrupt, topic.recovered, topic.unsettled) == (2, 8, 8)
    assert taken == [0, 1, 2, 3, 6, 7, 8, 9]
    (aside,) = [path for path in files._contents if path.suffix == ".corrupt"]
    assert len(files._contents[aside]) == 2 * record
    assert "2 events were lost" in caplog.text
    await topic.log.close()
    topic, taken = await again(open_topic, files)  # the second start does not count them again
    assert (topic.corrupt, taken) == (0, [0, 1, 2, 3, 6, 7, 8, 9])


@pytest.mark.parametrize("position", [0, len(MAGIC), len(MAGIC) + 4, len(MAGIC) + 12, len(MAGIC) + 20])
async def test_damage_to_any_part_of_a_record_is_found(open_topic, make, position):
    files = await segments(open_topic, make)
    flip(files, segment(files, 0), position)
    topic, taken = await again(open_topic, files)
    assert (topic.corrupt, taken) == (3, [3, 4, 5, 6, 7, 8, 9])


async def test_a_missing_segment_is_counted(open_topic, make):
    files = await segments(open_topic, make)
    del files._contents[segment(files, 1)]
    topic, taken = await again(open_topic, files)
    assert (topic.corrupt, taken) == (3, [0, 1, 2, 6, 7, 8, 9])


async def test_records_with_other_offsets_than_their_place_are_damage(open_topic, make):
    files = await segments(open_topic, make)
    files._contents[segment(files, 1)] = bytearray(files._contents[segment(files, 2)])
    topic, taken = await again(open_topic, files)
    assert (topic.corrupt, taken) == (3, [0, 1, 2, 6, 7, 8, 9])


async def test_what_was_settled_in_a_damaged_segment_is_not_lost(open_topic, make):
    files = await segments(open_topic, make, lambda n: n == 4)
    flip(files, segment(files, 1), 0)
    topic, taken = await again(open_topic, files)
    assert (topic.corrupt, taken) == (2, [0, 1, 2, 6, 7, 8, 9])


async def test_damage_in_the_last_segment_is_not_taken_for_a_torn_write(open_topic, make):
    files = MemoryFiles()
    topic = await open_topic(files)
    run = Run()
    for n in range(6):
        await run.send(topic, make(n, n + 100))
    await topic.log.close()
    record = (len(files._contents[segment(files, 0)]) - len(MAGIC)) // 6
    flip(files, segment(files, 0), len(MAGIC) + 2 * record + 4)  # the length of the third record
    topic, taken = await again(open_topic, files)
    assert (topic.corrupt, taken) == (8, [0, 100, 1, 101])
    await topic.send(make(7))
    assert topic.take().offset == 12  # offsets of the lost events are not used again


async def test_a_damaged_last_record_counts_as_one(open_topic, make):
    files = await segments(open_topic, make)
    flip(files, segment(files, 3), len(files._contents[segment(files, 3)]) - 1)
    topic, taken = await again(open_topic, files)
    assert (topic.corrupt, taken) == (1, list(range(9)))


async def test_damage_found_while_reading_skips_to_the_next_segment(open_topic, make, caplog):
    files = MemoryFiles()
    topic = await open_topic(files, segment_bytes=300)
    run = Run()
    for n in range(10):  # nobody reads yet, so nothing is kept in memory
        await run.send(topic, make(n))
    flip(files, segment(files, 1), len(MAGIC) + HEADER + 5)
    topic.start_reading(lambda: None)
    run.take(topic, lambda n: True)
    assert run.taken == [0, 1, 2, 6, 7, 8, 9]
    assert topic.corrupt == 3
    await commit(topic)
    assert topic.unsettled == topic.unsettled_bytes == topic.backlog.events == 0
    assert "events 3 to 5 cannot be read" in caplog.text


async def test_damage_in_the_segment_that_takes_appends_spares_what_comes_later(open_topic, make):
    files = MemoryFiles()
    topic = await open_topic(files)
    run = Run()
    for n in range(3):
        await run.send(topic, make(n))
    flip(files, segment(files, 0), len(MAGIC) + HEADER + 5)
    topic.start_reading(lambda: None)
    run.take(topic)
    assert (run.taken, topic.corrupt) == ([], 3)
    await run.send(topic, make(3))
    topic.stop_reading()
    topic.start_reading(lambda: None)
    run.take(topic)
    assert (run.taken, topic.corrupt) == ([3], 3)


async def test_without_a_valid_commit_record_everything_comes_again(open_topic, make, caplog):
    files = await segments(open_topic, make, lambda n: n < 8)
    del files._contents[T / "offsets"]
    topic, taken = await again(open_topic, files)
    assert taken == [6, 7, 8, 9]  # what is left on disk: two segments went when they were settled
    assert (topic.corrupt, topic.recovered) == (0, 4)
    assert "no valid commit record" in caplog.text


async def test_a_log_without_records_goes_on_after_its_commit_mark(open_topic, make):
    files = MemoryFiles()
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    run = Run()
    for n in range(5):
        await run.send(topic, make(n))
        run.take(topic, lambda n: True)
    await topic.log.close()
    assert not [path for path in files._contents if path.suffix == SUFFIX]
    topic = await open_topic(files)
    topic.start_reading(lambda: None)
    await topic.send(make(5))
    assert topic.take().offset == 5


# -- sync: full


async def test_full_sync_survives_a_power_cut(open_topic, make, power_cut_files):
    topic = await open_topic(power_cut_files, sync=True, segment_bytes=300)
    topic.start_reading(lambda: None)
    run = Run()
    for n in range(0, 20, 2):
        await topic.send(make(n, n + 1))
        run.take(topic, lambda n: n % 5 == 0 or n < 7)
        left = await open_topic(power_cut_files.after_power_cut())
        left.start_reading(lambda: None)
        found = Run()
        found.take(left)
        assert set(found.taken) >= set(range(n + 2)) - run.settled
        assert left.corrupt == 0


async def test_with_full_sync_no_file_goes_before_its_commit_is_safe(open_topic, make, power_cut_files):
    topic = await open_topic(power_cut_files, sync=True, segment_bytes=300)
    topic.start_reading(lambda: None)
    run = Run()
    for n in range(20):
        await topic.send(make(n))
        run.take(topic, lambda n: True)
        await topic.until_settled()
        if n == 4:
            power_cut_files.write_back()
        left = await open_topic(power_cut_files.after_power_cut())
        assert left.corrupt == 0  # an older commit record would miss the files that went since
        assert left.series.next >= n


async def test_full_sync_writes_together_what_came_during_a_sync(open_topic, make, power_cut_files):
    topic = await open_topic(power_cut_files, sync=True)
    syncs = 0
    plain = power_cut_files.sync

    def counted(fd):
        nonlocal syncs
        syncs += 1
        plain(fd)

    power_cut_files.sync = counted
    await asyncio.gather(*[topic.send(make(n)) for n in range(50)])
    assert syncs == 1
    assert topic.series.next == 50


async def test_options_say_how_large_a_segment_is(open_topic):
    for max_bytes, size in [(1 << 30, 64 << 20), (64 << 20, 8 << 20), (4 << 10, 64 << 10)]:
        topic = await open_topic(MemoryFiles(), options=TopicOptions(max_bytes=max_bytes))
        assert topic.series.segment_bytes == size
