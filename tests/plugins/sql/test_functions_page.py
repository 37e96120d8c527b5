"""The pages about SQL: functions as they are, examples that are true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sql_functions
from headrace_plugins.sql import Sql
from headrace_plugins.sql.functions import BUILTINS
from headrace_plugins.sql.values import json_text

LANGUAGE = Path(__file__).parents[3] / "docs" / "sql.md"
EXAMPLES = re.findall(r"^\| `((?:SELECT|FOREACH) .+?)` \| `(.+?)` \| (`.+`) \|$", LANGUAGE.read_text(), re.MULTILINE)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 12


@pytest.mark.parametrize(("query", "payload", "rows"), EXAMPLES)
def test_an_example_of_the_language_is_true(query: str, payload: str, rows: str, run: Callable[..., Any]) -> None:
    assert " ".join(f"`{json_text(row)}`" for row in run(query, payload)) == rows


def test_the_page_of_functions_is_made_from_them() -> None:
    assert sql_functions.PAGE.read_text(encoding="utf-8") == sql_functions.page(), "run tests/support/sql_functions.py"


def test_every_function_says_what_it_gives() -> None:
    listed = Sql.functions()
    assert listed.keys() == BUILTINS.keys()
    assert all(text.partition(". ")[2] for text in listed.values())
