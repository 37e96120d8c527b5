"""Every page, with data, without, and with something wrong: it shows what is, is usable by all, and fits a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import dedent, indent
from typing import Any

import pytest

from commands import wait_for
from dashboards import UI, Dashboard, receiving, watched

playwright = pytest.importorskip("playwright.sync_api", reason="NOT TESTED: playwright is not installed")
pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(180)]

PAGES = ["overview", "sources", "connectors", "rules", "sinks", "flow", "dead", "tap", "config", "plugins"]
DETAILS = [
    "rules/overheated", "rules/overheated?tab=test", "rules/overheated?tab=numbers", "rules/new", "sources/devices",
    "connectors/plant_server", "connectors/plant_server?tab=settings", "sinks/alarm_api",
    "sinks/alarm_api?tab=deliveries", "sinks/alarm_api?tab=settings", "flow?node=sink:archive", "config?file=effective",
]  # fmt: skip

PLANT = """
sources:
  devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}
connectors:
  plant_server: {type: http, url: "RECEIVER"}
rules:
  overheated: {sql: 'SELECT clientid, payload.temp AS temp FROM "plant/+/temp" WHERE payload.temp > 30', to: alarm_api}
  everything: {sql: 'SELECT * FROM "plant/#"', to: [archive]}
sinks:
  alarm_api: {type: http, connector: plant_server, path: /alarms}
  archive: {type: http, connector: plant_server, path: /archive}
"""
AWAY = """
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}
rules: {all: {sql: 'SELECT * FROM "#"', to: gone}}
sinks: {gone: {type: http, url: "http://127.0.0.1:9"}}
"""


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with receiving() as receiver:
        plant = Dashboard(tmp_path_factory.mktemp("plant"), PLANT.replace("RECEIVER", receiver.url))
        for temp in (21, 35, 40):
            plant.publish("plant/oven1/temp", f'{{"temp": {temp}}}')
        wait_for(lambda: plant.ask("status")["sinks"]["archive"]["counters"]["success"] == 3)
        yield plant
        plant.stop()


def faults(page: Any, theme: str = "light") -> list[str]:
    """What axe-core finds wrong, one line each; in the dark it looks at the colours only, all else is the same."""
    options = "{resultTypes: ['violations']}" if theme == "light" else "{runOnly: ['color-contrast']}"
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate((UI / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate(f"async () => (await axe.run(document, {options})).violations")
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary'][-160:]}"
        for each in found
        for node in each["nodes"]
    ]


def goto(page: Any, dashboard: Dashboard, place: str) -> None:
    page.goto(f"{dashboard.url}#/{place}")
    page.locator("main h1").wait_for()
    page.get_by_text("Loading…").wait_for(state="detached")


def test_every_page_shows_what_runs_and_hinders_nobody(page: Any, dashboard: Dashboard) -> None:
    wrong: dict[str, list[str]] = {}
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for place in PAGES + DETAILS:
            goto(page, dashboard, place)
            if found := faults(page, theme):
                wrong[f"{theme} {place}"] = found
    assert wrong == {}


def count(plant: Dashboard, kind: str, name: str, counter: str) -> int:
    found: int = plant.ask("status")[kind][name]["counters"][counter]
    return found


def test_numbers_are_those_of_the_pipeline(page: Any, dashboard: Dashboard) -> None:
    passed = count(dashboard, "rules", "overheated", "passed")
    goto(page, dashboard, "overview")
    page.get_by_text("All is well.").wait_for()
    goto(page, dashboard, "rules")
    shown = page.locator("tr[data-name=overheated] [data-column=Passed]")
    shown.get_by_text(str(passed), exact=True).wait_for()
    dashboard.publish("plant/oven1/temp", '{"temp": 50}')
    shown.get_by_text(str(passed + 1), exact=True).wait_for()  # without a reload
    goto(page, dashboard, "sinks")
    delivered = count(dashboard, "sinks", "archive", "success")
    page.locator("tr[data-name=archive] [data-column=Delivered]").get_by_text(str(delivered), exact=True).wait_for()


def test_the_flow_shows_who_gives_to_whom(page: Any, dashboard: Dashboard) -> None:
    goto(page, dashboard, "flow")
    edges = page.locator(".flow .edge")
    found = {(each.get_attribute("data-from"), each.get_attribute("data-to")) for each in edges.all()}
    assert found == {
        ("devices", "overheated"), ("devices", "everything"), ("overheated", "alarm_api"), ("everything", "archive"),
    }  # fmt: skip
    page.locator(".flow .node[data-name=archive]", has_text="delivered").click()
    page.get_by_role("heading", name="Events of sink archive").wait_for()
    page.get_by_text("0 passed while you look").wait_for()
    dashboard.publish("plant/oven1/door", "open")
    page.locator(".events").get_by_text("plant/oven1/door").wait_for()
    page.get_by_role("link", name="Open archive").click()
    page.get_by_role("heading", name="archive").wait_for()


def test_pages_fit_a_phone(browser: Any, dashboard: Dashboard) -> None:
    for page in watched(browser, dashboard.url, viewport={"width": 360, "height": 740}):
        for place in PAGES + DETAILS:
            goto(page, dashboard, place)
            width = page.evaluate("() => document.documentElement.scrollWidth")
            assert width <= 360, f"{place} is {width} wide"
            current = page.locator("nav [aria-current]").bounding_box()
            assert 0 <= current["x"] <= 360 - current["width"], f"{place} is not seen among the pages"


def test_the_keyboard_reaches_the_content_and_the_tabs(page: Any, dashboard: Dashboard) -> None:
    goto(page, dashboard, "sinks/archive")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"
    page.get_by_role("tab", name="Numbers").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Delivery log").get_attribute("aria-selected") == "true"
    assert page.url.endswith("tab=deliveries")


FOCUS = """() => {
  const wanted = "a[href], button:not(:disabled), input:not(:disabled), select, textarea, summary, [tabindex='0']";
  const all = [...document.querySelectorAll("main :is(" + wanted + ")")];
  window.unreached = new Set(all.filter(each => each.tabIndex >= 0 && each.checkVisibility()));
  window.addEventListener("focusin", () => window.unreached.delete(document.activeElement));
  return window.unreached.size;
}"""


def test_the_keyboard_reaches_all_there_is(page: Any, dashboard: Dashboard) -> None:
    for place in ("overview", "rules", "rules/overheated?tab=test", "sinks/archive", "flow", "config"):
        goto(page, dashboard, place)
        page.locator("#main").focus()
        for _ in range(page.evaluate(FOCUS) + 3):
            page.keyboard.press("Tab")
        unreached = page.evaluate("() => [...window.unreached].map(each => each.outerHTML.slice(0, 200))")
        assert unreached == [], place


TREES = {
    "overview": """
        - heading "Overview" [level=1]
        - status:
          - strong: All is well.
        - heading "Received" [level=2]
        - img /Events per second/
        - heading "Sinks" [level=2]
        - region "sinks":
          - table:
            - rowgroup:
              - row /alarm_api running/
    """,
    "rules": """
        - heading "Rules" [level=1]
        - link "Create rule"
        - searchbox "Find a rule by name or SQL"
        - region "Rules":
          - table:
            - rowgroup:
              - row /overheated/:
                - rowheader "overheated":
                  - link "overheated"
                - cell /running/
                - cell /.*/:
                  - switch "overheated enabled" [checked]
                - cell /.*/:
                  - button "Delete overheated"
    """,
    "sinks/archive": """
        - heading "archive" [level=1]
        - switch "archive enabled" [checked]
        - button "Reconnect"
        - tablist "archive":
          - tab "Numbers" [selected]
          - tab "Delivery log"
          - tab "Settings"
        - region "Counters":
          - table:
            - rowgroup:
              - row /Events whose delivery the peer confirmed/
    """,
    "flow": """
        - heading "Flow" [level=1]
        - region "The flow of events":
          - group /5 parts, 4 connections/:
            - link /source, running.* devices/
            - link /rule, running.* overheated/
            - link /sink, running.* archive .* delivered/
    """,
}


def test_a_screen_reader_finds_its_way(page: Any, dashboard: Dashboard) -> None:
    for place, tree in TREES.items():
        goto(page, dashboard, place)
        playwright.expect(page.get_by_role("main")).to_match_aria_snapshot("- main:" + indent(dedent(tree), "  "))
        playwright.expect(page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_count(
            1 + len(PAGES)
        )


class TestBehindAProxy:
    @pytest.fixture
    def dashboard(self, run: Callable[..., Dashboard]) -> Dashboard:
        return run("", prefix="/plants/one")

    def test_it_works_below_a_path(self, page: Any, dashboard: Dashboard) -> None:
        for place in PAGES:
            goto(page, dashboard, place)
        page.get_by_role("link", name="Overview").click()
        page.get_by_text("Nothing flows yet").wait_for()


class TestNothingConfigured:
    @pytest.fixture
    def dashboard(self, run: Callable[..., Dashboard]) -> Dashboard:
        return run("")

    def test_empty_pages_say_what_to_do(self, page: Any, dashboard: Dashboard) -> None:
        goto(page, dashboard, "overview")
        page.get_by_role("link", name="Add a source").wait_for()
        for place in ("sources", "connectors", "rules", "sinks", "flow", "dead", "tap"):
            goto(page, dashboard, place)
            page.locator(".empty strong").wait_for()
            assert faults(page) == []


class TestAServerThatIsAway:
    @pytest.fixture
    def dashboard(self, run: Callable[..., Dashboard]) -> Dashboard:
        plant = run(AWAY)
        plant.publish("t/1", "{}")
        wait_for(lambda: plant.ask("status")["state"] == "degraded")
        return plant

    def test_it_is_said_in_one_sentence(self, page: Any, dashboard: Dashboard) -> None:
        goto(page, dashboard, "overview")
        page.get_by_role("alert").get_by_text("Connection refused").wait_for()
        goto(page, dashboard, "sinks")
        page.locator("tr[data-name=gone] [data-column=Waiting]").get_by_text("1", exact=True).wait_for()
        goto(page, dashboard, "sinks/gone")
        page.get_by_role("alert").get_by_text("Connection refused").wait_for()
        page.get_by_text("next try in").wait_for()
        wrong = {}
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for place in (
                "overview",
                "connectors",
                "sinks",
                "sinks/gone",
                "sinks/gone?tab=deliveries",
                "flow?node=sink:gone",
            ):
                goto(page, dashboard, place)
                if found := faults(page, theme):
                    wrong[f"{theme} {place}"] = found
        assert wrong == {}
