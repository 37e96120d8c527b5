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


def test_stars_under_a_misspelled_key_say_which_key(page: Any, dashboard: Dashboard) -> None:
    editor = opened(page, dashboard)
    shown = dashboard.config.read_text().replace("very-secret", '"******"')
    editor.fill(shown.replace("headers:", "haeders:"))
    line = next(n for n, text in enumerate(shown.splitlines(), 1) if "headers:" in text)
    fault = page.get_by_label("Faults").get_by_role("listitem")
    fault.get_by_text(f"Line {line}: ").wait_for()
    fault.get_by_text("the file has no sinks.archive.haeders (did you mean 'headers'?)").wait_for()


def test_what_somebody_else_saved_meanwhile_is_not_overwritten(page: Any, dashboard: Dashboard) -> None:
    editor = opened(page, dashboard)
    before = dashboard.config.read_text()
    ours = before.replace("very-secret", '"******"').replace("# all of it", "# all of ours")
    theirs = before.replace("# all of it", "# all of theirs")
    editor.fill(ours)
    page.get_by_role("button", name="Review and save").click()
    page.get_by_role("dialog").get_by_text("+# all of ours").wait_for()
    dashboard.config.write_text(theirs)  # by an editor: nobody reloads
    page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
    notice = page.get_by_role("status").filter(has_text="Somebody else changed this file meanwhile.")
    notice.wait_for()
    assert dashboard.config.read_text() == theirs
    assert page.get_by_role("button", name="Review and save").is_disabled()
    editor.get_by_text("# all of ours").wait_for()  # what was written is not lost either
    notice.get_by_role("button", name="Keep mine, and compare").click()
    page.get_by_role("button", name="Review and save").click()
    page.get_by_role("dialog").get_by_text("-# all of theirs").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert dashboard.config.read_text() == theirs


def test_what_somebody_else_saves_is_told_while_one_edits_and_can_be_taken(page: Any, dashboard: Dashboard) -> None:
    editor = opened(page, dashboard)
    before = dashboard.config.read_text()
    editor.fill(before.replace("very-secret", '"******"').replace("# all of it", "# all of ours"))
    text = before.replace("# all of it", "# all of theirs").replace('"#"', '"t/#"')
    assert dashboard.call("PUT", "config", {"file": str(dashboard.config), "text": text})[0] == 200
    page.get_by_role("button", name="Take theirs").click()
    editor.get_by_text("# all of theirs").wait_for()
    page.get_by_role("button", name="Take theirs").wait_for(state="detached")
    assert page.get_by_role("button", name="Review and save").is_disabled()  # nothing is left to save


class TestASinkThatIsGone:
    @pytest.fixture
    def dashboard(self, run: Callable[..., Dashboard]) -> Dashboard:
        plant = run(PLANT.replace("sinks:", "sources: {one: {type: generate, count: 1}}\nsinks:"))
        wait_for(lambda: plant.ask("status")["sinks"]["archive"]["counters"]["matched"] == 1)
        return plant

    def test_what_waits_for_it_is_purged_when_that_was_confirmed(self, page: Any, dashboard: Dashboard) -> None:
        assert dashboard.call("DELETE", "sinks/archive?also_delete_dep_actions=true")[0] == 200
        page.goto(f"{dashboard.url}#/sinks")
        page.get_by_role("heading", name="Left behind").wait_for()
        page.get_by_role("listitem").filter(has_text="archive: 1 event").wait_for()
        page.get_by_role("button", name="Purge what waits for archive").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert list(dashboard.ask("orphans")) == ["sink.archive"]
        page.get_by_role("button", name="Purge what waits for archive").click()
        page.get_by_role("dialog").get_by_role("button", name="Purge", exact=True).click()
        page.get_by_role("heading", name="Left behind").wait_for(state="detached")
        assert dashboard.ask("orphans") == {}
