"""``headrace dlq``: on a pipeline that runs, on one that does not, and where it cannot."""

import json
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from commands import Headrace, start, wait_for


class Server:
    """Answers ``status`` to every POST, and keeps what it took."""

    def __init__(self) -> None:
        self.status = 400
        self.bodies: list[bytes] = []
        self.ids: list[str] = []
        server = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if server.status == 200:
                    server.bodies.append(body)
                    server.ids.append(self.headers["idempotency-key"])
                self.send_response(server.status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"no")

            def log_message(self, format: str, *args: Any) -> None:
                """Be quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.thread = Thread(target=self.http.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def pipeline(server: Server, cli: Headrace) -> str:
    """A configuration whose three events the server refuses."""
    url = f"http://127.0.0.1:{server.http.server_port}"
    Path("p.yaml").write_text(f"""
name: p
sources: {{g: {{type: generate, devices: 1, rate: 0, count: 3}}}}
rules: {{r: {{sql: 'SELECT payload.seq AS seq FROM "#"', to: out}}}}
sinks: {{out: {{type: http, url: "{url}", headers: {{authorization: "Bearer s3cret"}}}}}}
""")
    return "p.yaml"


def letters(cli: Headrace, *more: str) -> list[Any]:
    return [json.loads(line) for line in cli("dlq", "ls", "p.yaml", "-o", "json", *more).out.splitlines()]


def end(process: Any) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def test_dead_letters_of_a_running_pipeline(cli: Headrace, server: Server, pipeline: str) -> None:
    process = start("run", pipeline)
    try:
        found = wait_for(lambda: len(found := letters(cli)) == 3 and found)
        shown = cli("dlq", "show", pipeline, "--id", found[1]["event_id"]).out
        assert "the server answered 400" in shown
        assert '"seq":1' in shown
        assert "s3cret" not in shown
        logged = json.loads(cli("log", "out", pipeline, "--failures", "-o", "json").out)
        assert [(e["event"], e["outcome"], e["status"], e["attempt"]) for e in logged] == [
            (letter["event_id"], "4xx", 400, 1) for letter in found
        ]
        assert "the server answered 400 Bad Request: no" in cli("log", "out", pipeline).out
        assert "there is out" in cli("log", "nope", pipeline).err
        assert cli("dlq", "purge", pipeline).code == 2
        assert cli("dlq", "purge", pipeline, "--id", str(found[0]["offset"])).out == "purge: 1 dead letters\n"
        server.status = 200
        assert cli("dlq", "replay", pipeline, "--since", "1h").out == "replay: 2 dead letters\n"
        wait_for(lambda: len(server.bodies) == 2)
        assert server.ids == [letter["delivery_id"] for letter in found[1:]]
        assert letters(cli) == []
        status = json.loads(cli("status", pipeline, "-o", "json").out)
        assert status["sinks"]["out"]["counters"]["replayed"] == 2
    finally:
        end(process)


def test_dead_letters_of_a_stopped_pipeline_wait_for_its_next_start(
    cli: Headrace, server: Server, pipeline: str
) -> None:
    process = start("run", pipeline)
    try:
        found = wait_for(lambda: len(found := letters(cli)) == 3 and found)
    finally:
        end(process)
    assert cli("dlq", "purge", "--name", "p", "--reason", "nothing").out == "purge: 0 dead letters\n"
    assert letters(cli, "--limit", "2") == found[:2]
    assert cli("dlq", "replay", "--name", "p", "--sink", "out").out == "replay: 3 dead letters\n"
    assert cli("dlq", "ls", pipeline).out == "no dead letters\n"
    server.status = 200
    text = Path("p.yaml").read_text()
    Path("p.yaml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("sources")))
    process = start("run", pipeline)
    try:
        wait_for(lambda: len(server.bodies) == 3)
        assert server.ids == [letter["delivery_id"] for letter in found]
        status = json.loads(cli("status", pipeline, "-o", "json").out)
        assert status["sinks"]["out"]["counters"]["recovered"] == 3
    finally:
        end(process)


def test_a_pipeline_in_memory_tells_its_letters_while_it_runs(cli: Headrace, server: Server, pipeline: str) -> None:
    Path("p.yaml").write_text(Path("p.yaml").read_text() + "\nstream: {url: embedded://memory}\n")
    assert "keeps nothing" in cli("dlq", "replay", pipeline, "--all").err
    process = start("run", pipeline)
    try:
        wait_for(lambda: len(letters(cli)) == 3)
        assert cli("dlq", "purge", pipeline, "--all").out == "purge: 3 dead letters\n"
    finally:
        end(process)


def test_on_kafka_it_says_what_it_cannot_do(cli: Headrace) -> None:
    Path("k.yaml").write_text("name: k\nstream: {url: 'kafka://localhost:9092'}\n")
    for action in ("ls", "show", "replay", "purge"):
        result = cli("dlq", action, "k.yaml", "--all")
        assert result.code == 1
        assert "Kafka's own tools" in result.err


def test_wrong_words_are_told(cli: Headrace, pipeline: str) -> None:
    result = cli("dlq", "ls", pipeline, "--since", "yesterday")
    assert result.code == 2
    assert "2h" in result.err
    assert letters(cli, "--since", "2026-11-24T08:00") == []
    assert "holds no log" in cli("dlq", "purge", pipeline, "--all").err
