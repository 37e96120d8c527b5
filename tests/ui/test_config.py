"""The page of the configuration: faults at their line, the difference before it is saved, and what was refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from commands import wait_for
from dashboards import Dashboard

pytestmark = pytest.mark.timeout(120)

PLANT = """
# all of it
rules: {all: {sql: 'SELECT * FROM "#"', to: archive}}
sinks:
  archive: {type: http, url: "http://127.0.0.1:9", headers: {Authorization: very-secret}}
"""
TEXT = "Text of "


@pytest.fixture
def dashboard(run: Callable[..., Dashboard]) -> Dashboard:
    return run(PLANT)


def opened(page: Any, dashboard: Dashboard) -> Any:
    page.goto(f"{dashboard.url}#/config")
    editor = page.get_by_role("textbox", name=TEXT)
    editor.get_by_text("# all of it").wait_for()
    return editor


def test_a_fault_is_shown_at_its_line_and_what_is_right_is_saved(page: Any, dashboard: Dashboard) -> None:
    editor = opened(page, dashboard)
    before = dashboard.config.read_text()
    assert "very-secret" not in editor.inner_text()
    shown = before.replace("very-secret", '"******"')
    line = len(shown.splitlines()) + 1
    editor.fill(shown + "  second: {type: console, colour: red}\n")
    page.get_by_label("Faults").get_by_text(f"Line {line}: ").wait_for()
    page.get_by_label("Faults").get_by_text("unknown key 'colour'").wait_for()
    editor.fill(shown + "  second: {type: console}\n")
    page.get_by_label("Faults").wait_for(state="detached")
    page.get_by_role("button", name="Review and save").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("+  second: {type: console}").wait_for()
    dialog.get_by_text("sinks added: second").wait_for()
    assert dashboard.config.read_text() == before  # to look changes nothing
    dialog.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("status").get_by_text("Configuration 2 runs.").wait_for()
    assert "second" in dashboard.ask("status")["sinks"]
    written = dashboard.config.read_text()
    assert "# all of it" in written
    assert "very-secret" in written
    page.get_by_role("tab", name="What it means").click()
    page.get_by_role("textbox", name="The configuration as it is understood").get_by_text("second:").wait_for()


def test_a_file_that_was_refused_is_there_to_be_repaired(page: Any, dashboard: Dashboard) -> None:
    editor = opened(page, dashboard)
    good = dashboard.config.read_text()
    dashboard.config.write_text(good + "sources: [\n")
    page.get_by_role("button", name="Reload").click()
    page.get_by_role("alert").get_by_text("expected the node content").wait_for()
    editor.get_by_text("sources: [").wait_for()
    page.goto(f"{dashboard.url}#/overview")
    page.get_by_role("alert").get_by_text("was not applied").wait_for()
    dashboard.config.write_text(good)
    page.get_by_role("link", name="Repair it").click()
    page.get_by_role("button", name="Reload").click()
    page.get_by_role("status").get_by_text("Nothing that runs is changed by it.").wait_for()
    wait_for(lambda: dashboard.ask("status")["config"]["error"] is None)
