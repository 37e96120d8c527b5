"""What a user installs works by itself, and takes in a stranger's plugin: wheels in an environment of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import headrace
from docblocks import ROOT, blocks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TEMPLATE = ROOT / "examples" / "headrace-sink-template"


@dataclass(frozen=True)
class Environment:
    """``wheels``: what was built; ``bin``: the commands of the environment it is installed in."""

    wheels: Path
    bin: Path

    def run(self, *argv: str, cwd: Path) -> str:
        """Run one of its commands; its standard output."""
        result = subprocess.run(
            [str(self.bin / argv[0]), *argv[1:]], cwd=cwd, env=clean(), capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


def clean() -> dict[str, str]:
    """Our environment without what leads Python back to this checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    where = tmp_path_factory.mktemp("packaging")
    wheels, venv = where / "wheels", where / "venv"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    for source in (ROOT, TEMPLATE):
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source)], check=True, env=clean())
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    install = [*pip, "--python", str(venv / "bin" / "python"), "install"]
    subprocess.run([*install, *map(str, wheels.glob("*.whl")), "pytest", "pytest-asyncio"], check=True, env=clean())
    return Environment(wheels, venv / "bin")


def test_the_wheel_holds_the_two_packages_and_nothing_else(environment: Environment):
    (wheel,) = environment.wheels.glob("headrace-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"headrace", "headrace_plugins", f"headrace-{headrace.__version__}.dist-info"}
    assert {"headrace/py.typed", "headrace_plugins/py.typed"} <= set(names)
    assert any(name.endswith("/LICENSE") for name in names)
    in_tree = {str(p.relative_to(ROOT / "core")) for p in (ROOT / "core" / "headrace").rglob("*.py")}
    assert in_tree - {"headrace/ui/build.py"} <= set(names)  # the build hook


def test_the_command_works(environment: Environment, tmp_path: Path):
    assert environment.run("headrace", "--version", cwd=tmp_path) == f"headrace {headrace.__version__}\n"
    assert "status" in environment.run("headrace", "--help", cwd=tmp_path)


def test_every_plugin_loads_and_the_template_is_one_of_them(environment: Environment, tmp_path: Path):
    rows = json.loads(environment.run("headrace", "plugins", "-o", "json", cwd=tmp_path))
    assert [row for row in rows if row["error"]] == []
    found = {row["name"]: (row["distribution"], row["provides"]) for row in rows}
    assert found["sqlite"] == ("headrace-sink-template", ["sink sqlite"])
    assert found["http"][0] == "headrace"


def test_the_template_passes_its_own_tests(environment: Environment, tmp_path: Path):
    for name in ("pyproject.toml", "tests"):  # not the module: the installed one is tested
        source = TEMPLATE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    assert " passed" in environment.run("python", "-m", "pytest", "-q", "tests", cwd=tmp_path)


def test_one_changed_line_sends_a_pipeline_through_the_template(environment: Environment, tmp_path: Path):
    before, after = (b.text for b in blocks((TEMPLATE / "README.md").read_text()) if b.language == "yaml")
    pipeline = (TEMPLATE / "pipeline.yaml").read_text()
    assert pipeline.count(before) == 1
    config = tmp_path / "pipeline.yaml"
    config.write_text(pipeline.replace(before, after) + f'stream: {{url: "embedded://{tmp_path}/log"}}\n')
    log = tmp_path / "headrace.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [environment.bin / "headrace", "run", str(config)], cwd=tmp_path, env=clean(), stdout=file, stderr=file
        )
        try:
            rows = _wait_for_rows(tmp_path / "events.db", 20, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
    assert code == 0, log.read_text()
    assert {json.loads(event)["event"] for (event,) in rows} == {"message.publish"}


def _wait_for_rows(path: Path, n: int, process: subprocess.Popen[bytes], log: Path) -> list[Any]:
    end = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        if path.exists():
            db = sqlite3.connect(path)
            try:
                rows = db.execute("SELECT event FROM events").fetchall()
            except sqlite3.OperationalError:
                rows = []  # the table is not there yet
            finally:
                db.close()
            if len(rows) >= n:
                return rows
        time.sleep(0.05)
