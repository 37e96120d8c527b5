"""Templates: what is a placeholder, what it becomes, and what stands for a value that is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import UNDEFINED, DeliveryError, Event
from headrace.templates import Template, compile_body, lookup


def event(**columns: Any) -> Event:
    return Event(columns, id="i1", key="k1", timestamp=5, source="plant", rule="r1", index=2)


def render(text: str, _event: Event | None = None, **options: Any) -> str:
    return Template(text, **options).render(_event or event(a=1))


class TestPlaceholders:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("${a}", "1"),
            ("${.a}", "1"),
            ("x${a}y${a}z", "x1y1z"),
            ("100%${a}%s", "100%1%s"),
            ("${o.k}", "v"),
            ("${o.deep.er}", "true"),
            ("${.}", '{"a":1,"o":{"k":"v","deep":{"er":true}}}'),
            ("${}", '{"a":1,"o":{"k":"v","deep":{"er":true}}}'),
            ("${$}{a}", "${a}"),
            ("$${a}", "$1"),
            ("ä${a}", "ä1"),
            ("", ""),
        ],
    )
    def test_become_values(self, text: str, expected: str) -> None:
        assert render(text, event(a=1, o={"k": "v", "deep": {"er": True}})) == expected

    @pytest.mark.parametrize("text", ["${a-b}", "${a[0]}", "${ a }", "${d", "$a", "{a}", "${env:X}", "${a|b|c}"])
    def test_that_only_look_similar_are_text(self, text: str) -> None:
        template = Template(text)
        assert template.constant == text.encode()
        assert template.render(event()) == text

    def test_with_an_unknown_filter_are_an_error_with_a_hint(self) -> None:
        with pytest.raises(ValueError, match=r"unknown filter 'jason' in .*did you mean 'json'"):
            Template("${a|jason}")
        with pytest.raises(ValueError, match="there are raw, json, urlencode, path"):
            Template("${a|zzz}")


class TestPaths:
    def test_go_into_a_json_string_once(self) -> None:
        inner = json.dumps({"x": 1, "again": json.dumps({"y": 2})})
        for column in ("payload", "other"):
            one = event(**{column: inner})
            assert render(f"${{{column}.x}}", one) == "1"
            assert render(f"${{{column}.again}}", one) == '{"y": 2}'
            assert render(f"${{{column}.again.y}}", one) == "null"
        assert render("${o.text.x}", event(o={"text": '{"x": 3}'})) == "3"

    @pytest.mark.parametrize("payload", ["no json", "[1,2]", "7", b"\xff", 5, None, {"y": 1}, ["x"]])
    def test_that_lead_nowhere_are_undefined(self, payload: Any) -> None:
        assert lookup("payload.x")(event(payload=payload)) is UNDEFINED
        assert lookup("other.x")(event(other=payload)) is UNDEFINED
        assert lookup("nope")(event()) is UNDEFINED
        assert lookup("payload.x.y")(event(payload='{"x": "1"}')) is UNDEFINED

    def test_of_meta_read_the_engine_unless_the_row_has_that_column(self) -> None:
        one = event(a=1)
        one.sink, one.attempt = "s1", 3
        text = "${meta.id}|${meta.key}|${meta.timestamp}|${meta.source}|${meta.rule}|${meta.index}"
        assert render(text, one) == "i1|k1|5|plant|r1|2"
        assert render("${meta.sink}|${meta.attempt}|${meta.delivery_id}", one) == f"s1|3|{one.delivery_id}"
        assert render("${meta.nope}${meta.a.b}", one) == "nullnull"
        assert json.loads(render("${meta}", one))["delivery_id"] == one.delivery_id
        assert render("${meta.id}", event(meta={"id": "mine"})) == "mine"

    def test_an_empty_step_is_no_column(self) -> None:
        assert render("${a..b}", event(a={"": {"b": 7}})) == "7"
        assert render("${a.}", event(a={"x": 1})) == "null"


class TestText:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ('x"y', 'x"y'),
            (0, "0"),
            (2**70, str(2**70)),
            (42.1337, "42.1337"),
            (1.0, "1.0"),
            (1e-12, "0.0"),
            (-0.5, "-0.5"),
            (1e300, "1e+300"),
            (True, "true"),
            (None, "null"),
            ({"k": "v"}, '{"k":"v"}'),
            (["a", 1], '["a",1]'),
        ],
    )
    def test_of_each_type(self, value: Any, expected: str) -> None:
        assert render("${v}", event(v=value)) == expected

    def test_of_bytes_is_the_bytes(self) -> None:
        data = bytes(range(256))
        assert Template("${v}").render_bytes(event(v=data)) == data
        assert Template("<${v}>").render_bytes(event(v=data)) == b"<" + data + b">"
        assert Template("${v}").render(event(v=data)).encode("utf-8", "surrogateescape") == data

    def test_of_a_lone_surrogate_is_sendable(self) -> None:
        assert Template("${v}").render_bytes(event(v="a\ud800b")) == b"a?b"


class TestFilters:
    def test_json_quotes(self) -> None:
        assert render('{"m":${m|json}}', event(m='say "hi"\n')) == '{"m":"say \\"hi\\"\\n"}'
        assert render("${n|json}${o|json}${.|json}", event(n=1.5, o=[1])) == '1.5[1]{"n":1.5,"o":[1]}'

    def test_urlencode_and_path_percent_encode(self) -> None:
        one = event(v="a b/ä?#%")
        assert render("${v|urlencode}", one) == "a%20b%2F%C3%A4%3F%23%25"
        assert render("${v|path}", one) == "a%20b/%C3%A4%3F%23%25"
        assert render("${.|urlencode}", event(a=1)) == "%7B%22a%22%3A1%7D"
        assert render("${v|urlencode}", event(v="ü" * 300)) == "%C3%BC" * 300

    def test_a_placeholders_own_filter_beats_the_default(self) -> None:
        assert render("${v}${v|raw}${v|path}", event(v="/"), filter="urlencode") == "%2F//"


class TestMissing:
    @pytest.mark.parametrize(("missing", "expected"), [("null", "null"), ("omit", ""), ("undefined", "undefined")])
    def test_in_text(self, missing: Any, expected: str) -> None:
        assert render("<${nope}>", missing=missing) == f"<{expected}>"
        assert render("<${a}>", event(a=UNDEFINED), missing=missing) == f"<{expected}>"

    @pytest.mark.parametrize(
        ("missing", "expected"), [("null", "null"), ("omit", "null"), ("undefined", '"undefined"')]
    )
    def test_as_json_stays_json(self, missing: Any, expected: str) -> None:
        assert render("${nope|json}", missing=missing) == expected

    @pytest.mark.parametrize("text", ["${a.b}", "x${a.b}y", "${a.b|json}"])
    def test_as_an_error_names_the_path(self, text: str) -> None:
        with pytest.raises(DeliveryError, match=r"no value for \$\{a.b\}") as caught:
            render(text, missing="error")
        assert caught.value.kind == "invalid"

    def test_null_is_not_missing(self) -> None:
        assert render("${a}", event(a=None), missing="error") == "null"

    @pytest.mark.parametrize(
        ("missing", "expected"),
        [
            ("null", {"a": None, "b": 1, "l": [None]}),
            ("omit", {"b": 1, "l": []}),
            ("undefined", {"a": "undefined", "b": 1, "l": ["undefined"]}),
        ],
    )
    def test_in_bodies(self, missing: Any, expected: Any) -> None:
        one = event(a=UNDEFINED, b=1, l=[UNDEFINED])
        assert json.loads(compile_body(None, missing=missing)(one)) == expected
        assert json.loads(compile_body("${.}", missing=missing)(one)) == expected
        tree = {"a": "${nope}", "b": "${b}", "l": ["${nope}"]}
        assert json.loads(compile_body(tree, missing=missing)(one)) == expected

    @pytest.mark.parametrize("body", [None, {"x": "${nope}"}, ["${nope}"], {"x": "<${nope}>"}])
    def test_in_bodies_as_an_error(self, body: Any) -> None:
        with pytest.raises(DeliveryError):
            compile_body(body, missing="error")(event(a=UNDEFINED))


class TestBodies:
    def test_without_a_body_it_is_the_columns_and_nothing_else(self) -> None:
        assert compile_body(None)(event(clientid="c", t=1)) == b'{"clientid":"c","t":1}'

    def test_an_empty_text_is_an_empty_body(self) -> None:
        assert compile_body("")(event(a=1)) == b""

    def test_a_text_inserts_values_as_they_are(self) -> None:
        assert compile_body("${payload.msg}")(event(payload='{"msg":"hello"}')) == b"hello"
        assert compile_body('m="${m}"')(event(m='"')) == b'm="""'

    def test_a_tree_keeps_types(self) -> None:
        tree = {
            "text": "${s}",
            "number": "${n}",
            "list": ["${n}", "of ${s}", 3, None, True],
            "object": {"o": "${o}"},
            "all": "${.}",
            "dollar": "${$}{s}",
            "fixed": {"x": [1.5]},
            "quoted": "${n|json}",
        }
        columns = {"s": 'a"b', "n": 7, "o": {"k": [1]}}
        assert json.loads(compile_body(tree)(event(**columns))) == {
            "text": 'a"b',
            "number": 7,
            "list": [7, 'of a"b', 3, None, True],
            "object": {"o": {"k": [1]}},
            "all": columns,
            "dollar": "${s}",
            "fixed": {"x": [1.5]},
            "quoted": "7",
        }

    def test_names_of_a_tree_may_be_templates(self) -> None:
        body = compile_body({"${d}": "${v}", "n": 1})
        assert json.loads(body(event(d="dev1", v=2))) == {"dev1": 2, "n": 1}

    @pytest.mark.parametrize("value", [5, True, [1, 2], {"a": None}])
    def test_a_tree_without_placeholders_is_constant(self, value: Any) -> None:
        assert json.loads(compile_body(value)(event())) == value

    def test_bytes_in_json_are_text_or_marked_base64(self) -> None:
        binary = b"\xff\x00\xfe"
        assert json.loads(compile_body(None)(event(payload=b"text"))) == {"payload": "text"}
        assert json.loads(compile_body(None)(event(payload=binary))) == {
            "payload": "/wD+",
            "payload_is_base64": True,
        }
        assert json.loads(compile_body({"p": {"v": "${payload}"}})(event(payload=binary))) == {
            "p": {"v": "/wD+", "v_is_base64": True}
        }
        assert compile_body("${payload}")(event(payload=binary)) == binary

    def test_what_plain_json_cannot_hold_is_still_sent(self) -> None:
        assert json.loads(compile_body(None)(event(n=2**70))) == {"n": 2**70}
        assert json.loads(compile_body(None)(event(o={1: "a"}))) == {"o": {"1": "a"}}


PIECES = [
    ("${a}", "1"),
    ("${nope}", "null"),
    ("${$}", "$"),
    ("${a-b}", "${a-b}"),
    ("{a}", "{a}"),
    ("%d", "%d"),
    ("ä", "ä"),
]


@given(st.lists(st.sampled_from(PIECES)))
def test_a_text_is_the_sum_of_its_pieces(pieces: list[tuple[str, str]]) -> None:
    assert render("".join(text for text, _ in pieces)) == "".join(expected for _, expected in pieces)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_an_exact_placeholder_in_a_tree_carries_any_value_unchanged(value: Any) -> None:
    body = compile_body({"x": ["${v}"]})(Event({"v": value}))
    assert json.loads(body) == {"x": [value]}


class TestJsonTexts:
    """Text bodies that are JSON around their placeholders."""

    @pytest.mark.parametrize(
        ("body", "columns", "sent"),
        [
            ('{"m":"${m}"}', {"m": 'say "hi"\n\\'}, {"m": 'say "hi"\n\\'}),
            ('{"m":"<${m}>"}', {"m": {"k": '"'}}, {"m": '<{"k":"\\""}>'}),
            ('{"m":"${m}"}', {"m": b"\xff"}, {"m": "/w=="}),
            ('{"m":"${m} \\" ${m}"}', {"m": '"'}, {"m": '" " "'}),
            ('{"m":${m}}', {"m": 'say "hi"'}, {"m": 'say "hi"'}),
            ('{"m":${m}}', {"m": '{"k":[1]}'}, {"m": {"k": [1]}}),
            ('{"m":${m}}', {"m": 1.5}, {"m": 1.5}),
            ('{"m":${m}}', {"m": ""}, {"m": ""}),
            ('{"m":${m}}', {"m": b"\xff"}, {"m": "/w=="}),
            ('{"m":${m}}', {"m": [1, None, True]}, {"m": [1, None, True]}),
            ('{"m":${m|json}}', {"m": "1"}, {"m": "1"}),
            ('{"${m}":${.}}', {"m": '"'}, {'"': {"m": '"'}}),
            ('{"all":"${.}"}', {"m": '"'}, {"all": '{"m":"\\""}'}),
            ('["${m}",${m}]', {"m": "x"}, ["x", "x"]),
            ('{"$":"${$}{m} ${a-b} ${m}"}', {"m": '"'}, {"$": '${m} ${a-b} "'}),
        ],
    )
    def test_stay_json_whatever_is_inserted(self, body: str, columns: Any, sent: Any) -> None:
        assert json.loads(compile_body(body)(event(**columns))) == sent

    def test_of_several_lines_too(self) -> None:
        body = compile_body('{"index":"${m}"}\n{"m":${m}}\n')
        assert [json.loads(line) for line in body(event(m='"')).splitlines()] == [{"index": '"'}, {"m": '"'}]

    @pytest.mark.parametrize("missing", ["null", "omit", "undefined"])
    def test_with_what_is_not_there(self, missing: Any) -> None:
        word = {"null": "null", "omit": "", "undefined": "undefined"}[missing]
        assert json.loads(compile_body('{"m":"${m}"}', missing=missing)(event())) == {"m": word}
        bare = compile_body('{"m":${m}}', missing=missing)(event())
        assert bare == (b'{"m":undefined}' if missing == "undefined" else b'{"m":null}')

    @pytest.mark.parametrize(
        "text", ['m="${m}"', "${m}", '"${m}"', '{"m":"${m}"', '{"m":"${m|raw}"}', '{"a":1} and "${m}"', "{${m}}"]
    )
    def test_are_no_others(self, text: str) -> None:
        assert compile_body(text)(event(m='"')) == text.replace("${m}", '"').replace("${m|raw}", '"').encode()


@given(json_values)
def test_any_value_leaves_a_json_text_json(value: Any) -> None:
    body = '{"in": "${v}", "as": ${v}, "with": ["x \\" ${v} \\\\", {"${v}": 0}], "json": ${v|json}}'
    found = json.loads(compile_body(body)(event(v=value)))
    assert found["in"] == Template("${v}").render(event(v=value))
    assert found["with"][0] == f'x " {found["in"]} \\'
    assert found["json"] == value
    if not isinstance(value, str | float):
        assert found["as"] == value
