"""The commit point and its record on disk."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.stream.files import MemoryFiles
from headrace.stream.offsets import MOST_RANGES, OffsetsFile, Settled

PATH = Path("/offsets")


@given(st.integers(0, 60), st.randoms(use_true_random=False), st.integers(0, 50))
def test_settled_is_the_low_mark_and_the_ranges_beyond_it(done, order, low):
    settled = Settled(low)
    model = set(range(low))
    todo = list(range(low, low + 60))
    order.shuffle(todo)
    for offset in todo[:done]:
        settled.add(offset, offset + 1)
        model.add(offset)
    first = next(n for n in range(200) if n not in model)
    assert settled.low == first
    covered = {n for start, end in settled.ranges() for n in range(start, end)}
    assert covered == {n for n in model if n > first}
    assert all(a[1] < b[0] for a, b in zip(settled.ranges(), settled.ranges()[1:], strict=False))
    assert settled.high == max(model, default=-1) + 1
    start, end = sorted(order.sample(range(low + 80), 2))
    missing = [n for a, b in settled.missing(start, end) for n in range(a, b)]
    assert missing == [n for n in range(start, end) if n not in model]


def write(files: MemoryFiles, *states: Settled) -> None:
    offsets = OffsetsFile(files, PATH)
    offsets.load()
    for state in states:
        offsets.write(offsets.encode(state))
    offsets.close()


def read(files: MemoryFiles) -> Settled | None:
    offsets = OffsetsFile(files, PATH)
    try:
        return offsets.load()
    finally:
        offsets.close()


def test_the_newest_record_counts_with_its_ranges():
    files = MemoryFiles()
    write(files, Settled(5), Settled(7, [(9, 12), (20, 21)]))
    found = read(files)
    assert found
    assert (found.low, found.ranges(), found.high) == (7, [(9, 12), (20, 21)], 21)


def test_a_new_file_has_no_record():
    assert read(MemoryFiles()) is None


@pytest.mark.parametrize("damaged", range(0, 60, 3))
def test_after_a_torn_write_the_record_before_it_counts(damaged):
    files = MemoryFiles()
    write(files, Settled(5), Settled(6), Settled(7, [(9, 12)]))
    fd = files.open(PATH)
    for slot in (0, 1):  # the newest is in one of them
        trial = MemoryFiles()
        trial._contents = {path: bytearray(data) for path, data in files._contents.items()}
        trial.write_at(trial.open(PATH), b"\xff", slot * 65536 + damaged)
        found = read(trial)
        assert found
        assert found.low in (6, 7)
    files.close(fd)


def test_a_failed_write_does_not_endanger_the_other_slot(faulty):
    files = faulty(fault="short")
    offsets = OffsetsFile(files, PATH)
    offsets.write(offsets.encode(Settled(1)))
    for _ in range(3):
        files.failed, files.budget = False, files.written + 10
        with pytest.raises(OSError, match="short write"):
            offsets.write(offsets.encode(Settled(2)))
        found = read(files)
        assert found
        assert found.low == 1
    offsets.write(offsets.encode(Settled(2)))
    found = read(files)
    assert found
    assert found.low == 2


def test_ranges_that_do_not_fit_are_left_out():
    holes = random.Random(1).sample(range(10, 50_000), 12_000)
    settled = Settled(5)
    for offset in holes:
        settled.add(offset, offset + 1)
    files = MemoryFiles()
    write(files, settled)
    found = read(files)
    assert found
    assert found.ranges() == settled.ranges()[:MOST_RANGES]
