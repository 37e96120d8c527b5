"""A real headrace, its dashboard, and a real Chromium in front of it.

The dashboard is built here if it is not yet; where it cannot be, or Chromium is missing, every test is skipped and the
summary says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards import UI, Dashboard, Receiver, receiving, running_here, watched
from headrace.api.dashboard import BUILT

playwright = pytest.importorskip("playwright.sync_api", reason="NOT TESTED: playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def built() -> None:
    """The dashboard as its sources are now."""
    sources = [path for path in (UI / "src").rglob("*") if path.is_file()] + [
        UI / "package-lock.json",
        UI / "index.html",
    ]
    index = BUILT / "index.html"
    axe = UI / "node_modules" / "axe-core" / "axe.min.js"
    if axe.is_file() and index.is_file() and index.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
        return
    made = subprocess.run([sys.executable, UI / "build.py"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"NOT TESTED: the dashboard could not be built: {made.stderr[-300:]}")


@pytest.fixture(scope="module")  # not longer: while it is open no other event loop can run in this thread
def browser(built: None) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("NOT TESTED: Chromium is not installed")
    with playwright.sync_playwright() as p:
        # as root, as in a container, Chromium runs without its sandbox or not at all
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=args)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, dashboard: Dashboard) -> Iterator[Any]:
    """A page of a browser that has never been here. Fails if it asked anybody else, or complained."""
    yield from watched(browser, dashboard.url, viewport={"width": 1280, "height": 800}, color_scheme="light")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Dashboard]]:
    """Start headrace with what a file holds beside its name, its stream and its API; more as for ``Dashboard``."""
    yield from running_here(tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server
