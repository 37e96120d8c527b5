"""The index of rules, and what rules count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from headrace.components import Guard
from headrace.engine.rules import Rule, RuleSet
from headrace.engine.tally import RuleTally
from headrace.events import Event
from headrace.metrics import Status
from headrace.testing.context import make_context
from headrace.testing.doubles import MapTransform


def rule(
    name: str,
    function: Any = lambda event: {"v": event.get("payload")},
    *,
    topics: tuple[str, ...] = ("#",),
    events: tuple[str, ...] = (),
    guards: tuple[Guard, ...] = (),
    sinks: tuple[str, ...] = ("out",),
    sources: Iterable[str] | None = None,
) -> Rule:
    config = MapTransform.Config(function=function, topics=topics, events=events, guards=guards)
    return Rule(name, [MapTransform(config, make_context(name))], sinks, sources, RuleTally(), Status("running"))


def event(topic: str = "t/1", payload: Any = "{}", source: str = "s", **columns: Any) -> Event:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return Event({"event": "message.publish", "topic": topic, "payload": text, **columns}, key=topic, source=source)


def counts(rule: Rule) -> dict[str, float]:
    values = rule.tally.snapshot()
    assert values["matched"] == values["passed"] + values["failed"]
    assert values["failed"] == values["failed.exception"] + values["failed.no_result"]
    return values


def test_only_rules_whose_topic_matches_run() -> None:
    a, b = rule("a", topics=("t/+",)), rule("b", topics=("x/#", "t/1"), sinks=("other", "out"))
    rules = RuleSet([a, b])
    found = rules.process([event("t/1"), event("t/2"), event("q")])
    assert [e.rule for e in found["out"]] == ["a", "b", "a"]
    assert [e.rule for e in found["other"]] == ["b"]
    assert counts(a)["matched"] == 2
    assert counts(b)["matched"] == 1
    assert b.tally.snapshot()["actions.total"] == 2


def test_a_rule_with_overlapping_filters_runs_once() -> None:
    a = rule("a", topics=("t/#", "t/1", "+/1"))
    assert len(RuleSet([a]).process([event("t/1")])["out"]) == 1


def test_events_match_by_either_spelling_and_not_by_hash() -> None:
    new, old = (
        rule("new", events=("$events/client/connected",), topics=()),
        rule("old", events=("$events/client_connected",), topics=()),
    )
    every, wild = rule("every"), rule("wild", events=("$events/client/+",), topics=())
    rules = RuleSet([new, old, every, wild])
    connected = Event({"event": "client.connected", "clientid": "d"}, key="d")
    assert {e.rule for e in rules.process([connected])["out"]} == {"new", "old", "wild"}
    assert rules.filters_of("any") == ("#", "$events/client/+", "$events/client/connected", "$events/client_connected")


def test_sources_restrict_a_rule() -> None:
    a = rule("a", sources=["plant"])
    rules = RuleSet([a])
    assert not rules.wanted(event(source="other"))
    assert rules.wanted(event(source="plant"))
    assert rules.process([event(source="other")]) == {}
    assert rules.filters_of("plant") == ("#",)
    assert rules.filters_of("other") == ()


def test_outputs_of_several_rules_keep_the_order_of_the_events() -> None:
    rules = RuleSet([rule("a"), rule("b")])
    found = rules.process([event(payload=str(n)) for n in range(3)])["out"]
    assert [(e["v"], e.rule) for e in found] == [(str(n), name) for n in range(3) for name in "ab"]


def test_what_a_rule_counts() -> None:
    def function(event: Event) -> Any:
        value = event.json()
        return {1: {"x": 1}, 2: [{"x": 1}, {"x": 2}], 3: None}[value["v"]]

    a = rule("a", function)
    found = RuleSet([a]).process([event(payload={"v": n}) for n in (1, 2, 3, 9)] + [event(payload="no json")])["out"]
    assert [(e["x"], e.index) for e in found] == [(1, 0), (1, 0), (2, 1)]
    values = counts(a)
    assert (values["passed"], values["failed.no_result"], values["failed.exception"]) == (2, 1, 2)
    assert values["actions.total"] == 3
    assert a.status.last_error is not None


def test_a_second_transform_sees_only_the_row() -> None:
    first = MapTransform(MapTransform.Config(function=lambda e: {"n": e.json()["n"]}), make_context())
    second = MapTransform(MapTransform.Config(function=lambda e: {"keys": sorted(e)}), make_context())
    both = Rule("a", [first, second], ("out",), None, RuleTally(), Status())
    found = RuleSet([both]).process([event(payload={"n": 1}), event(payload="bad"), event(payload={"n": 2})])["out"]
    assert [e.columns for e in found] == [{"keys": ["n"]}, {"keys": ["n"]}]
    values = counts(both)
    assert (values["matched"], values["passed"], values["failed.exception"]) == (3, 2, 1)


def test_a_transform_that_raises_fails_its_batch_only() -> None:
    class Broken(MapTransform):
        def process(self, batch: Any) -> Any:
            raise RuntimeError("bug")

    broken = Rule("broken", [Broken(MapTransform.Config(function=dict), make_context())], ("out",), None, RuleTally(),
                  Status())  # fmt: skip
    good = rule("good")
    found = RuleSet([broken, good]).process([event(), event()])
    assert [e.rule for e in found["out"]] == ["good", "good"]
    assert counts(broken)["failed.exception"] == 2


LITERALS: Mapping[str, Any] = {"seven": 7, "text": "7", "word": "abc", "yes": True, "half": 0.5}


@pytest.mark.parametrize(
    ("value", "called"),
    [
        (7, {"seven", "text", "word"}),  # a number against a word is an error the rule itself must report
        (7.0, {"seven", "text", "word"}),
        ("7", {"seven", "text"}),
        ("7.0", {"seven", "text"}),  # one too many only costs a call
        ("abc", {"seven", "text", "word", "yes", "half"}),  # a word against a number likewise
        (True, {"yes"}),
        ("true", {"seven", "text", "word", "yes", "half"}),
        (0.5, {"half", "word"}),
        (None, set()),
        ([7], set()),
        ({"a": 7}, set()),
        (8, {"word"}),
    ],
)
def test_the_hash_calls_only_rules_that_may_match(value: Any, called: set[str]) -> None:
    seen: list[str] = []
    rules = RuleSet(
        rule(name, lambda e, name=name: seen.append(name), guards=(Guard(("payload", "id"), literal),))
        for name, literal in LITERALS.items()
    )
    rules.start()
    rules.process([event(payload={"id": value})])
    assert set(seen) == called
    for one in rules.rules.values():
        assert counts(one)["matched"] == 1


def test_a_payload_without_the_field_or_without_json() -> None:
    seen: list[str] = []
    rules = RuleSet(
        rule(str(n), lambda e, n=n: seen.append(str(n)), guards=(Guard(("payload", "a", "id"), n),)) for n in range(3)
    )
    rules.start()
    rules.process([event(payload={"a": {}}), event(payload={"a": '{"id": 1}'}), event(payload={})])
    assert seen == ["1"]
    rules.process([event(payload="not json")])
    assert seen == ["1", "0", "1", "2"]
    assert [counts(one)["matched"] for one in rules.rules.values()] == [4, 4, 4]


def test_counts_of_skipped_events_survive_a_swap() -> None:
    made = [rule(str(n), lambda e: None, guards=(Guard(("qos",), n),)) for n in range(3)]
    before, after = RuleSet(made), RuleSet(made)
    before.start()
    before.process([event(qos=1), event(qos=2)])
    before.stop()
    after.start()
    after.process([event(qos=0)])
    assert [counts(one)["matched"] for one in made] == [3, 3, 3]


def test_events_of_time_go_through_the_transforms_behind() -> None:
    class Late(MapTransform):
        name = "late"

        def due(self, now: int) -> list[Event]:
            return [Event({"n": now}, key="k")]

    config = MapTransform.Config(function=lambda event: {"n": event["n"] + 1})
    late, after = Late(config, make_context()), MapTransform(config, make_context())
    both = Rule("r", [late, after], ["s"], None, RuleTally(), Status())
    assert both.timed == [(0, late)]
    assert [event.columns for _, event in both.process(late.due(5), 1)] == [{"n": 6}]
    last = Rule("r", [after, late], ["s"], None, RuleTally(), Status())
    ((_, event),) = last.process(late.due(5), 2)
    assert (event.columns, event.rule, event.key) == ({"n": 5}, "r", "k")
    assert last.tally.snapshot()["passed"] == 1
