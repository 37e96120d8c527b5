"""Looking into one part: what a sink tried, what was given up, why a rule gives nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from commands import wait_for
from dashboards import Dashboard, Receiver, receiving

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]

PLANT = """
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}
connectors: {server: {type: http, url: "RECEIVER"}}
rules: {hot: {sql: 'SELECT payload.temp AS temp FROM "plant/+/temp" WHERE payload.temp > 30', to: alarm}}
sinks: {alarm: {type: http, connector: server, path: /alarm, retry: {max_attempts: 1}}}
"""


@pytest.fixture(scope="module")
def peer() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, peer: Receiver) -> Iterator[Dashboard]:
    plant = Dashboard(tmp_path_factory.mktemp("plant"), PLANT.replace("RECEIVER", peer.url))
    yield plant
    plant.stop()


def counter(plant: Dashboard, name: str) -> int:
    found: int = plant.ask("status")["sinks"]["alarm"]["counters"][name]
    return found


def refuse_one(plant: Dashboard, peer: Receiver, temp: int) -> None:
    """Have the receiver refuse an event, for good."""
    before, peer.status = counter(plant, "failed"), 422
    plant.publish("plant/oven1/temp", f'{{"temp": {temp}}}')
    wait_for(lambda: counter(plant, "failed") == before + 1)
    peer.status = 200


def test_the_delivery_log_tells_what_the_peer_answered(page: Any, dashboard: Dashboard, peer: Receiver) -> None:
    refuse_one(dashboard, peer, 41)
    dashboard.publish("plant/oven1/temp", '{"temp": 42}')
    page.goto(f"{dashboard.url}#/sinks/alarm?tab=deliveries")
    log = page.get_by_role("region", name="Delivery log")
    log.locator("tr[data-outcome=delivered]").wait_for()
    log.locator("tr[data-outcome='4xx']").get_by_text("too warm for us").wait_for()
    page.get_by_label("Failures only").check()
    log.locator("tr[data-outcome=delivered]").wait_for(state="detached")
    assert "failures=1" in page.url


def test_a_dead_letter_is_looked_into_and_replayed(page: Any, dashboard: Dashboard, peer: Receiver) -> None:
    refuse_one(dashboard, peer, 77)
    page.goto(f"{dashboard.url}#/dead?sink=alarm")
    page.get_by_role("button", name="Open letter").last.click()
    letter = page.get_by_role("dialog")
    letter.get_by_text("too warm for us").wait_for()
    letter.get_by_role("region", name="The request").get_by_text("POST http://").wait_for()
    letter.get_by_role("region", name="What the rule selected").get_by_text('"temp": 77').wait_for()
    letter.get_by_role("button", name="Replay").click()
    page.get_by_role("status").get_by_text("1 given to their sinks again.").wait_for()
    wait_for(lambda: ("/alarm", '{"temp":77}') in peer.got[-2:])
    page.goto(f"{dashboard.url}#/dead?reason=of+something+else")
    page.get_by_text("None that fits").wait_for()


def test_a_dead_letter_is_edited_before_it_is_replayed(page: Any, dashboard: Dashboard, peer: Receiver) -> None:
    refuse_one(dashboard, peer, 66)
    page.goto(f"{dashboard.url}#/dead?sink=alarm")
    page.get_by_role("button", name="Open letter").last.click()
    letter = page.get_by_role("dialog")
    letter.get_by_role("button", name="Edit").click()
    letter.get_by_label("The event, edited").fill('{"temp": ')
    letter.get_by_role("button", name="Replay as edited").click()
    letter.get_by_text("JSON").last.wait_for()  # what is wrong with it
    letter.get_by_label("The event, edited").fill('{"temp": 21}')
    letter.get_by_role("button", name="Replay as edited").click()
    page.get_by_role("status").get_by_text("1 given to their sinks again.").wait_for()
    wait_for(lambda: ("/alarm", '{"temp":21}') in peer.got[-2:])


def test_dead_letters_are_purged_when_that_was_confirmed(page: Any, dashboard: Dashboard, peer: Receiver) -> None:
    refuse_one(dashboard, peer, 55)
    page.goto(f"{dashboard.url}#/dead")
    page.get_by_role("button", name="Purge all").click()
    page.get_by_role("dialog").get_by_role("button", name="Purge").click()
    page.get_by_text("No dead letters").wait_for()
    assert dashboard.ask("dead_letters") == []


def test_a_query_is_tried_on_a_real_event_and_says_why_not(page: Any, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.url}#/rules/hot?tab=test")
    page.get_by_role("button", name="Take a real one").click()
    page.get_by_text("Waiting for events").wait_for()
    real = page.get_by_role("list", name="Real events")

    def came() -> bool:
        dashboard.publish("plant/oven2/temp", '{"temp": 12}')
        return bool(real.get_by_role("button").count())

    wait_for(came)
    real.get_by_role("button", name="plant/oven2/temp").first.click()
    page.get_by_role("button", name="Run test").click()
    page.get_by_role("status").get_by_text("payload.temp is 12").wait_for()
    columns = page.get_by_label("Its columns")
    columns.fill(columns.input_value().replace("12", "99"))
    page.get_by_role("button", name="Run test").click()
    page.get_by_role("region", name="Result").get_by_text('"temp": 99').wait_for()
    page.get_by_role("button", name="Explain").click()
    page.get_by_role("region", name="What happens").get_by_text("payload.temp is 99").wait_for()
    page.get_by_role("region", name="The request").get_by_text("/alarm").wait_for()


def test_the_editor_completes_and_marks_what_is_wrong(page: Any, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.url}#/rules/hot")
    editor = page.get_by_role("textbox", name="SQL of the rule")
    editor.fill("SELECT clie")
    page.keyboard.press("Control+End")
    page.keyboard.press("Control+Space")
    page.get_by_role("option", name="clientid").first.click()
    editor.get_by_text("SELECT clientid").wait_for()
    editor.fill('SELECT uper(topic) FROM "t/#"')
    page.locator(".cm-lintRange-error").wait_for()
    page.get_by_role("tab", name="Test").click()
    assert page.get_by_role("button", name="Explain").count() == 0  # it would speak of the query that runs


def test_counters_are_reset_and_the_connection_is_made_anew(page: Any, dashboard: Dashboard) -> None:
    dashboard.publish("plant/oven1/temp", '{"temp": 31}')
    wait_for(lambda: counter(dashboard, "success") > 0)
    page.goto(f"{dashboard.url}#/sinks/alarm")
    page.get_by_role("button", name="Reset counters").click()
    page.locator("tr[data-counter=success] td").first.get_by_text("0", exact=True).wait_for()
    page.get_by_role("button", name="Reconnect").click()
    wait_for(lambda: dashboard.ask("status")["sinks"]["alarm"]["state"] == "running")
    assert page.get_by_role("alert").count() == 0


def test_a_rule_that_is_more_than_a_query_keeps_its_steps(page: Any, dashboard: Dashboard) -> None:
    queries = ('SELECT payload FROM "x/#"', 'SELECT payload AS p FROM "#"')
    given = {"name": "two", "transforms": [{"type": "sql", "query": query} for query in queries], "to": "alarm"}
    assert dashboard.call("POST", "sinks", {"name": "other", "type": "console"})[0] == 201
    assert dashboard.call("POST", "rules", given)[0] == 201
    page.goto(f"{dashboard.url}#/rules/two")
    page.get_by_text("This rule is more than one query.").wait_for()
    page.get_by_label("Use a sink that is there").select_option("other")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved: the file is written").wait_for()
    assert dashboard.ask("rules/two") == {**given, "to": ["alarm", "other"]}
