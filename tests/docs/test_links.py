"""Links between pages lead somewhere, and fragments of the change log are named so that they are found."""

import re
from pathlib import Path

import pytest

from docblocks import ROOT

FOLDERS = (
    ".", "docs", "docs/brokers", "docs/decisions", "examples/headrace-sink-template", "bench", "changelog.d",
)  # fmt: skip
PAGES = sorted(page.relative_to(ROOT).as_posix() for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
_LINK = re.compile(r"\[[^\]]+\]\((?!https?:|mailto:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", PAGES)
def test_links_to_other_files_lead_somewhere(name: str):
    page = ROOT / name
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_fragments_have_a_type_that_is_known():
    fragments = {path.name for path in Path(ROOT, "changelog.d").iterdir()} - {"README.md"}
    pattern = re.compile(r"(\d+|\+[\w-]+)\.(feature|bugfix|removal|doc|misc)(\.\d+)?\.md")
    assert [name for name in fragments if not pattern.fullmatch(name)] == []
