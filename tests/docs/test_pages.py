"""Every code block of the pages people read is run or linted."""

from pathlib import Path

import pytest

from docblocks import ROOT, Page, blocks

FOLDERS = (".", "docs", "docs/brokers", "docs/decisions", "examples/headrace-sink-template", "bench")
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for folder in FOLDERS
    for page in (ROOT / folder).glob("*.md")
    if page.name != "CHANGELOG.md"
)


def _page(name: str) -> object:
    needs_broker = "\nmosquitto" in (ROOT / name).read_text()  # or its clients
    return pytest.param(name, marks=[pytest.mark.mosquitto] if needs_broker else [])


@pytest.mark.parametrize("name", [_page(name) for name in PAGES])
def test_the_blocks_of_a_page_are_true(name: str, tmp_path: Path):
    page = Page(tmp_path)
    try:
        for block in blocks((ROOT / name).read_text()):
            try:
                page.test(block)
            except AssertionError as exc:
                raise AssertionError(f"{name}:{block.line}: {block.language} block: {exc}") from exc
    finally:
        page.close()
