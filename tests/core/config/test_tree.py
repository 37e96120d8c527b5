"""YAML's own errors and limits, and places inside texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.config.problems import Mark, Problems, Text
from headrace.config.tree import Node, inside, parse, parse_scalar, plain


def read(text: str) -> tuple[Any, list[str]]:
    problems = Problems()
    node = parse(Text("t", text), problems)
    return node and plain(node), [f"{p.line}:{p.column}: {p.message}" for p in problems.sorted()]


COLON = "mapping values are not allowed here: text with ': ' in it needs quotes, or '|' and a new line"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a: ${x}}", "1:6: expected ',' or '}', but got '{': ${…} within {…} or […] needs quotes; quote it: \"${…}\""),
        ("[a${x}]", "1:4: expected ',' or ']', but got '{': ${…} within {…} or […] needs quotes; quote it: \"${…}\""),
        ("a: b: c", f"1:5: {COLON}"),
        ("a:\n\tb: 1", "2:1: a tab cannot indent; use spaces"),
        ("a: @b", "1:4: found character '@' that cannot start any token: quote the text"),
        ("a: *b", "1:4: found undefined alias 'b': '*' begins a YAML alias; quote the text if you mean a star"),
        ("a: 1\n---\nb: 2", "2:1: one document a file: remove the '---' line"),
        ("a: [1", "1:6: expected ',' or ']', but got 'stream end'"),
        ('a: "b', "1:6: found unexpected end of stream"),
        ("a: 1\nb: 2\n a: 3", f"3:3: {COLON}"),
        ("a: b\x07c", "1:5: the character '\\x07' is not allowed in YAML"),
        ("a: !!python/object:os.system x", "1:4: the tag 'tag:yaml.org,2002:python/object:os.system' is not used here"),
        ("a: !secret x", "1:4: the tag '!secret' is not used here"),
        ("[a]: 1", "1:1: a key must be plain text"),
        ("<<: 1", "1:1: '<<' takes a map or a list of maps"),
        ("a: 1\nb:\n  c: 1\n  c: 2\na: 3", "5:1: 'a' is here twice; the first is in t:1:1"),
    ],
)  # fmt: skip
def test_an_error_of_yaml_is_explained_at_its_place(text: str, expected: str) -> None:
    _, errors = read(text)
    assert errors[-1] == expected


def test_duplicate_keys_are_found_at_every_depth() -> None:
    _, errors = read("a: 1\nb:\n  c: 1\n  c: 2\na: 3")
    assert errors == ["4:3: 'c' is here twice; the first is in t:3:3", "5:1: 'a' is here twice; the first is in t:1:1"]


def test_values_are_those_of_yaml_1_2() -> None:
    value, errors = read("{a: yes, b: on, c: true, d: 1, e: 1.5, f: ~, g: '1', h: 2020-01-01, on: 1, 5: x, null: y}")
    assert errors == []
    assert value == {"a": "yes", "b": "on", "c": True, "d": 1, "e": 1.5, "f": None, "g": "1", "h": "2020-01-01",
                     "on": 1, "5": "x", "null": "y"}  # fmt: skip


def test_anchors_and_merges_work() -> None:
    value, errors = read("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {b: 4, <<: [{b: 5, c: 6}, *x]}\nw: *x\n")
    assert errors == []
    assert value["y"] == {"a": 1, "b": 3}
    assert value["z"] == {"a": 1, "b": 4, "c": 6}
    assert value["w"] == {"a": 1, "b": 2}


def test_a_bomb_of_aliases_is_refused() -> None:
    bomb = 'a0: &a0 ["x", "x"]\n' + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    _, errors = read(bomb)
    assert len(errors) == 1
    assert "more than 200,000 values" in errors[0]


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "&a {<<: *a}"])
def test_an_alias_within_itself_is_refused(text: str) -> None:
    _, errors = read(text)
    assert len(errors) == 1
    assert "nested deeper than 100 levels" in errors[0] or "alias" in errors[0]


@pytest.mark.parametrize("depth", [150, 20_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_endless_nesting_is_refused(brackets: str, depth: int) -> None:
    opening = "[" if brackets == "[]" else "{a: "
    _, errors = read(opening * depth + brackets[1] * depth)
    assert len(errors) == 1
    assert "nested deeper than 100 levels" in errors[0]


def test_tabs_in_json_are_fine() -> None:
    assert read('{\n\t"a": {\n\t\t"b": [1,\t2]\n\t}\n}') == ({"a": {"b": [1, 2]}}, [])


LEAF = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("ab: #${}'\\\"\né", max_size=8)
KEY = st.text("abc", max_size=3)


@given(st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3)))
def test_json_is_read_as_json(value: Any) -> None:
    assert read(json.dumps({"k": value})) == ({"k": value}, [])


@given(st.text("ab:{}[]&*!|>'\"%@`#-?,\n \t$\\", max_size=30))
def test_any_text_gives_a_value_or_an_error(text: str) -> None:
    read(text)


@pytest.mark.parametrize(("text", "value"), [("5", 5), ("true", True), ("5s", "5s"), ("null", None), ("a: b", "a: b"),
                                             ("1e3", 1000.0), ("[", "[")])  # fmt: skip
def test_a_plain_scalar_has_yamls_type(text: str, value: Any) -> None:
    assert parse_scalar(text) == value


WORDS = st.lists(st.text("abc;$", min_size=1, max_size=4), min_size=1, max_size=6)


@given(WORDS, st.sampled_from(["|", "|-", ">", ">+", "'", '"']), st.lists(st.booleans(), min_size=6, max_size=6))
def test_each_visible_character_is_found_where_it_is_written(words: list[str], style: str, breaks: list[bool]) -> None:
    written = words[0] + "".join(
        ("\n    " if cut else " ") + word for cut, word in zip(breaks, words[1:], strict=False)
    )
    text = f"k: {style}\n    {written}\n" if style[0] in "|>" else f"k:\n    {style}{written}{style}\n"
    problems = Problems()
    root = parse(Text("t", text), problems)
    assert root is not None
    node: Node = root.value["k"]
    lines = text.split("\n")
    for number, line in enumerate(node.value.split("\n"), 1):
        for column, char in enumerate(line, 1):
            if not char.isspace():
                mark = inside(node, number, column)
                assert lines[mark.line - 1][mark.column - 1] == char


def test_a_place_beyond_the_end_is_the_end() -> None:
    root = parse(Text("t", "k: abc"), Problems())
    assert root is not None
    assert inside(root.value["k"], 1, 4)[1:] == (1, 7)
    assert inside(root.value["k"], 9, 9)[1:] == (1, 7)


def test_a_value_that_was_put_in_has_only_a_beginning() -> None:
    mark = Mark(Text("t", "k: ${env:X}"), 1, 4)
    assert inside(Node("a long value", mark, mark), 1, 8) == mark
