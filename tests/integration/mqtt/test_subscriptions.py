"""What a real Mosquitto is asked for, and what it makes of it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.mosquitto


async def settled(reader) -> None:
    """The broker has everything that was sent to it so far: it answers one thing after the other."""
    await reader.source._link.unsubscribe(["no/such/filter"])


@pytest.mark.parametrize("kind", ["bulk", "stock"])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_filters_that_share_topics_bring_a_message_once(mosquitto, subscribe, publish, kind, qos):
    broker = await mosquitto()
    reader = await subscribe(broker, stock=kind == "stock", filters=("a/+", "+/b", "+/+/c", "d"), qos=qos)
    assert reader.source._overlap == ["+/b", "a/+"]
    reader.start()
    messages = [("a/b", "same"), ("a/b", "same"), ("a/x", "one"), ("x/b", "two"), ("a/b", "last"), ("d", "d")]
    await publish(broker, messages, qos)
    await reader.arrived(6)
    await publish(broker, [("d", "end")], qos)
    await reader.until(lambda: reader.payloads[-1] == "end")
    assert [(event["topic"], event["payload"]) for event in reader.events] == [*messages, ("d", "end")]
    assert reader.events[0]["pub_props"]["Subscription-Identifier"]
    await reader.answered()


async def test_copies_are_told_over_a_broken_connection_too(mosquitto, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker, filters=("a/+", "+/b"))
    reader.start(settle=False)
    await publish(broker, [("a/b", str(n)) for n in range(20)])
    await reader.arrived(20)
    reader.source._link.fail("cut")
    await reader.until(lambda: reader.source._link.lost is None)
    for _, settle in reader.unsettled:
        settle(None)
    await publish(broker, [("a/b", "20")])
    await reader.until(lambda: reader.payloads[-1] == "20")
    assert reader.payloads == [str(n) for n in range(21)]


async def test_3_1_1_cannot_tell_copies_and_says_so(mosquitto, subscribe, caplog):
    await subscribe(await mosquitto(), filters=("a/+", "+/b"), version="3.1.1")
    assert "+/b, a/+ overlap" in caplog.text


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize(("retained", "first", "second"), [("new_only", 1, 0), ("all", 1, 1), ("ignore", 0, 0)])
async def test_retained_messages_come_as_often_as_asked(
    mosquitto, subscribe, publish, version, retained, first, second
):
    broker = await mosquitto()
    await publish(broker, [("t/r", "kept")], retain=True)
    reader = await subscribe(broker, version=version, retained=retained)
    reader.start()
    await publish(broker, [("t/1", "live")], retain=True)
    await reader.until(lambda: "live" in reader.payloads)
    assert reader.payloads.count("kept") == first
    reader.events.clear()
    reader.source._link.fail("cut")
    await reader.until(lambda: reader.source._link.lost is None)
    await publish(broker, [("t/1", "live")])
    await reader.until(lambda: "live" in reader.payloads)
    assert reader.payloads.count("kept") == second
    await reader.answered()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_restart_remembers_what_the_session_has(mosquitto, subscribe, publish, tmp_path, version):
    broker = await mosquitto()
    await publish(broker, [("a", "kept"), ("b", "kept"), ("c", "kept")], retain=True)
    reader = await subscribe(broker, filters=("a", "b"), state_dir=tmp_path, version=version)
    reader.start()
    await reader.arrived(2)
    await reader.answered()
    await reader.close()
    reader = await subscribe(broker, filters=("b", "c"), state_dir=tmp_path, version=version)
    reader.start()
    await publish(broker, [("a", "no"), ("b", "yes"), ("c", "yes")])
    await reader.arrived(3)
    seen = [(event["topic"], event["payload"]) for event in reader.events]
    assert seen == [("c", "kept"), ("b", "yes"), ("c", "yes")]  # no `a`, whose rule is gone; no `b` once more


async def test_a_shared_subscription_gives_each_message_to_one(mosquitto, subscribe, publish):
    broker = await mosquitto()
    readers = [await subscribe(broker, share="g", client_id=f"member-{n}") for n in range(2)]
    for reader in readers:
        reader.start()
    await publish(broker, 100)
    await readers[0].until(lambda: sum(len(reader.events) for reader in readers) == 100)
    assert sorted(int(payload) for reader in readers for payload in reader.payloads) == list(range(100))
    assert all(reader.events for reader in readers)


async def test_a_member_that_comes_back_has_what_waited_for_it(mosquitto, subscribe, publish):
    broker = await mosquitto()
    one = await subscribe(broker, share="g", client_id="member-1")
    two = await subscribe(broker, share="g", client_id="member-2")
    two.start()
    await publish(broker, 20)
    await one.kill()  # it has taken and acknowledged nothing
    await two.until(lambda: two.events)
    one = await subscribe(broker, share="g", client_id="member-1")
    one.start()
    await one.until(lambda: len(one.events) + len(two.events) == 20)
    assert sorted(map(int, one.payloads + two.payloads)) == list(range(20))
