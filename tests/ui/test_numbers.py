"""What numbers mean, what they were, what went wrong how often, and where events are held up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import wait_for
from dashboards import Dashboard, Receiver, receiving
from rig import free_port

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]

PLANT = """
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}
connectors: {server: {type: http, url: "RECEIVER"}}
rules:
  hot: {sql: 'SELECT payload.temp AS temp FROM "plant/+/temp"', to: alarm}
  wrong: {sql: 'SELECT abs(payload.name) AS x FROM "plant/+/temp"', to: alarm}
sinks: {alarm: {type: http, connector: server, path: /alarm, retry: {max_attempts: 1}}}
"""
PAGES = [
    "overview", "sources", "sources/devices", "connectors", "connectors/server", "rules", "rules/hot?tab=numbers",
    "sinks", "sinks/alarm", "sinks/alarm?tab=deliveries", "dead",
]  # fmt: skip
UNSAID = """() => [...document.querySelectorAll("main td.num, main .figure .value, main .count")]
  .filter(each => /[0-9]/.test(each.textContent) && !each.closest("[title]:not([title=''])"))
  .map(each => each.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def peer() -> Iterator[Receiver]:
    with receiving() as server:
        server.status = 422
        yield server


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, peer: Receiver) -> Iterator[Dashboard]:
    plant = Dashboard(tmp_path_factory.mktemp("plant"), PLANT.replace("RECEIVER", peer.url))
    for n in range(3):
        plant.publish("plant/oven/temp", f'{{"temp": {n}, "name": "oven"}}')
    wait_for(lambda: plant.ask("status")["sinks"]["alarm"]["counters"]["failed"] == 3)
    yield plant
    plant.stop()


def goto(page: Any, dashboard: Dashboard, place: str) -> None:
    page.goto(f"{dashboard.url}#/{place}")
    page.locator("main h1").wait_for()
    page.get_by_text("Loading…").wait_for(state="detached")


def test_every_number_says_what_it_means(page: Any, dashboard: Dashboard) -> None:
    unsaid = {}
    for place in PAGES:
        goto(page, dashboard, place)
        page.locator("main :is(td.num, .figure, .count)").first.wait_for()
        if found := page.evaluate(UNSAID):
            unsaid[place] = found
    assert unsaid == {}


def test_a_counter_says_what_prometheus_and_the_docs_say(page: Any, dashboard: Dashboard) -> None:
    said = dashboard.ask("counters")["sinks"]["late_reply"]
    goto(page, dashboard, "sinks/alarm")
    row = page.locator("tr[data-counter=late_reply]")
    row.get_by_text(said[0].upper() + said[1:]).wait_for()
    assert row.locator("td").first.get_attribute("title") == said[0].upper() + said[1:]


def test_errors_are_counted_by_reason_with_what_the_peer_said(page: Any, dashboard: Dashboard) -> None:
    for place in ("sinks/alarm", "overview", "flow?node=sink:alarm"):
        goto(page, dashboard, place)
        error = page.get_by_role("list", name="Errors by reason").get_by_role("listitem").filter(has_text="422")
        error.get_by_text("×3").wait_for()
        error.get_by_text("too warm for us").wait_for()
        error.get_by_text("first").wait_for()
    goto(page, dashboard, "rules/wrong?tab=numbers")
    page.get_by_role("listitem").filter(has_text="expected a number").get_by_text("×3").wait_for()


def test_a_part_that_fails_is_not_shown_as_one_that_is_well(page: Any, dashboard: Dashboard, peer: Receiver) -> None:
    dashboard.publish("plant/oven/temp", '{"temp": 1, "name": "oven"}')
    goto(page, dashboard, "sinks")
    page.locator("tr[data-name=alarm]").get_by_text("running, with errors").wait_for()
    goto(page, dashboard, "overview")
    page.get_by_role("status").get_by_text("Events flow, with errors").wait_for()
    page.get_by_role("link", name="Dead letters").get_by_text("held").wait_for()


def test_it_is_shown_when_something_last_came(page: Any, dashboard: Dashboard) -> None:
    for place, name in (("sources", "devices"), ("rules", "hot")):
        goto(page, dashboard, place)
        page.locator(f"tr[data-name={name}] [data-column='Last event']").get_by_text("ago").wait_for()


def test_the_past_is_drawn_and_has_an_address(page: Any, dashboard: Dashboard) -> None:
    wait_for(lambda: dashboard.ask("history")["rates"]["received"])  # ten seconds after the start
    goto(page, dashboard, "overview")
    chart = page.get_by_role("img", name="Events per second")
    chart.wait_for()
    page.get_by_role("button", name="1 hour").click()
    assert page.url.endswith("span=1h")
    chart.wait_for()
    page.get_by_role("button", name="24 hours").click()
    page.get_by_text("The first point comes after five minutes.").wait_for()
    goto(page, dashboard, "sinks/alarm?span=1h")
    page.get_by_role("img", name="matched").wait_for()
    goto(page, dashboard, "overview?span=24h")  # as it was sent to somebody
    assert page.get_by_role("button", name="24 hours").get_attribute("aria-pressed") == "true"


def test_an_open_dead_letter_has_an_address(page: Any, dashboard: Dashboard) -> None:
    goto(page, dashboard, "dead?sink=alarm&letter=1")
    page.get_by_role("dialog", name="Dead letter 1").get_by_text("too warm for us").wait_for()
    page.get_by_role("button", name="Close").click()
    assert page.url.endswith("#/dead?sink=alarm")


class TestSubscriptions:
    @pytest.fixture
    def broker(self, tmp_path: Path) -> Iterator[int]:
        """The port of a real Mosquitto."""
        port = free_port()
        config = tmp_path / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        command = [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield port
        process.terminate()
        process.wait(10)

    @pytest.fixture
    def dashboard(self, run: Callable[..., Dashboard], broker: int) -> Dashboard:
        return run(f"""
sources:
  plant: {{type: mqtt, url: "mqtt://127.0.0.1:{broker}"}}
  nobody: {{type: mqtt, url: "mqtt://127.0.0.1:MQTT"}}
  devices: {{type: mqtt_server, listen: "127.0.0.1:MQTT"}}
rules: {{all: {{sql: 'SELECT * FROM "t/#", "u/+"', to: out}}}}
sinks: {{out: {{type: console}}}}
""")

    def test_what_the_broker_granted_is_shown_and_what_it_refused(self, page: Any, dashboard: Dashboard) -> None:
        wait_for(lambda: dashboard.ask("status")["sources"]["plant"]["state"] == "running")
        goto(page, dashboard, "sources/plant")
        for filter in ("t/#", "u/+"):
            page.locator(f"tr[data-filter='{filter}']").get_by_text("granted", exact=True).wait_for()
        goto(page, dashboard, "sources/nobody")  # headrace's own server gives nothing to anybody
        page.locator("tr[data-filter='t/#']").get_by_text("refused").wait_for()
        goto(page, dashboard, "sources/devices")
        page.get_by_role("heading", name="Counters").wait_for()
        assert page.get_by_role("heading", name="Subscriptions").count() == 0


class TestASinkThatHoldsAllUp:
    @pytest.fixture
    def dashboard(self, run: Callable[..., Dashboard], receiver: Receiver) -> Dashboard:
        receiver.status = 503
        return run(f"""
sources: {{g: {{type: generate, rate: 0}}}}
rules: {{all: {{sql: 'SELECT * FROM "#"', to: slow}}}}
sinks: {{slow: {{type: http, url: "{receiver.url}", buffer: {{max_bytes: 1MB}}}}}}
""")

    def test_the_flow_shows_where(self, page: Any, dashboard: Dashboard) -> None:
        wait_for(lambda: dashboard.ask("status")["stream"]["blocked_by"] == "slow")
        goto(page, dashboard, "flow")
        page.locator(".edge.blocked[data-to=slow]").wait_for(state="attached")
        page.locator(".edge.blocked[data-from=g]").wait_for(state="attached")
        page.get_by_role("link", name="events are held back: slow").wait_for()
        assert "of the buffer is used" in page.locator(".node[data-name=slow] .buffer title").inner_html()
        goto(page, dashboard, "overview")
        page.get_by_role("alert").get_by_text("sink slow is full").wait_for()
