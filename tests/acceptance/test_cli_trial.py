"""``headrace test connector``: against a server that is there, one that is not, and one that refuses."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from commands import Headrace


class Answer(BaseHTTPRequestHandler):
    """Refuses what has ``bad`` in it."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.bodies.append(body)
        self.send_response(422 if b"bad" in body else 200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(b"answer")

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""


@pytest.fixture
def port(cli: Headrace) -> Iterator[int]:
    """A server, and configurations: ``t.yaml`` reaches it, ``two.yaml`` by two sinks, ``gone.yaml`` does not."""
    Answer.bodies.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    port = server.server_port
    text = f"""
name: t
sources: {{m: {{type: mqtt, url: "mqtt://127.0.0.1:9"}}}}
connectors: {{web: {{type: http, url: "http://127.0.0.1:{port}", headers: {{x-api-key: s3cret}}}}}}
rules:
  r:
    sql: SELECT topic, payload.temp AS temp, payload.note AS note FROM "s/+/t" WHERE payload.temp > 0
    to: out
sinks:
  out: {{type: http, connector: web, path: "/d/${{topic}}"}}
"""
    Path("t.yaml").write_text(text)
    Path("two.yaml").write_text(text + "  more: {type: http, connector: web}\n")
    Path("gone.yaml").write_text(text.replace(f":{port}", ":9"))
    yield port
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_peer_that_is_there_and_an_event_as_its_rule_makes_it(cli: Headrace, port: int) -> None:
    result = cli("test", "connector", "web", "t.yaml")
    assert result.code == 0, result
    assert "ok    tcp" in result.out
    assert Answer.bodies == []
    result = cli("test", "connector", "web", "t.yaml", "--send")
    assert result.code == 0, result
    assert f"url: http://127.0.0.1:{port}/d/s%2F1%2Ft" in result.out
    assert "status: 200" in result.out
    assert "answer: answer" in result.out
    assert "s3cret" not in result.out
    (body,) = Answer.bodies
    assert json.loads(body) | {"note": 0} == {"topic": "s/1/t", "temp": 21.5, "note": 0}


def test_an_answer_that_refuses_is_shown(cli: Headrace, port: int) -> None:
    payload = '{"temp": 3, "note": "bad"}'
    result = cli("test", "connector", "web", "t.yaml", "--send", "--payload", payload, "-o", "json")
    assert result.code == 1
    found = json.loads(result.out)
    assert (found["ok"], found["answer"]["status"], found["answer"]["answer"]) == (False, 422, "answer")
    assert json.loads(Answer.bodies[0])["temp"] == 3


def test_a_peer_that_is_not_there(cli: Headrace, port: int) -> None:
    result = cli("test", "connector", "web", "gone.yaml", "--send")
    assert result.code == 1
    assert "FAIL  tcp" in result.out
    assert "refused" in result.out


def test_what_cannot_be_tried_is_said(cli: Headrace, port: int) -> None:
    assert "there is web" in cli("test", "connector", "nope", "t.yaml").err
    several = cli("test", "connector", "web", "two.yaml", "--send")
    assert (several.code, "out, more" in several.err) == (1, True)
    assert cli("test", "connector", "web", "two.yaml", "--send", "--sink", "more").code == 0
    nothing = cli("test", "connector", "web", "t.yaml", "--send", "--payload", '{"temp": -1}')
    assert (nothing.code, "gives nothing" in nothing.err) == (1, True)
    assert len(Answer.bodies) == 1
