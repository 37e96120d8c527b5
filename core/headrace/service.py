"""A pipeline as a process: loop, signals, status socket, API, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

import orjson

from headrace.config.model import PipelineSpec
from headrace.config.paths import status_socket
from headrace.engine import Pipeline
from headrace.engine.calls import call
from headrace.engine.tapping import Tap, tapping
from headrace.errors import HeadraceError
from headrace.events import json_bytes
from headrace.live import Live, Origin
from headrace.registry import Registry

__all__ = ["Service", "run"]

OK, FAILED = 0, 1


class Service:
    """One pipeline with its status socket and, if asked for, its API."""

    def __init__(
        self, spec: PipelineSpec, registry: Registry, log: logging.Logger, origin: Origin | None = None
    ) -> None:
        self.spec = spec
        self.log = log
        self.pipeline = Pipeline(spec, registry, log)
        self.live = Live(self.pipeline, origin or Origin())
        self._tasks: set[asyncio.Task[None]] = set()
        self._taps: set[Tap] = set()
        self._stop = asyncio.Event()
        self._socket: asyncio.Server | None = None
        self._socket_path: Path | None = None
        self._api: Any = None

    async def start(self) -> None:
        """Start everything. HeadraceError or OSError says what stands in the way."""
        await self.pipeline.start()
        await self._listen()
        if self.spec.api is not None:
            from headrace import api  # aiohttp.web is half a second of imports most runs do not need

            self._api = await api.serve(self.live, self.spec.api, self.log)

    async def stop(self) -> int:
        """Drain and close. Returns the events left unsettled."""
        for task in self._tasks:
            task.cancel()
        left = await self.pipeline.stop()
        for tap in self._taps:
            tap.end()
        if self._api is not None:
            await self._api.cleanup()
        if self._socket is not None:
            self._socket.close()
            assert self._socket_path is not None
            self._socket_path.unlink(missing_ok=True)
        return left

    def ask_to_stop(self) -> None:
        """What a signal does: begin the shutdown."""
        self._stop.set()

    async def until_asked(self) -> None:
        await self._stop.wait()

    def ask_to_reload(self) -> None:
        """What SIGHUP does: read the configuration again. What is wrong with it is in the log and in the status."""

        async def reload() -> None:
            with contextlib.suppress(HeadraceError):
                await self.live.reload()

        self._spawn(reload())

    def watch(self) -> None:
        """Read the configuration again whenever a file of it changes."""
        self._spawn(self.live.watch())

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the status socket -------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        path = status_socket(self.spec.name, self.spec.state_dir)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and not _answers(path):
            path.unlink()
        old = os.umask(0o177)
        try:
            self._socket = await asyncio.start_unix_server(self._tell, path)
        finally:
            os.umask(old)
        self._socket_path = path

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One call per connection: a line of JSON, ``{"call": …, …}``. Whoever says nothing gets the status."""
        with contextlib.suppress(ConnectionError):
            line = await _line(reader)
            if b'"tap"' not in line or not await self._tapped(line, writer):
                writer.write(json_bytes(await self._answer(line)) + b"\n")
                await writer.drain()
        writer.close()

    async def _tapped(self, line: bytes, writer: asyncio.StreamWriter) -> bool:
        """The call ``tap`` is answered with line after line, until either side ends. False if it is another call."""
        try:
            request = orjson.loads(line)
            if request.pop("call") != "tap":
                return False
            node = request.pop("node")
            tap = Tap(**request)
            with tapping(self.pipeline, node, tap):
                await self._show(tap, writer)
        except (HeadraceError, ValueError, AttributeError, KeyError, TypeError) as exc:
            writer.write(json_bytes({"error": str(exc) if isinstance(exc, HeadraceError) else f"not a call: {exc!r}"}))
        return True

    async def _show(self, tap: Tap, writer: asyncio.StreamWriter) -> None:
        self._taps.add(tap)
        try:
            while not tap.ended:
                shown = [*tap.take(), b'{"passed":%d}' % tap.passed]
                writer.writelines(each + b"\n" for each in shown)
                await writer.drain()
                await tap.messages()
        finally:
            self._taps.discard(tap)

    async def _answer(self, line: bytes) -> Any:
        if not line.strip():
            return self.pipeline.snapshot()
        try:
            request = orjson.loads(line)
            what = request.pop("call")
            if what == "reload":
                return {"result": await self.live.answer(**request)}
            return {"result": await call(self.pipeline, what, request)}
        except (HeadraceError, ValueError, AttributeError, KeyError, TypeError) as exc:
            return {"error": str(exc) if isinstance(exc, HeadraceError) else f"not a call: {exc!r}"}


async def _line(reader: asyncio.StreamReader) -> bytes:
    """What the other side asks for; nothing if it is silent for a second, or ends."""
    try:
        return await asyncio.wait_for(reader.readline(), 1.0)
    except (TimeoutError, ValueError):  # ValueError: longer than any call
        return b""


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(str(path))
        except OSError:
            return False
        return True


async def _serve(service: Service, watch: bool) -> int:
    spec, log = service.spec, service.log
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, service.ask_to_stop)
    loop.add_signal_handler(signal.SIGHUP, service.ask_to_reload)
    try:
        await service.start()
    except (HeadraceError, OSError) as exc:
        log.error("cannot start: %s", exc)
        await service.pipeline.stop(timeout=0)
        return FAILED
    log.info("pipeline %s is up", spec.name)
    if waiting := service.pipeline.unsettled:
        log.info("%d events of a former run are in the log and go on from there", waiting)
    gc.collect()
    gc.freeze()  # what lives now lives for ever: the collector need not look at it again
    gc.set_threshold(100_000, 20, 50)  # events come by the thousand and go without the collector's help
    if watch:
        service.watch()
    _tell_systemd("READY=1")
    await service.until_asked()
    _tell_systemd("STOPPING=1")
    log.info("stopping: draining for up to %g s", spec.shutdown_timeout)
    left = await service.stop()
    if not left:
        log.info("stopped; nothing is left")
        return OK
    if spec.state_dir is None:
        log.error("stopped; %d events were not delivered and are lost: embedded://memory keeps nothing", left)
        return FAILED
    log.info("stopped; %d events are not delivered yet and wait in %s", left, spec.state_dir)
    return OK


def run(
    spec: PipelineSpec,
    registry: Registry,
    log: logging.Logger | None = None,
    *,
    origin: Origin | None = None,
    watch: bool = False,
) -> int:
    """Run a pipeline until SIGINT or SIGTERM. Returns the exit code: 0, or 1 if something could not be kept.

    SIGHUP reads the ``origin`` of the configuration again; with ``watch`` so does a change of its files.
    """
    log = log or logging.getLogger("headrace")
    _raise_file_limit()

    async def main() -> int:
        return await _serve(Service(spec, registry, log, origin), watch)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main())


def _tell_systemd(state: str) -> None:
    """What a service of ``Type=notify`` is expected to say; without such a service manager, nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] in ("/", "@"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _raise_file_limit() -> None:
    """A connection is a file: take what the system allows without asking."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))
