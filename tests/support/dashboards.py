"""A running headrace with its API, a receiver, and a browser in front of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jailed
from commands import start, wait_for
from headrace.api.dashboard import BUILT
from rig import free_port

UI = BUILT.parent


def watched(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    context = browser.new_context(**options)
    context.set_default_timeout(15_000)
    opened = context.new_page()
    elsewhere: list[str] = []
    complaints: list[str] = []
    opened.on(
        "request", lambda request: request.url.startswith((url, "data:", "blob:")) or elsewhere.append(request.url)
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None
    )
    yield opened
    context.close()
    assert not elsewhere, elsewhere
    assert not complaints, complaints


class Dashboard:
    """A running headrace: ``url`` of its API, ``config`` its file."""

    def __init__(
        self,
        directory: Path,
        text: str,
        *,
        api: str = "",
        prefix: str = "",
        options: Sequence[str] = (),
        kept_in: bool = False,
    ) -> None:
        """``api``: more of that section; ``options``: of the command; ``kept_in``: it is jailed."""
        self.port = free_port()
        self.mqtt = free_port()
        self.url = f"http://127.0.0.1:{self.port}{prefix}/"
        self.config = directory / "plant.yaml"
        own = '# kept\nname: plant\nshutdown_timeout: 1s\nstream: {url: "embedded://memory"}\n'
        api += f", prefix: {prefix}" if prefix else ""
        api = f'api: {{listen: "127.0.0.1:{self.port}"{api}}}\n'
        self.config.write_text(own + api + text.replace("MQTT", str(self.mqtt)))
        here = str(directory)
        self._process = start(
            "run",
            str(self.config),
            *options,
            cwd=directory,
            env=os.environ
            | {"PYTHONWARNINGS": "error", "TMPDIR": here, "XDG_STATE_HOME": here, "XDG_RUNTIME_DIR": here},
            **({"program": (jailed.__file__, here)} if kept_in else {}),
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=lambda: self.log.extend(self._process.stderr or ()), daemon=True)
        self._reader.start()
        wait_for(self._up)

    def _up(self) -> bool:
        assert self._process.poll() is None, "".join(self.log)
        try:
            return self.call("GET", "status")[0] in (200, 401)
        except OSError:
            return False

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}api/v1/{path}", timeout=5) as answer:
            return json.load(answer)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and document of one call of the API; ``headers`` with underscores."""
        data = None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(f"{self.url}api/v1/{path}", data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, _document(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, _document(refused.read())

    def publish(self, topic: str, message: str) -> None:
        """With a foreign client."""
        command = [
            "mosquitto_pub",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.mqtt),
            "-q",
            "1",
            "-i",
            "sensor-1",
            "-t",
            topic,
            "-m",
            message,
        ]
        subprocess.run(command, check=True, timeout=20)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._reader.join(5)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


def running_here(directory: Path) -> Iterator[Callable[..., Dashboard]]:
    """For a fixture: starts what it is given, as ``Dashboard``, and ends it all after the test."""
    running: list[Dashboard] = []

    def begin(text: str, **more: Any) -> Dashboard:
        running.append(Dashboard(directory, text, **more))
        return running[-1]

    yield begin
    for each in running:
        each.stop()


def _document(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()


class Receiver(ThreadingHTTPServer):
    """An HTTP server that keeps what it got; ``status`` is its answer to a POST."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    server = Receiver()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.got.append((self.path, body))
        answer = b"" if self.server.status < 300 else b"too warm for us"
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *args: object) -> None:
        pass
