"""The pictures of docs/dashboard.md, made on request: ``HEADRACE_SCREENSHOTS=1 pytest tests/ui/test_pictures.py``.

This needs Pillow beside the packages of the tests, which makes the pictures small.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from commands import wait_for
from dashboards import Dashboard, Receiver, receiving

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.timeout(180),
    pytest.mark.skipif("HEADRACE_SCREENSHOTS" not in os.environ, reason="pictures of the docs are made on request"),
]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MOST = 50_000
PLANT = """
# an oven and its two servers
sources:
  devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}
  simulator: {type: generate, rate: 20}
connectors:
  plant_server: {type: http, url: "GOOD", headers: {Authorization: very-secret}}
  billing: {type: http, url: "BAD"}
rules:
  overheated:
    sql: SELECT clientid, payload.temp AS temp FROM "plant/+/temp" WHERE payload.temp > 30
    to: alarm_api
  everything: {sql: 'SELECT * FROM "#"', to: archive}
  invoices: {sql: 'SELECT clientid, payload.temp AS temp FROM "plant/#"', to: billing_api}
sinks:
  alarm_api: {type: http, connector: plant_server, path: /alarms}
  archive: {type: http, connector: plant_server, path: /archive}
  billing_api: {type: http, connector: billing, path: /invoices}
"""


@pytest.fixture
def dashboard(run: Callable[..., Dashboard], receiver: Receiver) -> Any:
    with receiving() as bad:
        bad.status = 422
        plant = run(PLANT.replace("GOOD", receiver.url).replace("BAD", bad.url))
        for temp in (21, 35, 40):
            plant.publish("plant/oven1/temp", f'{{"temp": {temp}}}')
        wait_for(lambda: plant.ask("status")["sinks"]["billing_api"]["counters"]["failed"] == 3)
        yield plant


def picture(page: Any, dashboard: Dashboard, name: str, place: str = "", *, of: str = "") -> None:
    """Of a page; ``of``: a text to wait for."""
    if place:
        page.goto(f"{dashboard.url}#/{place}")
        page.locator("main h1").wait_for()
        page.get_by_text("Loading…").wait_for(state="detached")
    if of:
        page.get_by_text(of).first.wait_for()
    file = IMAGES / f"dashboard-{name}.png"
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    taken = image.open(BytesIO(page.screenshot(animations="disabled")))
    taken.convert("RGB").quantize(192, dither=image.Dither.NONE).save(file, optimize=True)
    assert file.stat().st_size < MOST, f"{file.name} has {file.stat().st_size} bytes"


def test_pictures_of_each_page(page: Any, dashboard: Dashboard) -> None:
    IMAGES.mkdir(exist_ok=True)
    page.set_viewport_size({"width": 1200, "height": 720})
    picture(page, dashboard, "connectors", "connectors", of="billing_api")
    page.get_by_role("button", name="Create connector").click()
    form = page.get_by_role("dialog")
    form.get_by_label("name").fill("my_httpserver")
    form.get_by_label("url").fill("http://127.0.0.1:9")
    form.get_by_role("button", name="Test connectivity").click()
    form.get_by_role("alert").scroll_into_view_if_needed()
    picture(page, dashboard, "connector-test", of="Connection refused")
    form.get_by_role("button", name="Cancel").click()
    picture(page, dashboard, "sources", "sources", of="simulator")
    picture(page, dashboard, "rules", "rules", of="billing_api")
    picture(page, dashboard, "rule", "rules/overheated", of="alarm_api")
    page.get_by_role("tab", name="Test").click()
    columns = page.get_by_label("Its columns")
    wait_for(columns.input_value)
    columns.fill('{"topic": "plant/oven1/temp",\n "clientid": "sensor-1",\n "payload": "{\\"temp\\": 35}"}')
    page.get_by_role("button", name="Explain").click()
    page.get_by_role("region", name="The request").scroll_into_view_if_needed()
    picture(page, dashboard, "rule-test", of="What happens")
    picture(page, dashboard, "sinks", "sinks", of="billing_api")
    picture(page, dashboard, "sink", "sinks/archive", of="End to end")
    picture(page, dashboard, "deliveries", "sinks/billing_api?tab=deliveries", of="too warm for us")
    picture(page, dashboard, "dead", "dead", of="422")
    page.get_by_role("button", name="Open letter").first.click()
    picture(page, dashboard, "letter", of="POST http")
    picture(page, dashboard, "tap", "tap?node=rule:everything", of="from simulator")
    picture(page, dashboard, "flow", "flow?node=rule:everything", of="from simulator")
    picture(page, dashboard, "plugins", "plugins", of="mqtt_server")
    page.goto(f"{dashboard.url}#/config")
    editor = page.get_by_role("textbox", name="Text of ")
    editor.get_by_text("an oven").wait_for()
    text = dashboard.config.read_text().replace("very-secret", '"******"').replace("temp > 30", "temp > 35")
    editor.fill(text)
    picture(page, dashboard, "config", of="simulator")
    page.get_by_role("button", name="Review and save").click()
    picture(page, dashboard, "config-diff", of="rules changed")
    page.wait_for_timeout(12_000)  # a chart needs some time to have a line
    picture(page, dashboard, "overview", "overview", of="Last errors")
    picture(page, dashboard, "errors", "sinks/billing_api?span=1h", of="too warm for us")
    page.emulate_media(color_scheme="dark")
    picture(page, dashboard, "dark", "flow", of="delivered")
    page.set_viewport_size({"width": 390, "height": 700})
    picture(page, dashboard, "phone", "sinks/archive", of="End to end")
