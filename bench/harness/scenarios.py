"""What is measured. A scenario is data; `run.py` carries it out."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SCENARIOS", "Fault", "Scenario"]


@dataclass(frozen=True)
class Fault:
    """What the receiver does wrong: ``503``, ``down`` or ``p500`` (``percent`` of the answers are 500)."""

    kind: str
    after: float
    seconds: float
    percent: float = 0


@dataclass(frozen=True)
class Scenario:
    """One row of the table. ``rate`` 0 is as fast as can be; then ``n`` is the full size, and a slow system gets less.

    ``feed``: ``broker`` (Mosquitto and a loader), ``direct`` (the harness plays the broker, at a fraction of the cost)
    or ``served`` (the system is the server, the loader speaks to it).
    """

    what: str
    rule: str = "pass"
    n: int = 200_000
    rate: int = 0
    seconds: int = 0
    feed: str = "broker"
    size: int = 256
    latency_us: int = 0
    inflight: int = 1000
    rules: int = 1
    no_body: bool = False
    pinned: bool = False
    fault: Fault | None = None
    kill: bool = False
    startup: bool = False


_OUTAGE = "2,000/s for 16 s; the server "

SCENARIOS = {
    "S1": Scenario("pass-through, one POST an event, the server answers at once"),
    "S1s": Scenario("S1 with 64 B payloads", size=64),
    "S1k": Scenario("S1 with 1 KiB payloads", size=1024),
    "S1L": Scenario("S1 with 1 ms server latency", latency_us=1000),
    "S1i": Scenario("S1 with the broker's default of 20 messages in flight", inflight=20),
    "S1p": Scenario("S1, the system pinned to one core, the rest to another", pinned=True),
    "S1e": Scenario("S1, but the server answers 204 without a body", no_body=True),
    "S1d": Scenario("S1 fed directly: the harness plays the broker", feed="direct"),
    "S1m": Scenario("S1, devices connect to the system itself", feed="served"),
    "S2": Scenario("filter and transform, 20 % pass", "filter30"),
    "S2d": Scenario("S2 fed directly", "filter30", feed="direct"),
    "S3": Scenario("nothing passes but the end marker", "none"),
    "S3d": Scenario("S3 fed directly", "none", feed="direct"),
    "S4": Scenario(f"{_OUTAGE}answers 503 for 10 s", rate=2000, seconds=16, fault=Fault("503", 3, 10)),
    "S4d": Scenario(f"{_OUTAGE}is down for 10 s", rate=2000, seconds=16, fault=Fault("down", 3, 10)),
    "S4e": Scenario(
        "2,000/s for 8 s; 1 % of the answers are 500 for 7 s", rate=2000, seconds=8, fault=Fault("p500", 0, 7, 1)
    ),
    "S5": Scenario("kill -9 in the middle of 50,000 QoS 1 events, started again at once", n=50_000, kill=True),
    "S5i": Scenario("S5 with the broker's default of 20 messages in flight", n=50_000, kill=True, inflight=20),
    "S6": Scenario("latency at 2,000/s", rate=2000, seconds=8),
    "S6f": Scenario("latency at 2,000/s in, filter 20 %", "filter30", rate=2000, seconds=10),
    "S7_1": Scenario("1 rule at 1,000/s", "rules", rate=1000, seconds=8),
    "S7_10": Scenario("10 rules at 1,000/s, one matches each event", "rules", rate=1000, seconds=8, rules=10),
    "S7_100": Scenario("100 rules", "rules", rate=1000, seconds=8, rules=100),
    "S7_1000": Scenario("1,000 rules", "rules", rate=1000, seconds=8, rules=1000),
    "S8": Scenario("up to 100 events in one POST", "batch"),
    "S8d": Scenario("S8 fed directly", "batch", feed="direct"),
    "S9": Scenario("start: from process start to the first event delivered; idle memory 3 s later", startup=True),
}
