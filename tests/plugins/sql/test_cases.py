"""The conformance cases: what EMQX's own code made of each query and event, and where we differ on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sql_differences as differences
from headrace import Batch, Output
from headrace.testing import sql
from headrace_plugins.sql import Sql

CHANGED = [case for difference in differences.DIFFERENCES for case in difference["cases"]]
CHANGED_IDS = {case.get("id") for case in CHANGED}
AS_IN_EMQX = [case for case in differences.CASES if case["id"] not in CHANGED_IDS]
# What the reference of the language says, place by place.
MORE_CASES = sql.load(Path(__file__).with_name("more_cases.json"))
# Queries EMQX does not have and headrace does, unless it is asked to be strict.
MORE = ("pub-parse_error-029", "pub-parse_error-030")


@pytest.mark.parametrize("case", AS_IN_EMQX, ids=lambda case: case["id"])
def test_as_in_emqx(case: dict[str, Any]) -> None:
    got = sql.outcome(case, Sql)
    assert sql.agrees(case, got), str(got)


@pytest.mark.parametrize("case", list(map(differences.example, CHANGED)), ids=lambda case: case["id"])
def test_other_than_emqx(case: dict[str, Any]) -> None:
    got = sql.outcome(case, Sql)
    assert sql.agrees(case, got), str(got)


@pytest.mark.parametrize("area", sorted({case["area"] for case in MORE_CASES}))
def test_as_the_reference_says(area: str) -> None:
    of_area = [case for case in MORE_CASES if case["area"] == area]
    failed = {case["id"]: str(got) for case in of_area if not sql.agrees(case, got := sql.outcome(case, Sql))}
    assert failed == {}


def test_only_quirks_are_changed() -> None:
    assert all(differences.BY_ID[id].get("quirk") for id in CHANGED_IDS if id is not None)


@pytest.mark.parametrize("name", MORE)
def test_what_emqx_does_not_read_is_read_unless_strict(name: str) -> None:
    assert Sql.Config(query=differences.BY_ID[name]["sql"]).query


def test_there_are_601_cases() -> None:
    assert len(differences.BY_ID) == 601


def test_the_page_of_differences_is_made_from_this_data() -> None:
    assert differences.PAGE.read_text(encoding="utf-8") == differences.page(), "run tests/support/sql_differences.py"


def test_the_runner_prints_failures_a_table_and_the_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = dict(differences.CASES[0]), dict(differences.CASES[1])
    bad["expect"] = {"no_result": True}
    file = tmp_path / "cases.json"
    file.write_text(json.dumps([good, bad]))
    assert sql.main([str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f'{bad["id"]}: expected {{"no_result":true}}, got [')
    assert "select" in lines[2]
    assert "1/2" in lines[2]
    assert lines[-1] == "1 passed, 1 failed"


@pytest.mark.parametrize("text", ["{}", "[1]", "no"])
def test_the_runner_refuses_a_file_that_holds_no_cases(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    file.write_text(text)
    assert sql.main([str(file)]) == 2
    assert sql.main([]) == 2
    assert sql.main([str(tmp_path / "missing.json")]) == 2


def test_a_query_that_breaks_the_plugin_is_a_case_that_failed() -> None:
    class Broken(Sql):
        name = "broken"

        def process(self, batch: Batch) -> Output:
            raise RuntimeError("a bug")

    got = sql.outcome({"sql": 'SELECT * FROM "#"', "event": {"topic": "t"}, "expect": {"error": True}}, Broken)
    assert str(got) == "crash (RuntimeError: a bug)"
    assert not sql.agrees({"expect": {"error": True}}, got)


def test_the_zone_is_utc_unless_a_case_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    case = {"sql": "SELECT format_date('second', 'local', '%:z', 0) AS z FROM \"#\"", "event": {"topic": "t"}}
    assert sql.outcome(case, Sql).rows == [{"z": "+00:00"}]
    assert sql.outcome({**case, "env": {"TZ": "Asia/Tokyo"}}, Sql).rows == [{"z": "+09:00"}]
