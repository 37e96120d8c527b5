"""A file is changed where it says something else, and stays as somebody wrote it everywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from headrace.config.document import Document
from headrace.config.edit import Edit, Replaced
from headrace.errors import ConfigError
from texts import ALIASES

SHARED = """\
sinks:
  a: &base
    type: http
    url: http://one   # here
    retry: {max: 3s}
  b: *base
  c:
    <<: *base
    path: /c
"""
HTTP = {"type": "http", "url": "http://one", "retry": {"max": "3s"}}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b", {**HTTP, "path": "/b"}),
        ("a", {**HTTP, "url": "http://two"}),
        ("c", {**HTTP, "path": "/c", "retry": {"max": "4s"}}),
        ("c", {"type": "http", "url": "http://one"}),
        ("c", {**HTTP, "path": "/c", "enable": False}),
    ],
)
def test_what_parts_share_is_changed_for_the_one_that_is_meant(name: str, options: dict[str, Any]) -> None:
    wanted = {"a": HTTP, "b": HTTP, "c": {**HTTP, "path": "/c"}, name: options}
    document = Document(SHARED)
    document.put("sinks", name, options)
    assert YAML(typ="safe").load(document.text) == {"sinks": wanted}


def test_a_part_switched_off_keeps_what_it_shares() -> None:
    document = Document(SHARED)
    document.put("sinks", "c", {**HTTP, "path": "/c", "enable": False})
    assert document.text == SHARED + "    enable: false\n"


LAID_OUT = """\
---
# of the plant
rules:
    one:
        sql: x   # short
        to:
          - a   # first
          - b
        # about two
    two: {sql: y, to: [a, b]}   # both

# where it goes
sinks:
    a: {type: console}
"""


NEW = """\
    new:
        sql: |
            x
            y
        to: a
"""


@pytest.mark.parametrize(
    ("name", "options", "old", "new"),
    [
        ("one", {"sql": "x", "to": ["a"]}, "          - b\n", ""),
        ("one", {"sql": "x", "to": ["a", "b", "c"]}, "- b\n", "- b\n          - c\n"),
        ("one", {"sql": "x", "to": ["a", "c"]}, "- b\n", "- c\n"),
        ("one", {"sql": "x", "to": ["a", "b"], "enable": False}, "- b\n", "- b\n        enable: false\n"),
        ("two", {"sql": "y", "to": ["b", "c"]}, "[a, b]", "[b, c]"),
        ("new", {"sql": "x\ny\n", "to": "a"}, "# both\n", f"# both\n{NEW}"),
    ],
)  # fmt: skip
def test_a_change_is_all_that_changes(name: str, options: dict[str, Any], old: str, new: str) -> None:
    document = Document(LAID_OUT)
    document.put("rules", name, options)
    assert document.text == LAID_OUT.replace(old, new)


def test_a_comment_does_not_become_a_query() -> None:
    document = Document("rules:\n  one:\n    sql: x              # short\n    to: a\n")
    document.put("rules", "one", {"sql": "SELECT 1\nFROM t", "to": "a"})
    assert YAML(typ="safe").load(document.text)["rules"]["one"]["sql"] == "SELECT 1\nFROM t"


def test_json_stays_json() -> None:
    compact = Document('{"rules": {"one": {"sql": "x", "to": "a"}}}\n')
    compact.put("rules", "two", {"sql": "ü", "to": ["a"], "enable": False})
    both = '{"one": {"sql": "x", "to": "a"}, "two": {"sql": "ü", "to": ["a"], "enable": false}}'
    assert compact.text == f'{{"rules": {both}}}\n'
    wide = Document('{\n    "rules": {}\n}\n')
    wide.put("rules", "two", {"to": "a"})
    assert wide.text == '{\n    "rules": {\n        "two": {\n            "to": "a"\n        }\n    }\n}\n'


def test_a_name_without_quotes_that_yaml_takes_for_a_number_or_a_boolean_is_a_name() -> None:
    file = Document("sinks:\n  2: {type: console}  # one\n  true: {type: console}\n")
    assert list(file.entries("sinks")) == ["2", "true"]
    file.put("sinks", "2", {"type": "file"})
    assert [" ".join(line.split()) for line in file.text.splitlines()] == [
        "sinks:", "2: {type: file} # one", "true: {type: console}",
    ]  # fmt: skip
    file.take("sinks", "true")
    assert list(file.entries("sinks")) == ["2"]


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "a: 1\na: 2\n", "a", f"a: {'[' * 5000}", ALIASES])
def test_what_is_no_map_is_no_document(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Document(text)


def test_the_ends_of_lines_and_the_mark_of_the_byte_order_stay(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfrules:\r\n  a: {sql: x, to: s}   # one\r\n")
    edit = Edit([str(file)])
    assert edit.shown(file) == "rules:\n  a: {sql: x, to: s}   # one\n"
    replaced = Replaced(*edit.put("rules", "a", {"sql": "y", "to": "s"}), edit.read[file])
    assert file.read_bytes() == b"\xef\xbb\xbfrules:\r\n  a: {sql: y, to: s}   # one\r\n"
    replaced.undo()
    assert file.read_bytes() == edit.read[file]


def test_nothing_is_written_over_what_somebody_else_wrote_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("rules: {}\n")
    edit = Edit([str(file)])
    path, text = edit.put("rules", "a", {"sql": "y", "to": "s"})
    file.write_text("rules: {other: {sql: z, to: s}}\n")
    with pytest.raises(ConfigError, match="changed meanwhile"):
        Replaced(path, text, edit.read[path])
    assert "other" in file.read_text()


def test_a_file_that_cannot_be_written_is_said_and_stays(tmp_path: Path) -> None:
    file = tmp_path / f"{'a' * 245}.yaml"  # no room in a name for the one it is written to first
    file.write_text("rules: {}\n")
    with pytest.raises(ConfigError, match=r"cannot write .*a\.yaml: File name too long"):
        Replaced(file, "rules:\n", file.read_bytes())
    assert file.read_text() == "rules: {}\n"
