"""Parts are changed in their file, and everything around them stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config.edit import Edit
from headrace.errors import ConfigError

FILE = """\
# of the plant
sinks:
  s:
    url: "${env:HEADRACE_TEST_HOST:-http://127.0.0.1:9}"   # here
    path: /a
    inflight: "${env:HEADRACE_TEST_NUMBER:-5}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plant.yaml"
    path.write_text(FILE)
    return path


def test_a_placeholder_stays_when_what_it_stands_for_comes_back(file: Path) -> None:
    _, text = Edit([str(file)]).put("sinks", "s", {"url": "http://127.0.0.1:9", "path": "/b", "inflight": 5})
    assert text == FILE.replace("/a", "/b")


def test_a_placeholder_goes_when_something_else_comes(file: Path) -> None:
    _, text = Edit([str(file)]).put("sinks", "s", {"url": "http://127.0.0.1:10", "path": "/a"})
    assert "http://127.0.0.1:10" in text
    assert "env:" not in text


def test_a_file_that_is_no_yaml_is_shown_and_replaced_and_not_added_to(file: Path) -> None:
    file.write_text("sinks: [\npassword: hush")
    edit = Edit([str(file)])
    assert edit.shown(file) == "sinks: [\npassword: ****"
    assert edit.replaced(str(file), "name: plant\n") == (file, "name: plant\n")
    with pytest.raises(ConfigError, match="repair it first"):
        edit.put("sinks", "s", {"url": "http://127.0.0.1:9"})
