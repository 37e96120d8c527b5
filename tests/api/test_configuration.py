"""The configuration as text over HTTP: shown, checked, written, read again; secrets leave as stars."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboards import Dashboard
from texts import ALIASES

PLANT = """
# the plant
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}
connectors:
  server: {type: http, url: "http://ada:hunter2@127.0.0.1:9", headers: {X-Api-Key: s3cret}}   # ours
rules: {all: {sql: 'SELECT * FROM "t/#"', to: out}}
sinks:
  out: {type: http, connector: server, path: "${env:WHERE:-/in}"}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("plant"), PLANT)
    yield running
    running.stop()


@pytest.fixture
def plant(running: Dashboard) -> Iterator[Dashboard]:
    """One that is the same for every test."""
    before = running.config.read_text()
    yield running
    running.config.write_text(before)
    assert running.call("POST", "config/reload")[0] == 200


def generation(plant: Dashboard) -> int:
    found: int = plant.ask("config")["generation"]
    return found


def shown(plant: Dashboard) -> str:
    files = plant.ask("config")["files"]
    assert [each["file"] for each in files] == [str(plant.config)]
    text: str = files[0]["text"]
    return text


def test_the_files_and_what_they_mean_are_shown_without_secrets(plant: Dashboard) -> None:
    found = plant.ask("config")
    assert found["generation"] >= 1
    assert (found["error"], found["read_only"]) == (None, False)
    text = shown(plant)
    assert "# the plant" in text
    assert "${env:WHERE:-/in}" in text
    assert "path: /in" in found["effective"]
    for each in (text, found["effective"]):
        assert "s3cret" not in each
        assert "hunter2" not in each


def test_a_text_is_checked_without_being_written(plant: Dashboard) -> None:
    before, running = plant.config.read_text(), generation(plant)
    fresh = shown(plant).replace("t/#", "u/#")
    status, told = plant.call("POST", "config/check", {"file": str(plant.config), "text": fresh})
    assert (status, told["changed"]) == (200, {"rules": {"changed": ["all"]}})
    assert "+rules: {all: {sql: 'SELECT * FROM \"u/#\"', to: out}}" in told["diff"].splitlines()
    assert "s3cret" not in str(told)
    assert plant.config.read_text() == before
    assert generation(plant) == running


def test_a_text_is_written_with_the_secrets_its_stars_stand_for(plant: Dashboard) -> None:
    before, running = plant.config.read_text(), generation(plant)
    fresh = shown(plant).replace("t/#", "u/#")
    status, told = plant.call("PUT", "config", {"file": str(plant.config), "text": fresh})
    assert (status, told["generation"], told["changed"]) == (200, running + 1, {"rules": {"changed": ["all"]}})
    written = plant.config.read_text().replace("'s3cret'", "s3cret")  # the stars needed quotes
    assert written.split() == before.replace("t/#", "u/#").split()
    assert "u/#" in plant.ask("config")["effective"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("t/#", "t/#/x", "rules.all.sql"),
        ("to: out", "to: nobody", "nobody"),
        ("rules:", "rules: [", "plant.yaml"),
        ("plant\nshutdown", "other\nshutdown", "name"),
    ],
    ids=["query", "sink", "yaml", "restart"],
)
def test_a_wrong_text_is_refused_with_its_place_and_nothing_changes(
    plant: Dashboard, old: str, new: str, told: str
) -> None:
    before, text, running = plant.config.read_text(), shown(plant), generation(plant)
    assert old in text
    for method, path in (("POST", "config/check"), ("PUT", "config")):
        status, refused = plant.call(method, path, {"file": str(plant.config), "text": text.replace(old, new)})
        assert (status, refused["code"]) == (400, "BAD_REQUEST")
        assert told in refused["message"] + str(refused.get("problems"))
        assert "s3cret" not in str(refused)
        assert plant.config.read_text() == before
    assert generation(plant) == running
    assert plant.ask("config")["error"] is None


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(plant: Dashboard) -> None:
    begun, running = shown(plant), generation(plant)
    plant.config.write_text(plant.config.read_text().replace("t/#", "theirs/#"))
    theirs = plant.config.read_text()
    given = {"file": str(plant.config), "text": begun.replace("t/#", "ours/#"), "base": begun}
    for method, path in (("POST", "config/check"), ("PUT", "config")):
        status, refused = plant.call(method, path, given)
        assert (status, refused["code"]) == (409, "CHANGED")
        assert plant.config.read_text() == theirs
    assert generation(plant) == running
    status, told = plant.call("PUT", "config", {**given, "base": shown(plant)})
    assert (status, told["generation"]) == (200, running + 1)


DEEP = "a: " + "[" * 200 + "]" * 200


@pytest.mark.parametrize("text", ["[" * 200, DEEP, ALIASES], ids=["open", "deep", "aliases"])
def test_a_text_that_grows_without_end_is_refused(plant: Dashboard, text: str) -> None:
    for method, path in (("POST", "config/check"), ("PUT", "config")):
        status, refused = plant.call(method, path, {"file": str(plant.config), "text": text})
        assert (status, refused["code"]) == (400, "BAD_REQUEST")
    plant.config.write_text(text)  # somebody did so by hand
    assert plant.ask("config")["files"][0]["text"] == text


def test_only_files_of_the_configuration_are_written(plant: Dashboard) -> None:
    other = plant.config.with_name("other.yaml")
    status, refused = plant.call("PUT", "config", {"file": str(other), "text": "sinks: {}"})
    assert (status, refused["code"]) == (400, "BAD_REQUEST")
    assert not other.exists()
    for body in ({}, {"file": str(plant.config)}, {"file": 1, "text": 2}, []):
        assert plant.call("PUT", "config", body)[0] == 400


def test_files_are_read_again(plant: Dashboard) -> None:
    running = generation(plant)
    plant.config.write_text(plant.config.read_text().replace("t/#", "u/#"))
    status, told = plant.call("POST", "config/reload?dry_run=true")
    assert (status, told["generation"], told["changed"]) == (200, running, {"rules": {"changed": ["all"]}})
    status, told = plant.call("POST", "config/reload")
    assert (status, told["generation"], told["changed"]) == (200, running + 1, {"rules": {"changed": ["all"]}})
    assert plant.call("POST", "config/reload")[1]["changed"] == {}
    plant.config.write_text(plant.config.read_text().replace("SELECT", "SELEC"))
    status, refused = plant.call("POST", "config/reload")
    lines = plant.config.read_text().splitlines()
    assert status == 400
    assert "SELEC " in lines[refused["problems"][0]["line"] - 1]
    assert "rules.all.sql" in plant.ask("config")["error"]
    assert plant.ask("rules/all/metrics")["counters"]["matched"] == 0  # the one before goes on


@pytest.mark.parametrize("text", [b"# caf\xe9\n", b"- a\n", b"rules: hi\n", b"sinks: [\n", None], ids=str)
def test_a_file_that_became_something_else_is_told_and_can_be_repaired(plant: Dashboard, text: bytes | None) -> None:
    good = shown(plant)
    before = plant.config.read_bytes()
    if text is None:
        plant.config.unlink()
    else:
        plant.config.write_bytes(text)
    status, told = plant.call("GET", "config")
    assert (status, len(told["files"])) == (200, int(text is not None))
    status, told = plant.call("GET", "rules/all")
    assert (status, told["to"]) == (200, ["out"])  # as it runs
    rule = {"sql": 'SELECT * FROM "t/#"', "to": "out"}
    status, refused = plant.call("PUT", "rules/all", rule)
    assert (status, refused["code"]) == (400, "BAD_REQUEST")
    assert "plant.yaml" in refused["message"]
    assert plant.config.read_bytes() == text if text else not plant.config.exists()
    status, refused = plant.call("PUT", "config", {"file": str(plant.config), "text": good})
    assert status == 400  # the stars stand for nothing now, or there is no file
    if text is not None:
        fresh = {"file": str(plant.config), "text": before.decode()}
        assert plant.call("PUT", "config", fresh)[0] == 200
        assert plant.config.read_bytes() == before
    else:
        plant.config.write_bytes(before)
