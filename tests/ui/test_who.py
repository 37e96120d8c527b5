"""Who signs in sees who they are, and what they may not do is not offered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards import Dashboard
from headrace import passwords

pytestmark = pytest.mark.timeout(120)

PLANT = """
rules: {all: {sql: 'SELECT * FROM "#"', to: archive}}
connectors: {server: {type: http, url: "http://127.0.0.1:9"}}
sinks: {archive: {type: http, connector: server}}
"""
USERS = {name: passwords.hash_password(f"{name}'s own") for name in ("ada", "bob")}


class TestWithUsers:
    @pytest.fixture
    def dashboard(self, run: Callable[..., Dashboard], tmp_path: Path) -> Dashboard:
        users = tmp_path / "users.txt"
        users.write_text("".join(f"{name}:{hashed}\n" for name, hashed in USERS.items()))
        return run(PLANT, api=f', users: "{users}", admins: [ada]')

    def sign_in(self, page: Any, name: str, password: str = "") -> None:
        page.get_by_label("User").fill(name)
        page.get_by_label("Password").fill(password or f"{name}'s own")
        page.get_by_role("button", name="Sign in").click()

    def test_an_admin_may_change_things_and_a_viewer_may_look(self, page: Any, dashboard: Dashboard) -> None:
        page.goto(f"{dashboard.url}#/sinks")
        self.sign_in(page, "bob", "wrong")
        page.get_by_role("alert").get_by_text("wrong user or password").wait_for()
        self.sign_in(page, "bob")
        page.get_by_text("bob (viewer)").wait_for()
        assert page.get_by_role("switch", name="archive enabled").is_disabled()
        assert page.get_by_role("button", name="Add sink").count() == 0
        assert page.get_by_role("button", name="Delete archive").count() == 0
        page.goto(f"{dashboard.url}#/sinks/archive?tab=settings")
        page.get_by_text("bob may look, and only an admin may change things").wait_for()
        assert page.get_by_role("button", name="Save").is_disabled()
        assert page.get_by_role("button", name="Reconnect").count() == 0
        assert page.get_by_role("button", name="Test with a sample").count() == 0
        page.goto(f"{dashboard.url}#/config")
        assert page.get_by_role("textbox", name="Text of ").get_attribute("aria-readonly") == "true"
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        self.sign_in(page, "ada")
        page.get_by_text("ada (admin)").wait_for()
        page.goto(f"{dashboard.url}#/sinks")
        page.get_by_role("button", name="Add sink").wait_for()
        page.get_by_role("switch", name="archive enabled").click()
        page.locator("tr[data-name=archive]").get_by_text("disabled").wait_for()


class TestReadOnly:
    @pytest.fixture
    def dashboard(self, run: Callable[..., Dashboard]) -> Dashboard:
        return run(PLANT, options=["--read-only"])

    def test_what_cannot_be_written_is_not_offered_and_the_rest_is(self, page: Any, dashboard: Dashboard) -> None:
        page.goto(f"{dashboard.url}#/config")
        page.get_by_text("The configuration is read-only here").wait_for()
        assert page.get_by_role("button", name="Review and save").count() == 0
        page.get_by_role("button", name="Reload").wait_for()
        page.goto(f"{dashboard.url}#/connectors/server?tab=settings")
        page.get_by_role("button", name="Test connectivity").click()
        page.get_by_role("alert").get_by_text("Connection refused").first.wait_for()
        page.goto(f"{dashboard.url}#/rules")
        page.locator("tr[data-name=all]").wait_for()
        assert page.get_by_role("link", name="Create rule").count() == 0
