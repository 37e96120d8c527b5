"""Every counter is on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.engine.tally import RULE, SINK, source_metrics

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


@pytest.mark.parametrize("name", sorted({*RULE, *SINK, *source_metrics().counters, "queuing", "inflight"}))
def test_the_page_explains_a_counter(name: str) -> None:
    assert f"`{name}`" in PAGE
