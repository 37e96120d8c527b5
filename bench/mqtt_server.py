"""CPU per message of `mqtt_server` alone, by how devices send. Needs `mqb` (`make -C bench mqb`) and Linux.

    python bench/mqtt_server.py [-n MESSAGES] [-r ROUNDS]

The endpoint is a process of its own that takes everything and settles it at once, so only its side of the wire is
measured. Shown are the medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from headrace.testing import make_context
from headrace_plugins.mqtt_server.source import MqttServer

HERE = Path(__file__).parent
WAYS = {  # QoS, connections, unacknowledged messages of each, part of the messages
    "100 devices, 20 under way each": (1, 100, 20, 1.0),
    "4 devices, 1000 under way each": (1, 4, 1000, 1.0),
    "500 devices, one at a time": (1, 500, 1, 0.2),
    "100 devices, QoS 0": (0, 100, 1000, 1.0),
}
TICKS = os.sysconf("SC_CLK_TCK")


async def serve() -> None:
    source = MqttServer(MqttServer.Config(listen="127.0.0.1:0"), make_context("direct", filters=("#",)))
    await source.open()
    print(source.address, flush=True)
    while True:
        _, ack = await source.read()
        ack(None)


def cpu_of(pid: int) -> float:
    """Seconds of user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(qos: int, connections: int, window: int, n: int) -> tuple[float, float]:
    """Microseconds a message, messages a second."""
    endpoint = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert endpoint.stdout is not None
    try:
        address = endpoint.stdout.readline().strip()
        load = [
            HERE / "mqb",
            "load",
            "-addr",
            address,
            "-c",
            str(connections),
            "-qos",
            str(qos),
            "-window",
            str(window),
        ]
        subprocess.run([*load, "-n", str(n // 10)], check=True, stdout=subprocess.DEVNULL)
        before = cpu_of(endpoint.pid)
        done = subprocess.run([*load, "-n", str(n)], check=True, capture_output=True, text=True)
        time.sleep(0.2)  # QoS 0 may be under way still
        return (cpu_of(endpoint.pid) - before) / n * 1e6, json.loads(done.stdout)["rate"]
    finally:
        endpoint.kill()
        endpoint.wait()
        endpoint.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200_000, help="messages of each way")
    parser.add_argument("-r", type=int, default=3, help="rounds")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        gc.freeze()  # as the service does it
        gc.set_threshold(100_000, 20, 50)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        asyncio.run(serve())
    print(f"{'':32} {'µs':>6} {'a second':>10}")
    for way, (qos, connections, window, part) in WAYS.items():
        found = [measure(qos, connections, window, int(args.n * part)) for _ in range(args.r)]
        cpu, rate = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{way:32} {cpu:6.2f} {rate:10,.0f}")


if __name__ == "__main__":
    main()
