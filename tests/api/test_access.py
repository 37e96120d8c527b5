"""Who may do what with the API of a running headrace."""

from __future__ import annotations

import contextlib
import http.client
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import wait_for
from dashboards import Dashboard
from headrace import passwords
from headrace.config import check

PLANT = """
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}
rules: {all: {sql: 'SELECT * FROM "t/#"', to: out}}
sinks: {out: {type: console}}
"""
TOKEN = "a-token-of-the-right-length"
USERS = {name: passwords.hash_password(f"{name}'s own") for name in ("ada", "bob")}


def users_file(directory: Path, *names: str) -> Path:
    path = directory / "users.txt"
    path.write_text("".join(f"{name}:{USERS[name]}\n" for name in names))
    return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    directory = tmp_path_factory.mktemp("guarded")
    users = users_file(directory, "ada", "bob")
    api = f', users: "{users}", admins: [ada], tokens: {{watch: {{token: {TOKEN}}}}}'
    running = Dashboard(directory, PLANT, api=api)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("open"), PLANT)
    yield running
    running.stop()


def basic(name: str, password: str = "") -> str:
    return "Basic " + b64encode(f"{name}:{password or name + chr(39) + 's own'}".encode()).decode()


def raw(plant: Dashboard, method: str, path: str, headers: dict[str, str], body: str = "") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", plant.port, timeout=10)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_nothing_is_told_to_a_stranger(guarded: Dashboard) -> None:
    for method, path in (("GET", "status"), ("GET", "config"), ("PUT", "sinks/out/enable/false"), ("GET", "tap")):
        status, refused = guarded.call(method, path)
        assert (status, refused["code"]) == (401, "UNAUTHORIZED"), path
    assert raw(guarded, "GET", "/metrics", {}).status == 401
    assert raw(guarded, "GET", "/healthz", {}).status == 200  # of use to those who watch, and says nothing


def test_a_viewer_looks_and_an_admin_changes(guarded: Dashboard) -> None:
    bob, ada = basic("bob"), basic("ada")
    assert guarded.call("GET", "me", Authorization=bob)[1]["role"] == "viewer"
    status, refused = guarded.call("PUT", "sinks/out/enable/false", Authorization=bob)
    assert (status, refused["code"]) == (403, "FORBIDDEN")
    sql = {"sql": 'SELECT * FROM "t/#"'}
    assert guarded.call("POST", "rules/test", sql, Authorization=bob)[0] == 200  # changes nothing
    assert guarded.call("POST", "sinks/test", {"type": "console"}, Authorization=bob)[0] == 403  # sends something
    assert guarded.call("PUT", "sinks/out/enable/true", Authorization=ada)[0] == 200
    wait_for(lambda: any("enable/true by ada" in line for line in guarded.log))
    assert any("enable/false by bob" in line and "refused" in line for line in guarded.log)


def test_a_token_is_a_way_in(guarded: Dashboard) -> None:
    assert guarded.call("GET", "me", Authorization=f"Bearer {TOKEN}")[1]["name"] == "token watch"
    assert guarded.call("PUT", "sinks/out/enable/true", Authorization=f"Bearer {TOKEN}")[0] == 403
    assert raw(guarded, "GET", "/metrics", {"Authorization": f"Bearer {TOKEN}"}).status == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"Authorization": "Bearer tok\xe9n"}, 401),
        ({"Authorization": "Basic \xe9"}, 401),
        ({"Origin": "http://["}, 403),
    ],
)
def test_headers_that_are_no_text_or_no_address_are_refused(
    guarded: Dashboard, header: dict[str, str], status: int
) -> None:
    assert raw(guarded, "PUT", "/api/v1/sinks/out/enable/true", header).status == status


def test_a_password_that_cannot_be_written_is_a_wrong_one(guarded: Dashboard) -> None:
    assert guarded.call("POST", "login", {"username": "ada", "password": "\ud800"})[0] == 401


def test_a_session_is_a_cookie_that_scripts_and_other_sites_do_not_get(guarded: Dashboard) -> None:
    login = json.dumps({"username": "ada", "password": "ada's own"})
    answer = raw(guarded, "POST", "/api/v1/login", {"Content-Type": "application/json"}, login)
    cookie = answer.getheader("Set-Cookie") or ""
    assert answer.status == 200
    assert all(flag in cookie for flag in ("HttpOnly", "SameSite=Strict", "Path=/"))
    session = {"Cookie": cookie.partition(";")[0]}
    assert raw(guarded, "GET", "/api/v1/me", session).status == 200
    assert raw(guarded, "PUT", "/api/v1/sinks/out/enable/true", session).status == 200
    assert raw(guarded, "POST", "/api/v1/logout", session).status == 204
    assert raw(guarded, "GET", "/api/v1/me", session).status == 401


@pytest.mark.parametrize(
    "header",
    [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
    ids=["fetch metadata", "origin", "sandboxed frame"],
)
def test_a_page_of_another_site_changes_nothing(open_: Dashboard, header: dict[str, str]) -> None:
    answer = raw(open_, "PUT", "/api/v1/sinks/out/enable/false", header)
    assert answer.status == 403
    own = {"Origin": open_.url.rstrip("/"), "Host": f"127.0.0.1:{open_.port}"}
    assert raw(open_, "PUT", "/api/v1/sinks/out/enable/true", own).status == 200


def test_a_name_that_is_not_ours_does_not_lead_here(open_: Dashboard) -> None:
    for name in ("evil.example", "[::1", ""):
        assert raw(open_, "GET", "/api/v1/status", {"Host": name}).status == 421
    assert raw(open_, "GET", "/api/v1/status", {"Host": f"localhost:{open_.port}"}).status == 200


def test_a_form_of_another_site_is_no_json(open_: Dashboard) -> None:
    answer = raw(open_, "POST", "/api/v1/sinks", {"Content-Type": "text/plain"}, '{"name": "x", "type": "console"}')
    assert answer.status == 415


def test_every_answer_has_the_headers_that_browsers_heed(open_: Dashboard) -> None:
    answer = raw(open_, "GET", "/api/v1/status", {})
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("X-Frame-Options") == "DENY"
    assert answer.getheader("Cache-Control") == "no-store"


def test_wrong_passwords_are_looked_at_five_times_a_minute(tmp_path: Path) -> None:
    running = Dashboard(tmp_path, PLANT, api=f', users: "{users_file(tmp_path, "ada")}"')
    try:
        wrong = {"username": "ada", "password": "guess"}
        assert [running.call("POST", "login", wrong)[0] for _ in range(6)] == [401] * 5 + [429]
        right = {"username": "ada", "password": "ada's own"}
        status, refused = running.call("POST", "login", right)
        assert (status, refused["code"]) == (429, "TOO_MANY_ATTEMPTS")  # nor does it tell that this was right
        assert "guess" not in "".join(running.log)
    finally:
        running.stop()


def test_a_user_who_is_struck_off_the_file_is_out_at_once(tmp_path: Path) -> None:
    users = users_file(tmp_path, "ada", "bob")
    running = Dashboard(tmp_path, PLANT, api=f', users: "{users}"')
    try:
        assert running.call("GET", "me", Authorization=basic("bob"))[0] == 200
        users_file(tmp_path, "ada")
        assert running.call("GET", "me", Authorization=basic("bob"))[0] == 401
    finally:
        running.stop()


@pytest.mark.parametrize("way", ["--read-only", "read_only"])
def test_a_read_only_api_leaves_the_files_alone(tmp_path: Path, way: str) -> None:
    options, api = (["--read-only"], "") if way[0] == "-" else ([], ", read_only: true")
    running = Dashboard(tmp_path, PLANT, api=api, options=options)
    try:
        before = running.config.read_text()
        for method, path, body in (
            ("PUT", "sinks/out/enable/false", None),
            ("POST", "sinks", {"name": "b", "type": "console"}),
            ("DELETE", "rules/all", None),
            ("PUT", "config", {"file": str(running.config), "text": ""}),
        ):
            status, refused = running.call(method, path, body)
            assert (status, refused["code"]) == (403, "READ_ONLY"), path
        assert running.config.read_text() == before
        assert running.call("GET", "me")[1]["read_only"] is True
    finally:
        running.stop()


def test_everything_is_below_a_prefix(tmp_path: Path) -> None:
    running = Dashboard(tmp_path, PLANT, prefix="/plants/one")
    try:
        assert raw(running, "GET", "/plants/one/api/v1/status", {}).status == 200
        assert raw(running, "GET", "/plants/one/", {}).status == 200
        assert raw(running, "GET", "/api/v1/status", {}).status == 404
    finally:
        running.stop()


def test_who_can_be_reached_from_elsewhere_wants_to_know_who_it_is(tmp_path: Path) -> None:
    config = tmp_path / "plant.yaml"
    config.write_text(PLANT.replace("MQTT", "1883") + 'api: {listen: "0.0.0.0:8080"}\n')
    assert "can be reached from other machines: give `users` or `tokens`" in str(check([config]).problems[0])


def test_whoever_tries_to_change_something_is_in_the_log_and_whoever_looks_is_not(open_: Dashboard) -> None:
    assert open_.call("DELETE", "sinks/out")[0] == 400
    assert open_.call("POST", "rules/all/explain", {"context": {"topic": "t/1"}})[0] in (200, 404)
    assert open_.call("PUT", "sinks/out/enable/true")[0] == 200
    wait_for(lambda: any("PUT /api/v1/sinks/out/enable/true by local" in line for line in open_.log))
    told = [line.partition("api.audit: ")[2] for line in open_.log if "api.audit" in line]
    assert any(line.startswith("DELETE /api/v1/sinks/out by local") and "not done" in line for line in told)
    assert not any("explain" in line for line in told)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ('{"name": "x"', {}),
        ('{"name": "x", "type": "console", "a": ' + "[" * 900 + "]" * 900 + "}", {}),
        ("[" * 100_000, {}),
        ('{"name": "x"}', {"Content-Type": "application/json; charset=none-of-this"}),
        ("no gzip", {"Content-Encoding": "gzip"}),
    ],
    ids=["half", "deep", "deeper", "charset", "encoding"],
)
def test_whatever_a_body_is_the_answer_says_what_is_wrong(open_: Dashboard, body: str, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", open_.port, timeout=10)
    connection.request("POST", "/api/v1/sinks", body, {"Content-Type": "application/json", **headers})
    with contextlib.closing(connection), connection.getresponse() as answer:
        refused = json.loads(answer.read())
        assert (answer.status, refused["code"], bool(refused["message"])) == (400, "BAD_REQUEST", True)
