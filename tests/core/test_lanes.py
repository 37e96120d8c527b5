"""Key lanes: order within a key, freedom between keys."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.events import Event
from headrace.lanes import SETTLED, WAITING, WRITING, Ahead, Item, Lanes, Taken


def make(key: str, n: int = 0) -> Item:
    return Item(Event({"n": n}, key=key), Taken(None, 0), 0, key)


def test_only_the_head_of_a_key_is_given() -> None:
    lanes = Lanes()
    a1, a2, b1 = make("a"), make("a"), make("b")
    for item in (a1, a2, b1):
        lanes.add(item)
    assert lanes.take(10) == [a1, b1]
    assert lanes.take(10) == []
    lanes.release(a1)
    assert lanes.take(10) == [a2]


def test_a_failed_head_keeps_its_lane() -> None:
    lanes = Lanes()
    a1, a2 = make("a"), make("a")
    lanes.add(a1)
    lanes.add(a2)
    lanes.take(1)
    lanes.again(a1)
    assert lanes.take(10) == [a1]


def test_a_settled_item_is_skipped_and_its_lane_goes_on() -> None:
    lanes = Lanes()
    a1, a2, a3 = make("a"), make("a"), make("a")
    for item in (a1, a2, a3):
        lanes.add(item)
    a1.state = a2.state = SETTLED
    assert lanes.take(10) == [a3]


def test_unordered_items_do_not_wait() -> None:
    lanes = Lanes(ordered=False)
    items = [make("a"), make("a")]
    for item in items:
        lanes.add(item)
    assert lanes.take(10) == items


def test_followers_go_with_their_head_and_come_back_in_order() -> None:
    lanes = Lanes()
    items = [make("a", n) for n in range(4)]
    for item in items:
        lanes.add(item)
    (head,) = lanes.take(10)
    followers = lanes.followers(head, 2)
    assert followers == items[1:3]
    lanes.put_back(followers)
    lanes.again(head)
    got = []
    while taken := lanes.take(1):
        got += taken
        lanes.release(taken[0])
    assert got == items
    assert all(item.state in (WAITING, WRITING) for item in items)


@given(
    st.lists(st.sampled_from("abc"), max_size=40),
    st.randoms(use_true_random=False),
)
def test_each_key_is_given_in_order_whatever_fails(keys: list[str], random: object) -> None:
    choose: Callable[[float, float], float] = random.uniform  # type: ignore[attr-defined]
    lanes = Lanes()
    for n, key in enumerate(keys):
        lanes.add(make(key, n))
    done: dict[str, list[int]] = {}
    writing: list[Item] = []
    for _ in range(10_000):
        writing += lanes.take(int(choose(1, 4)))
        assert len({item.key for item in writing}) == len(writing)
        if not writing:
            break
        item = writing.pop(int(choose(0, len(writing) - 0.01)))
        if choose(0, 1) < 0.3:
            lanes.again(item)
        else:
            lanes.release(item)
            done.setdefault(item.key, []).append(item.event["n"])
    assert done == {key: [n for n, k in enumerate(keys) if k == key] for key in set(keys)}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_what_is_settled_is_freed_at_once() -> None:
    class Record:
        def settle(self, *indexes: int) -> None:
            """The stream's part."""

    class Seen(Event):
        __slots__ = ("__weakref__",)

    ahead, taken = Ahead(), Taken(Record(), 10)
    items = [Item(Seen({"n": n}), taken, n, "a") for n in range(2)]
    taken.items, taken.left = list(items), 2
    events = [weakref.ref(item.event) for item in items]
    ahead.add(taken)
    ahead.settled(items[:1])
    assert ahead.events == 2  # the record is not through
    ahead.settled(items[1:])
    assert ahead.events == ahead.bytes == 0
    del taken, items
    assert [event() for event in events] == [None, None]
