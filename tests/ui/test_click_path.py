"""From an empty file to an event at the receiver, by hand in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from commands import wait_for
from dashboards import Dashboard, Receiver
from rig import free_port

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]

SQL = 'SELECT * FROM "t/#"'


@pytest.fixture
def dashboard(run: Callable[..., Dashboard]) -> Dashboard:
    return run("")


def add_source(page: Any, dashboard: Dashboard) -> None:
    page.goto(dashboard.url)
    page.get_by_role("link", name="Add a source").click()
    form = page.get_by_role("dialog")
    form.get_by_label("name").fill("devices")
    form.get_by_label("listen", exact=True).fill(f"127.0.0.1:{dashboard.mqtt}")
    form.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="devices").wait_for()


def create_connector(page: Any, receiver: Receiver) -> None:
    page.get_by_role("link", name="Connectors", exact=True).click()
    page.get_by_role("button", name="Create connector").click()
    form = page.get_by_role("dialog")
    form.get_by_label("name").fill("my_httpserver")
    form.get_by_label("url").fill(f"http://127.0.0.1:{free_port()}")
    form.get_by_role("button", name="Test connectivity").click()
    form.get_by_role("alert").get_by_text("Connection refused").first.wait_for()
    form.get_by_label("url").fill(receiver.url)
    form.get_by_role("button", name="Test connectivity").click()
    form.get_by_role("status").get_by_text("Connected.", exact=True).wait_for()
    form.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="my_httpserver").wait_for()


def create_rule(page: Any) -> None:
    page.get_by_role("link", name="Rules", exact=True).click()
    page.get_by_role("link", name="Create rule").click()
    page.get_by_label("name").fill("my_rule")
    editor = page.get_by_role("textbox", name="SQL of the rule")
    editor.fill(SQL)
    page.get_by_role("button", name="Add action").click()
    form = page.get_by_role("dialog")
    form.get_by_label("name").fill("my_sink")
    form.get_by_label("connector", exact=True).select_option("my_httpserver")
    form.get_by_label("body", exact=True).fill("${payload.msg}")
    form.get_by_role("button", name="Create", exact=True).click()
    form.wait_for(state="detached")
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("heading", name="my_rule").wait_for()


def test_from_an_empty_file_to_an_event_delivered(page: Any, dashboard: Dashboard, receiver: Receiver) -> None:
    add_source(page, dashboard)
    create_connector(page, receiver)
    create_rule(page)
    delivered = page.locator("tr[data-name=my_sink] [data-column=Delivered]")
    matched = page.locator("tr[data-counter=matched] td").first
    delivered.get_by_text("0", exact=True).wait_for()
    page.evaluate("() => { window.here = true }")

    dashboard.publish("t/1", '{"msg": "hello"}')

    matched.get_by_text("1", exact=True).wait_for()
    delivered.get_by_text("1", exact=True).wait_for()
    assert page.evaluate("() => window.here"), "the page was loaded again"
    assert receiver.got == [("/", "hello")]
    page.get_by_role("link", name="Flow").click()
    edges = page.locator(".flow .edge")
    edges.nth(1).wait_for(state="attached")
    found = [(each.get_attribute("data-from"), each.get_attribute("data-to")) for each in edges.all()]
    assert found == [("devices", "my_rule"), ("my_rule", "my_sink")]
    written = dashboard.config.read_text()
    assert SQL in written
    assert written.startswith("# kept")


def test_what_is_in_use_is_not_deleted_and_says_by_whom(page: Any, dashboard: Dashboard, receiver: Receiver) -> None:
    add_source(page, dashboard)
    create_connector(page, receiver)
    create_rule(page)
    page.get_by_role("link", name="Connectors", exact=True).click()
    page.get_by_role("button", name="Delete my_httpserver").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("alert").get_by_text("sink my_sink").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.get_by_role("link", name="Rules", exact=True).click()
    page.get_by_role("switch", name="my_rule enabled").click()
    page.locator("tr[data-name=my_rule]").get_by_text("disabled").wait_for()
    wait_for(lambda: dashboard.ask("status")["rules"]["my_rule"]["state"] == "disabled")
