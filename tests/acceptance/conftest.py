"""The command line in an empty directory."""

from pathlib import Path

import pytest

from commands import GOOD, Headrace, Result
from headrace.cli import main


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Headrace:
    """``cli("lint", "p.yaml")``: what the command gave, run in an empty directory with a state directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    Path("good.yaml").write_text(GOOD)

    def run(*argv: str) -> Result:
        try:
            code = main(argv)
        except SystemExit as exc:
            code = int(exc.code or 0)
        return Result(code, *capfd.readouterr())

    return run
