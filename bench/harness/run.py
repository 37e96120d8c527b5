"""One run: one system, one scenario, one line of results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.peers import MQB, Ports, Prober, get, mosquitto_conf, wait_for_port
from harness.processes import Processes, machine_cpu, usage
from harness.scenarios import Scenario

__all__ = ["Job", "Run", "System"]

LONGEST = 45.0  # seconds of measuring; with start and stop a run stays under a minute
EXPECT = {"pass": "all", "batch": "all", "rules": "all", "filter30": "temp30", "none": "last"}
TOPICS = 100
KEPT = (
    "unique", "dup", "ooo", "rejected", "foreign", "requests", "conns", "conns_total", "max_batch",
    "max_gap_ms", "p50_us", "p90_us", "p99_us", "p999_us", "max_us", "mean_us",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What a system is told."""

    scenario: str
    rule: str
    rules: int
    feed: str
    variant: str
    directory: Path
    mqtt_port: int
    http_port: int
    spare_port: int
    client_id: str = "bench-sut"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/in"


class System(Protocol):
    """A module in ``systems/``."""

    NAME: str
    RULES: set[str]
    FEEDS: set[str]

    def configure(self, job: Job) -> None: ...
    def command(self, job: Job) -> tuple[list[str], dict[str, str]]: ...


class Run:
    """``go()`` measures; ``close()`` ends every process and keeps the logs."""

    def __init__(self, system: System, name: str, scenario: Scenario, n: int, rate: int, variant: str) -> None:
        self.system, self.name, self.scenario = system, name, scenario
        self.rate = rate
        self.n = rate * scenario.seconds if rate else n
        self.ports = Ports()
        self.directory = Path(tempfile.mkdtemp(prefix="headrace-bench."))
        self.processes = Processes(self.directory)
        self.job = Job(
            name, scenario.rule, scenario.rules, scenario.feed, variant, self.directory / "system",
            self.ports.mqtt, self.ports.http, self.ports.spare,
        )  # fmt: skip
        self.job.directory.mkdir()
        self.others = 1 if scenario.pinned else None  # the core of everything but the system
        self.result: dict[str, Any] = {}

    def go(self) -> dict[str, Any]:
        self._start_peers()
        self.system.configure(self.job)
        self._start_system()
        self.result["ready_s"] = round(self._wait_ready(), 3)
        time.sleep(0.5)
        if self.scenario.startup:
            self._idle()
        else:
            self._load()
        return self.result

    def close(self) -> None:
        self.processes.close()
        keep = Path(__file__).resolve().parent.parent / "results" / "last" / f"{self.system.NAME}.{self.name}"
        shutil.rmtree(keep, ignore_errors=True)
        keep.mkdir(parents=True)
        for file in [*self.directory.glob("*.*"), *self.job.directory.glob("*")]:
            if file.is_file() and file.stat().st_size < 300_000:
                shutil.copy(file, keep)
        shutil.rmtree(self.directory)

    # -- start ------------------------------------------------------------------------------------------------

    def _start_peers(self) -> None:
        scenario, ports = self.scenario, self.ports
        self.broker: subprocess.Popen[bytes] | None = None
        if scenario.feed == "broker":
            path = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") or "mosquitto"
            (self.directory / "mosquitto.conf").write_text(mosquitto_conf(ports.mqtt, scenario.inflight))
            argv = [path, "-c", "mosquitto.conf"]
            self.broker = self.processes.start(argv, "broker.log", cpu=self.others)
        elif scenario.feed == "direct":
            argv = [MQB, "brk", "-port", str(ports.mqtt), "-ctl", str(ports.feed_control)]
            self.broker = self.processes.start(argv, "broker.log", cpu=self.others)
        argv = [MQB, "recv", "-port", str(ports.http), "-ctl", str(ports.control)]
        self.receiver = self.processes.start(argv, "receiver.log", cpu=self.others)
        wait_for_port(ports.control)
        if self.broker:
            wait_for_port(ports.mqtt)
        get(ports.control, "/reset?n=0&expect=all")

    def _start_system(self) -> None:
        argv, env = self.system.command(self.job)
        self.started = time.time()
        self.sut = self.processes.start(argv, "system.log", env=env, cpu=0 if self.scenario.pinned else None)
        after_start = getattr(self.system, "after_start", None)
        if after_start:
            after_start(self.job)

    def _wait_ready(self, seconds: float = 25) -> float:
        """A message goes in and comes out at the receiver: the one probe that suits every system."""
        if self.scenario.feed == "served":
            wait_for_port(self.ports.mqtt, seconds)
        prober = None if self.scenario.feed == "direct" else Prober(self.ports.mqtt)
        end = time.time() + seconds
        while time.time() < end and self.sut.poll() is None:
            if prober:
                prober.send()
            else:
                get(self.ports.feed_control, "/probe")
            time.sleep(0.02)
            if get(self.ports.control, "/stats")["probes"]:
                if prober:
                    prober.close()
                return time.time() - self.started
        log = (self.directory / "system.log").read_text(errors="replace")[-600:]
        raise RuntimeError(("not ready: " if self.sut.poll() is None else "the system ended: ") + log)

    # -- the two kinds of run ---------------------------------------------------------------------------------

    def _idle(self) -> None:
        time.sleep(3)
        before = usage(self.sut.pid)
        time.sleep(2)
        after = usage(self.sut.pid)
        self.result.update(rss_mb=round(before.rss_mb, 1), idle_cpu_pct=round((after.cpu - before.cpu) / 2 * 100, 2))

    def _load(self) -> None:
        time.sleep(0.3)
        scenario = self.scenario
        self.ids = scenario.rules if scenario.rule == "rules" else 1000
        query = f"n={self.n}&expect={EXPECT[scenario.rule]}&topics={TOPICS}"
        get(self.ports.control, f"/reset?{query}&lat_us={scenario.latency_us}&nobody={int(scenario.no_body)}")
        self.want = get(self.ports.control, "/stats")["want"]
        self.dead_cpu = self.peak_mb = self.loader_cpu = 0.0
        self.sut_cpu_before = usage(self.sut.pid).cpu
        peers_before, machine_before, own_before = self._peers_cpu(), machine_cpu(), sum(os.times()[:2])
        begin = time.time()
        self._start_load()
        self._watch(begin)
        if scenario.kill or scenario.fault:
            time.sleep(1.5)  # for late duplicates
        end = time.time()
        stats = get(self.ports.control, "/stats?full=1")
        sut_cpu = usage(self.sut.pid).cpu - self.sut_cpu_before + self.dead_cpu
        peers_cpu = self._peers_cpu()
        ours = sut_cpu + sum(peers_cpu.values()) - sum(peers_before.values()) + sum(os.times()[:2]) - own_before
        foreign = machine_cpu() - machine_before - ours - self.loader_cpu
        self.result.update(
            {f"{name}_cpu": round(peers_cpu[name] - peers_before[name], 2) for name in peers_cpu},
            foreign_cpu_pct=round(max(0, foreign) / ((os.cpu_count() or 1) * (end - begin)) * 100, 1),
            load_cpu=round(self.loader_cpu, 2),
            rss_mb=round(self.peak_mb, 1),
        )
        self._report(stats, self._load_result(begin), sut_cpu)

    def _peers_cpu(self) -> dict[str, float]:
        peers = {"broker": self.broker, "recv": self.receiver}
        return {name: usage(process.pid).cpu for name, process in peers.items() if process}

    def _start_load(self) -> None:
        self.loader: subprocess.Popen[bytes] | None = None
        self.fed: dict[str, Any] = {}
        n, size, rate = self.n, self.scenario.size, self.rate
        if self.scenario.feed == "direct":
            path = f"/go?n={n}&size={size}&topics={TOPICS}&ids={self.ids}&rate={rate}"

            def feed() -> None:
                try:
                    self.fed.update(get(self.ports.feed_control, path, 90))
                except OSError as exc:
                    self.fed["error"] = str(exc)

            threading.Thread(target=feed, daemon=True).start()
            return
        argv = [MQB, "load", "-addr", f"127.0.0.1:{self.ports.mqtt}", "-n", str(n), "-size", str(size)]
        argv += ["-c", "1" if rate else "2", "-qos", "1", "-rate", str(rate)]
        argv += ["-topics", str(TOPICS), "-ids", str(self.ids)]
        self.loader = self.processes.start(argv, "loader.log", cpu=self.others, capture=True)

    def _load_result(self, begin: float) -> dict[str, Any]:
        if self.loader:
            try:
                out, _ = self.loader.communicate(timeout=max(1, begin + LONGEST + 2 - time.time()))
                self.fed = json.loads(out or b"{}")
            except (subprocess.TimeoutExpired, ValueError):
                self.processes.stop(self.loader, signal.SIGKILL)
        return {"start_us": int(begin * 1e6), "rate": 0, **self.fed}

    # -- while it runs ----------------------------------------------------------------------------------------

    def _watch(self, begin: float) -> None:
        """Until all has arrived, or nothing moves any more; do the scenario's mischief in between."""
        scenario, fault = self.scenario, self.scenario.fault
        quiet_limit = 12 if fault else 5
        fault_until = begin + fault.after + fault.seconds + 8 if fault else 0.0
        faulty = killed = False
        seen, seen_at, seen_cpu = -1, begin, 0.0
        while True:
            time.sleep(0.05)
            now = time.time()
            unique = get(self.ports.control, "/stats")["unique"]
            if fault and not faulty and now - begin >= fault.after:
                faulty = True
                self.fault_ends = now + fault.seconds
                ms = int(fault.seconds * 1000)
                get(self.ports.control, f"/fault?kind={fault.kind}&ms={ms}&pct={fault.percent}")
            if scenario.kill and not killed and unique >= self.want // 2:
                killed = True
                self._kill(unique)
            used = usage(self.sut.pid)
            self.peak_mb = max(self.peak_mb, used.peak_mb)
            if self.loader and self.loader.poll() is None:
                self.loader_cpu = usage(self.loader.pid).cpu
            # a system that works on, though nothing arrives, is not stuck
            if unique > seen or used.cpu - seen_cpu > 0.03 * max(0.2, now - seen_at):
                seen, seen_at, seen_cpu = max(unique, seen), now, used.cpu
            if unique >= self.want:
                return
            if self.sut.poll() is not None:
                self.result["note"] = "the system ended"
                return
            if now > begin + LONGEST or (now - seen_at > quiet_limit and now > fault_until):
                return

    def _kill(self, unique: int) -> None:
        self.dead_cpu = usage(self.sut.pid).cpu - self.sut_cpu_before
        self.processes.stop(self.sut, signal.SIGKILL)
        self.result["killed_at"] = unique
        self.killed = time.time()
        self._start_system()
        self.sut_cpu_before = 0.0

    def _report(self, stats: dict[str, Any], fed: dict[str, Any], sut_cpu: float) -> None:
        last = stats["last_us"]
        span = max(1e-6, (last - fed["start_us"]) / 1e6) if last else 0.0
        handled = self.n * stats["unique"] / self.want
        self.result.update(
            {key: stats[key] for key in KEPT if key in stats},
            n=self.n,
            want=self.want,
            missing=self.want - stats["unique"],
            rate=self.rate,
            span_s=round(span, 3),
            in_per_s=round(handled / span) if span else 0,
            out_per_s=round(stats["unique"] / span) if span else 0,
            load_per_s=round(fed["rate"]),
            cpu_s=round(sut_cpu, 2),
            cpu_per_100k=round(sut_cpu / handled * 1e5, 2) if handled else None,
            sample=stats.get("sample", "")[:200],
        )
        if self.scenario.fault:
            self.result["per_second"] = stats["per_second"]
            self.result["recovery_s"] = round(last / 1e6 - self.fault_ends, 2)
        if "killed_at" in self.result:
            self.result["restart_span_s"] = round(last / 1e6 - self.killed, 2)
