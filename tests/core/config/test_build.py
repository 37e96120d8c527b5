"""From a configuration's text to a plan, and every error on the way with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from headrace.config import Checked, InvalidConfig, load
from headrace.config.model import NAME_RULE, PipelineSpec
from headrace.errors import ConfigError
from headrace.registry import Registry

Errors = Callable[..., list[str]]
Marked = Callable[..., list[str]]
Check = Callable[..., Checked]

WHOLE = """
    name: plant1
    sources:
      ticks: {type: tick, every: 500ms}
      more: {type: tick}
    connectors:
      far: {type: wire, url: "tcp://far:1", pool: 2}
    rules:
      one:
        lang: SELECT
        to: [a, b]
        sources: ticks
      two:
        transforms:
          - {type: lang, query: SELECT}
          - {type: step, n: 3}
        to: c
    sinks:
      a: {type: post, connector: far, path: /a, body: {n: "${n}", list: [1, true, null]}, ttl: 1h, on_error: c}
      b: {type: post, url: "tcp://near:1", headers: {x: y}, batch: {size: 5, as: lines}}
      c: {type: out, wait: 1s, retry: {on: [503, 5xx, network], max: 1m}}
    stream: {url: "embedded:///var/lib/x", sync: full}
    api: {}
    shutdown_timeout: 5s
"""


def plan(checked: Checked) -> PipelineSpec:
    assert checked.spec is not None, "\n".join(map(str, checked.problems))
    return checked.spec


def config(part: Any) -> dict[str, Any]:
    return part.config.model_dump(exclude_unset=True)  # type: ignore[no-any-return]


def test_a_whole_configuration_becomes_a_plan(checking: Check) -> None:
    checked = checking(WHOLE)
    spec = plan(checked)
    assert checked.problems == []
    assert (spec.name, spec.state_dir, spec.shutdown_timeout) == ("plant1", Path("/var/lib/x"), 5.0)
    assert spec.stream.sync == "full"
    assert spec.api is not None
    assert spec.api.listen == "127.0.0.1:8080"
    assert config(spec.sources["ticks"]) == {"every": 0.5}
    assert config(spec.connectors["far"]) == {"url": "tcp://far:1", "pool": 2}


def test_a_rule_is_transforms_sinks_and_sources(checking: Check) -> None:
    rules = plan(checking(WHOLE)).rules
    assert [step.cls and step.cls.name for step in rules["one"].transforms] == ["lang"]
    assert config(rules["one"].transforms[0]) == {"query": "SELECT"}
    assert (rules["one"].sinks, rules["one"].sources) == (("a", "b"), ("ticks",))
    assert [config(step) for step in rules["two"].transforms] == [{"query": "SELECT"}, {"n": 3}]
    assert (rules["two"].sinks, rules["two"].sources) == (("c",), None)


def test_a_sinks_options_are_split_between_engine_sink_and_connection(checking: Check) -> None:
    spec = plan(checking(WHOLE))
    a, b, c = (spec.sinks[name] for name in "abc")
    assert config(a) == {"path": "/a", "body": {"n": "${n}", "list": [1, True, None]}}
    assert (a.connector, a.options.ttl, a.options.on_error) == ("far", 3600.0, "c")
    assert config(b) == {"headers": {"x": "y"}}
    assert (b.connector, b.options.batch.size, b.options.batch.as_) == ("b", 5, "lines")
    inline = spec.inline_connectors["b"]
    assert inline.inline
    assert config(inline) == {"url": "tcp://near:1"}
    assert list(spec.inline_connectors) == ["b"]
    assert (c.connector, c.options.retry.on, c.options.retry.max) == (None, (503, "5xx", "network"), 60.0)


def test_load_gives_the_plan_or_raises_everything_at_once(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("rules: {r: {lang: SELECT, to: o}}\nsources: {t: {type: tick}}\nsinks: {o: {type: out}}\n")
    assert load([path], registry=registry).rules["r"].sinks == ("o",)
    with pytest.raises(ConfigError) as caught:
        load([path], ["sinks.o.typo=1", "rules.r.to=p"], registry=registry)
    assert isinstance(caught.value, InvalidConfig)
    assert [problem.severity for problem in caught.value.problems] == ["error", "error", "warning"]
    assert "unknown key 'typo'" in str(caught.value)
    assert "no sink 'p'" in str(caught.value)


def test_the_same_file_has_the_same_name_and_another_file_another(checking: Check) -> None:
    first = plan(checking("api:\n")).name
    assert first == plan(checking("sinks: {}\n")).name
    assert first.startswith("p-")
    assert len(first) == len("p-") + 6


OK = "{type: lang, query: x}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('¦sorces: {}', ["unknown key 'sorces' (did you mean 'sources'?)"]),
        ('sources: ¦[a]', ['sources is a map of names']),
        ('sources: {¦a: {}}', ["sources.a: needs 'type', one of tick"]),
        ('sources: {a: ¦tick}', ['sources.a is a map with a type']),
        ('sources: {a: {type: ¦tik}}', ["sources.a: unknown source type 'tik' (did you mean 'tick'?)"]),
        ('sources: {a: {type: ¦[tick]}}', ["sources.a: needs 'type', one of tick"]),
        ('sources: {a: {type: tick, ¦evry: 1s}}', ["sources.a: unknown key 'evry' (did you mean 'every'?)"]),
        ('sources: {a: {type: tick, ¦typ: 1s}}', ["sources.a: unknown key 'typ' (did you mean 'type'?)"]),
        ('sources: {a: {type: tick, every: ¦1}}', ['sources.a.every: a duration needs a unit, such as 5s or 100ms']),
        ('sources: {a: {type: tick, every: ¦0}}', ['sources.a.every: should be greater than 0']),
        ('sources: {a: {type: tick, password: ¦123}}', ['sources.a.password: should be text; quote it']),
        ('name: ¦a b', [f"name: should be {NAME_RULE}"]),
        ('shutdown_timeout: ¦soon', ['shutdown_timeout: not a duration; write it like 5s or 100ms']),
        ('stream: {¦ulr: x}', ["stream: unknown key 'ulr' (did you mean 'url'?)"]),
        ('plugins: {deny: ¦x}', ['plugins.deny: should be a list']),
    ],
)  # fmt: skip
def test_an_error_stands_where_it_is(marked: Marked, text: str, expected: list[str]) -> None:
    assert marked(text) == expected


@pytest.mark.parametrize("name", ["-x", "_x", "a b", "a.b", "ä", "x" * 255, '""'])
def test_a_name_is_letters_digits_dash_and_underscore(errors: Errors, name: str) -> None:
    (error,) = errors(f"sinks:\n  {name}: {{type: out}}\n")
    assert error.startswith("2:3: sinks: ")
    assert "is no name" in error


@pytest.mark.parametrize("name", ["A1", "my-sink", "my_sink", "7", "x" * 254])
def test_a_good_name_is_taken(errors: Errors, name: str) -> None:
    assert errors(f"sinks:\n  {name}: {{type: out}}\n") == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('r: {lang: x, to: a}', []),
        ('r: {lang: x, to: []}', []),
        ('r: {transforms: [], to: a}', []),
        ('r: ¦x', ['rules.r is a map with sql and to']),
        ('¦r: {to: a}', ['rules.r: needs one of lang, step, transforms']),
        ('¦r: {lang: x}', ["rules.r: needs 'to', the name of a sink or a list of names"]),
        ('r: {lang: x, to: ¦A}', ["rules.r.to: there is no sink 'A'"]),
        ('r: {lang: x, to: [a, ¦aa]}', ["rules.r.to: there is no sink 'aa' (did you mean 'a'?)"]),
        ('r: {lang: x, to: [a, ¦a]}', ["rules.r.to: 'a' is named twice"]),
        ('r: {lang: x, to: ¦{a: b}}', ['rules.r.to: takes a name or a list of names']),
        ('r: {lang: x, to: a, sources: [¦s]}', ["rules.r.sources: there is no source 's'"]),
        ('r: {lang: x, ¦too: a, to: a}', ["rules.r: unknown key 'too' (did you mean 'to'?)"]),
        ('¦r: {¦lan: x, to: a}',
         ['rules.r: needs one of lang, step, transforms', "rules.r: unknown key 'lan' (did you mean 'lang'?)"]),
        ('r: {lang: ¦[x], to: a}', ['rules.r.lang.query: should be text']),
        ('¦r: {lang: x, transforms: [], to: a}',
         ["rules.r: several transforms go into the list 'transforms', in their order"]),
        ('r: {transforms: ¦{type: lang}, to: a}', ['rules.r.transforms is a list of maps, each with a type']),
        ('r: {transforms: [¦{type: lang}], to: a}', ["rules.r.transforms.0: needs 'query'"]),
        ('r: {transforms: [{type: step, n: ¦x}], to: a}', ['rules.r.transforms.0.n: should be a whole number']),
    ],
)  # fmt: skip
def test_a_rule_is_checked(marked: Marked, rule: str, expected: list[str]) -> None:
    assert marked(f"sinks:\n  a: {{type: out}}\nrules:\n  {rule}\n") == expected


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        ('s: {type: post, connector: far}', []),
        ('s: {type: post, url: x, pool: 3, token: t}', []),
        ('s: {type: post, ¦conector: far, url: x}',
         ["sinks.s: unknown key 'conector' (did you mean 'connector'?)"]),
        ('s: {type: post, url: x, ¦poool: 3}', ["sinks.s: unknown key 'poool' (did you mean 'pool'?)"]),
        ('s: {type: post, url: x, ¦retri: {}}', ["sinks.s: unknown key 'retri' (did you mean 'retry'?)"]),
        ('s: {type: post, url: x, pool: ¦0}', ['sinks.s.pool: should be greater than or equal to 1']),
        ('¦s: {type: post}', ["sinks.s: needs 'url', or the name of a connector as 'connector'"]),
        ('s: {type: post, connector: ¦fra}',
         ["sinks.s.connector: there is no connector 'fra' (did you mean 'far'?)"]),
        ('s: {type: post, connector: ¦[far]}', ['sinks.s.connector: takes the name of a connector']),
        ('s: {type: post, connector: ¦odd}',
         ["sinks.s.connector: 'odd' is of type 'other_wire', a 'post' sink needs 'wire'"]),
        ('s: {type: post, connector: far, ¦url: x}',
         ["sinks.s: 'url' is an option of the connector; give it there"]),
        ('s: {type: out, ¦connector: far}', ["sinks.s: unknown key 'connector'"]),
        ('s: {type: out, retry: {initial: ¦1}}',
         ['sinks.s.retry.initial: a duration needs a unit, such as 5s or 100ms']),
        ('s: {type: out, retry: {¦initail: 1s}}',
         ["sinks.s.retry: unknown key 'initail' (did you mean 'initial'?)"]),
        ('s: {type: out, batch: {¦as_: lines}}', ["sinks.s.batch: unknown key 'as_' (did you mean 'as'?)"]),
        ('s: {type: out, rate: ¦5}', ['sinks.s.rate: should be text; quote it']),
        ('s: {type: out, rate: ¦5/day}', ['sinks.s.rate: write a number and s, m or h, such as 50/s']),
        ('s: {type: out, key: ¦"x ${a|nope}"}',
         ["sinks.s.key: unknown filter 'nope' in ${a|nope} (there are raw, json, urlencode, path)"]),
        ('s: {type: out, rate: ¦0/s}', ['sinks.s.rate: a rate must be more than 0']),
        ('s: {type: out, on_error: ¦drp}',
         ["sinks.s.on_error: takes dead_letter, drop or the name of a sink, not 'drp' (did you mean 'drop'?)"]),
        ('s: {type: out, on_error: ¦s}', ['sinks.s.on_error: goes round: s → s']),
        ('s: {type: post, url: x, inner: {deep: ¦c}}', ["sinks.s.inner.deep: should be 'a' or 'b'"]),
        ('s: {type: post, url: x, inner: {¦depp: a}}',
         ["sinks.s.inner: unknown key 'depp' (did you mean 'deep'?)"]),
        ('s: {type: post, url: x, codes: [1, ¦some]}',
         ["sinks.s.codes.1: should be a whole number, or should be 'all'"]),
    ],
)  # fmt: skip
def test_a_sink_is_checked(marked: Marked, sink: str, expected: list[str]) -> None:
    connectors = "connectors: {far: {type: wire, url: x}, odd: {type: other_wire}}"
    assert marked(f"{connectors}\nsinks:\n  {sink}\n") == expected


def test_fallbacks_that_go_round_are_an_error(errors: Errors) -> None:
    found = errors(
        """
        sinks:
          a: {type: out, on_error: b}
          b: {type: out, on_error: c}
          c: {type: out, on_error: b}
          d: {type: out, on_error: drop}
        """
    )
    assert found == ["3:28: sinks.b.on_error: goes round: b → c → b", "4:28: sinks.c.on_error: goes round: c → b → c"]


def test_what_nothing_uses_is_a_warning(checking: Check) -> None:
    checked = checking(
        """
        connectors: {far: {type: wire, url: x}}
        sources: {t: {type: tick}}
        rules: {r: {lang: x, to: a}}
        sinks: {a: {type: out, on_error: b}, b: {type: out}, c: {type: out}}
        """
    )
    assert checked.spec is not None
    assert [(p.severity, p.line, p.message) for p in checked.problems] == [
        ("warning", 1, "connectors.far: no sink uses it"),
        ("warning", 4, "sinks.c: no rule or sink sends to it"),
    ]


def test_a_batch_for_a_sink_that_cannot_join_is_a_warning(checking: Check) -> None:
    text = """\
sources: {clock: {type: tick}}
rules: {r: {lang: x, to: [b, c, one]}}
sinks:
  b: {type: post, url: "tcp://near:1", batch: {size: 5}}
  c: {type: out, batch: {size: 5}}
  one: {type: out, batch: {size: 1}}
"""
    (problem,) = checking(text).problems
    assert (problem.severity, problem.line, problem.column) == ("warning", 5, 18)
    assert problem.message == "sinks.c.batch: a sink of type 'out' cannot join events; each goes by itself"


def test_a_plugin_that_is_not_there_is_a_warning_where_it_is_named(checking: Check) -> None:
    checked = checking("plugins: {allow: [made], deny: [torm, off]}\n")
    assert checked.spec is not None
    assert [(p.line, p.column, p.message) for p in checked.problems if "plugin" in p.message] == [
        (1, 33, "plugins: no plugin 'torm' is installed (did you mean 'torn'?)")
    ]


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "[::1]:0", "localhost:65535", "0.0.0.0:1"])
def test_the_api_listens_at_host_and_port(errors: Errors, listen: str) -> None:
    assert errors(f"api: {{listen: '{listen}', users: users.txt}}") == []


@pytest.mark.parametrize("listen", ["8080", ":8080", "localhost", "localhost:x", "localhost:70000", "::1:8080", "a:-1"])
def test_what_is_no_address_to_listen_at_is_an_error(errors: Errors, listen: str) -> None:
    text = "1:15: api.listen: write host:port, such as 127.0.0.1:8080 or [::1]:8080"
    assert errors(f"api: {{listen: '{listen}'}}") == [text]


def test_an_empty_configuration_is_a_plan_with_warnings(checking: Check) -> None:
    checked = checking("")
    assert plan(checked).rules == {}
    assert [p.message for p in checked.problems] == ["no sources: nothing comes in", "no rules: nothing goes out"]


def test_a_plugin_that_failed_breaks_only_what_uses_it(checking: Check) -> None:
    checked = checking(
        """
        sources: {t: {type: tick}, broken: {type: torn, any: thing}}
        connectors: {far: {type: torn}}
        rules:
          good: {lang: x, to: a}
          bad: {torn: x, to: a}
        sinks: {a: {type: out, on_error: b}, b: {type: torn, ttl: 5s, on_error: c}, c: {type: post, connector: far}}
        """
    )
    spec = plan(checked)
    reason = "plugin 'torn' failed: ImportError: no torn"
    assert (spec.sources["broken"].cls, spec.sources["broken"].broken) == (None, reason)
    assert (spec.connectors["far"].cls, spec.connectors["far"].broken) == (None, reason)
    assert (spec.sinks["b"].cls, spec.sinks["b"].broken, spec.sinks["b"].options.ttl) == (None, reason, 5.0)
    assert (spec.sinks["c"].cls, spec.sinks["c"].broken) == (None, f"connector 'far': {reason}")
    assert spec.rules["bad"].transforms[0].broken == reason
    assert spec.rules["good"].transforms[0].broken is None
    assert [(p.severity, p.line, p.message) for p in checked.problems] == [
        ("warning", 1, f"sources.broken cannot run: {reason}"),
        ("warning", 2, f"connectors.far cannot run: {reason}"),
        ("warning", 5, f"rules.bad.torn cannot run: {reason}"),
        ("warning", 6, f"sinks.b cannot run: {reason}"),
    ]


def test_a_plugin_that_is_switched_off_is_an_error_where_it_is_used(errors: Errors) -> None:
    text = "the plugin 'off' is switched off by 'plugins'"
    found = errors("sinks: {a: {type: off}}\nrules: {r: {off: x, to: a}}\n")
    assert found == [f"1:19: sinks.a: {text}", f"2:13: rules.r.off: {text}"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("embedded:///a/b", Path("/a/b")),
        ("embedded://memory", None),
        ("kafka://one:9092,two:9092", Path("state/headrace/p1")),
    ],
)
def test_the_streams_address_gives_the_state_directory(
    checking: Check, tmp_path: Path, url: str, expected: Path | None
) -> None:
    spec = plan(checking(f"name: p1\nstream: {{url: {url!r}}}\n"))
    assert spec.state_dir == (tmp_path / expected if expected else None)


@pytest.mark.parametrize("url", ["embedded://a/b", "embedded:a", "embedded:///", "kafka://host", "redis://x:1", "/a"])
def test_an_address_that_is_none_is_an_error(errors: Errors, url: str) -> None:
    (error,) = errors(f"stream: {{url: {url!r}}}\n")
    assert error.startswith("1:15: stream.url: ")
    assert "embedded:///" in error or "kafka://host:port" in error


BLOCK = """
rules:
  r:
    to: a
    lang: {style}
{query}
sinks: {{a: {{type: out}}}}
"""


@pytest.mark.parametrize(
    ("style", "query", "place"),
    [
        ("SELECT a BAD b", "", "4:20"),
        ("'it''s BAD'", "", "4:18"),
        ('"a\\tb \\"c\\" \\u00e9 BAD"', "", "4:30"),
        ("|", "      SELECT a,\n        b BAD", "6:11"),
        ("|2-", "      SELECT a,\n\n        BAD", "7:9"),
        (">-", "      SELECT a,\n      b BAD", "6:9"),
        ("SELECT a,", "      b BAD c", "5:9"),
        ('"SELECT a,', '      b BAD c"', "5:9"),
        ("&anchor BAD", "", "4:19"),
    ],
)
def test_an_error_in_a_query_stands_in_the_query(errors: Errors, style: str, query: str, place: str) -> None:
    (error,) = errors(BLOCK.format(style=style, query=query))
    assert error == f"{place}: rules.r.lang.query: that is bad"


def test_an_error_in_a_query_that_was_filled_in_stands_at_its_beginning(errors: Errors) -> None:
    (error,) = errors("sinks: {a: {type: out}}\nrules: {r: {lang: 'x ${env:Q}', to: a}}\n", Q="BAD")
    assert error.startswith("2:19: ")


@pytest.mark.parametrize(
    ("given", "ttl", "longest", "on"),
    [
        ("", 45, 15, ("network",)),
        ("ttl: 1s", 1, 15, ("network",)),
        ("ttl: null, retry: {max: 2s}", None, 2, ("network",)),
        ("retry: {on: [500]}", 45, 15, (500,)),
    ],
)
def test_a_sink_may_mean_other_defaults_and_the_user_wins(
    checking: Check, given: str, ttl: float | None, longest: float, on: tuple[Any, ...]
) -> None:
    options = plan(checking(f"sinks: {{a: {{type: out, path: slow, {given}}}}}\n")).sinks["a"].options
    assert (options.ttl, options.retry.max, options.retry.on) == (ttl, longest, on)
    assert options.retry.initial == 0.1


def test_wrong_defaults_are_the_plugins_fault(errors: Errors) -> None:
    (error,) = errors("sinks: {a: {type: out, path: wrong}}\n")
    assert error.startswith("1:9: sinks.a: its defaults are wrong, which is the plugin's fault: ")


def test_no_plugin_is_loaded_that_the_configuration_forbids(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("plugins: {deny: [console]}\nsinks: {a: {type: console}}\n")
    with pytest.raises(InvalidConfig, match="the plugin 'console' is switched off"):
        load([path])


# -- whatever is written, the answer is a plan or problems ----------------------------------------------------------

JUNK = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "a", "5s", "${env:NO}", "${", [], ["a"], [None], {}, {"a": 1}]
).map(deepcopy)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_in_any_place_is_a_problem_and_no_crash(checking: Check, data: st.DataObject) -> None:
    tree: Any = YAML(typ="safe", pure=True).load(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = ("top", *data.draw(st.sampled_from(places(tree))))
        at: Any = {"top": tree}
        for step in way:
            at = at[step]
        if isinstance(at, dict) and data.draw(st.booleans()):
            at[data.draw(st.sampled_from(["", "type", "to", "connector", "on_error", "url", "zz"]))] = data.draw(JUNK)
        else:
            at[last] = data.draw(JUNK)
        tree = at["top"] if not way else tree
    checked = checking(json.dumps(tree))
    assert (checked.spec is None) == any(problem.severity == "error" for problem in checked.problems)
    for problem in checked.problems:
        assert str(problem)
        assert problem.line >= 1
        assert problem.column >= 1
