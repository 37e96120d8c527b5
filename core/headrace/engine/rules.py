"""Rules: which want an event, and what they make of it.

The index is built once per set of rules. A topic finds its rules by a trie, remembered per topic; rules on the same
input that differ in an equality (``WHERE payload.id = 7``) are found by a hash of that field. So rules that do not
match cost nothing per event; their counters are made up when somebody reads them.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import orjson

from headrace.components import Inputs, Transform
from headrace.engine.tally import RuleTally, SinkTally
from headrace.engine.taps import Taps
from headrace.events import UNDEFINED, Event
from headrace.metrics import Status
from headrace.topics import TopicIndex, event_topics, problem

__all__ = ["Rule", "RuleSet"]


class Rule:
    """One rule, ready to run. ``discarded``: how many of its sinks are disabled. ``refused``: the counters of those
    whose connector is. ``chosen``: how many events the index found for it."""

    __slots__ = (
        "chosen", "discarded", "name", "refused", "sinks", "sources", "status", "tally", "timed", "transforms",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        transforms: Sequence[Transform[Any]],
        sinks: Sequence[str],
        sources: Iterable[str] | None,
        tally: RuleTally,
        status: Status,
        discarded: int = 0,
        refused: Sequence[SinkTally] = (),
    ) -> None:
        self.name = name
        self.transforms = tuple(transforms)
        self.timed = [(n, each) for n, each in enumerate(transforms) if type(each).due is not Transform.due]
        """Its transforms that bring events about by time, each with its place."""
        self.sinks = tuple(sinks)
        self.sources = frozenset(sources) if sources is not None else None
        self.tally = tally
        self.status = status
        self.discarded = discarded
        self.refused = tuple(refused)
        self.chosen = 0

    def process(
        self, events: Sequence[Event], first: int = 0, failed: dict[int, Exception] | None = None
    ) -> list[tuple[int, Event]]:
        """The rule's outputs, each with the index of its parent in ``events``. Counts; never raises.

        ``first``: the transform to begin with. Behind the last one, the events are the rows. ``failed`` is given what
        was raised, by the index of the event.
        """
        total = len(events)
        failed = {} if failed is None else failed
        if first == len(self.transforms):
            outputs, passed = self._outputs(events, range(total), [(i, e.columns) for i, e in enumerate(events)])
        else:
            outputs, passed = self._through(self.transforms[first], events, range(total), failed)
        for transform in self.transforms[first + 1 :]:
            current, parents = [event for _, event in outputs], [parent for parent, _ in outputs]
            outputs, passed = self._through(transform, current, parents, failed)
        if failed:
            outputs = [pair for pair in outputs if pair[0] not in failed]
            passed = len({parent for parent, _ in outputs})
            for reason, n in Counter(f"{type(error).__name__}: {error}" for error in failed.values()).items():
                self.status.error(reason, n)
        self.tally.processed(total, passed, len(failed), total - len(failed) - passed)
        if outputs:
            self.tally.acted(len(outputs), len(self.sinks), self.discarded, len(self.refused))
            for sink in self.refused:
                sink.refused(len(outputs))
        return outputs

    def _through(
        self, transform: Transform[Any], events: Sequence[Event], parents: Sequence[int], failed: dict[int, Exception]
    ) -> tuple[list[tuple[int, Event]], int]:
        """The outputs of one transform, and of how many parents they are. Failures go into ``failed``."""
        try:
            rows, _, exceptions = transform.process(events)
        except Exception as exc:  # noqa: BLE001 - a transform may raise anything; its batch fails with it
            failed.update(dict.fromkeys(parents, exc))
            return [], 0
        if exceptions:
            failed.update((parents[i], error) for i, error in exceptions.items())
        return self._outputs(events, parents, rows)

    def _outputs(
        self, events: Sequence[Event], parents: Sequence[int], rows: Sequence[tuple[int, dict[str, Any]]]
    ) -> tuple[list[tuple[int, Event]], int]:
        name = self.name
        outputs = []
        last, index, passed = -1, 0, 0
        for i, row in rows:
            parent = parents[i]
            if parent == last:
                index += 1
            else:
                last, index = parent, 0
                passed += 1
            outputs.append((parent, events[i].output(row, name, index)))
        return outputs, passed


class _Guarded:
    """Rules of the same input that each want one field to equal a literal of their own."""

    __slots__ = ("bools", "key", "numbers", "path", "rules", "seen", "sources", "texts", "words")

    def __init__(self, path: tuple[str, ...], sources: frozenset[str] | None) -> None:
        self.path = path
        self.key = path[1] if len(path) == 2 and path[0] == "payload" else None
        self.sources = sources
        self.rules: list[Rule] = []
        self.numbers: dict[int | float, list[Rule]] = {}
        self.texts: dict[str, list[Rule]] = {}
        self.words: list[Rule] = []  # of texts that are no numbers: comparing them with a number is an error to report
        self.bools: dict[bool, list[Rule]] = {}
        self.seen = 0

    def add(self, rule: Rule, literal: str | float | bool) -> None:
        self.rules.append(rule)
        if isinstance(literal, bool):
            self.bools.setdefault(literal, []).append(rule)
        elif isinstance(literal, str):
            self.texts.setdefault(literal, []).append(rule)
            number = _number(literal)
            if number is None:
                self.words.append(rule)
            else:
                self.numbers.setdefault(number, []).append(rule)
        else:
            self.numbers.setdefault(literal, []).append(rule)

    def count(self) -> None:
        """From now on these rules count what this index passes over for them."""
        for rule in self.rules:
            rule.chosen = 0
            rule.tally.skipped = lambda rule=rule: self.seen - rule.chosen  # type: ignore[misc]  # a closure each

    def find(self, event: Event) -> Sequence[Rule]:
        """The rules whose condition this event may meet, or must fail loudly on."""
        self.seen += 1
        value = self._value(event)
        if type(value) is int and not self.words:  # the usual case
            return self.numbers.get(value, ())
        return self._candidates(value)

    def _value(self, event: Event) -> Any:
        if self.key is not None:  # the usual case, and done for every event
            try:
                payload = event.json()
            except ValueError:
                return _ASK
            if type(payload) is dict:
                return payload.get(self.key, UNDEFINED)
        return _value(event, self.path)

    def _candidates(self, value: Any) -> Sequence[Rule]:
        if value is UNDEFINED:
            return ()
        found: Sequence[Rule]
        kind = type(value)
        if kind is int or kind is float:
            found = self.numbers.get(value, ())
            return [*found, *(r for r in self.words if r not in found)] if self.words else found
        if kind is str:
            number = _number(value)
            found = self.texts.get(value, ())
            if number is not None:
                found = _union(found, self.numbers.get(number, ()))
            elif self.numbers:
                return self.rules
            if value == "true" or value == "false":
                found = _union(found, self.bools.get(value == "true", ()))
            return found
        if kind is bool:
            return _union(self.bools.get(value, ()), self.texts.get("true" if value else "false", ()))
        if value is None:
            return self.texts.get("null", ())
        if kind is dict or kind is list:
            return ()
        return self.rules


def _union(a: Sequence[Rule], b: Sequence[Rule]) -> Sequence[Rule]:
    return [*a, *(rule for rule in b if rule not in a)] if a and b else a or b


def _number(text: str) -> int | float | None:
    """The number a comparison reads in a text, by the widest reading; a candidate too many only costs a call."""
    try:
        return int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if value == value else None


_ASK = object()  # "no telling: let the rules themselves look"


def _value(event: Event, path: tuple[str, ...]) -> Any:
    if path[0] == "payload" and len(path) > 1:
        try:
            value = event.json()
        except ValueError:
            return _ASK
    else:
        value = event.columns.get(path[0], UNDEFINED)
    for key in path[1:]:
        if type(value) is str:
            try:
                value = orjson.loads(value)
            except ValueError:
                return UNDEFINED
        if type(value) is not dict:
            return UNDEFINED
        value = value.get(key, UNDEFINED)
    return value


Entry = Rule | _Guarded
_MOST_KNOWN = 10_000


class RuleSet:
    """All rules of a pipeline, indexed. Swapped as a whole, between two batches: ``start`` and ``stop`` counting."""

    def __init__(self, rules: Iterable[Rule], taps: Taps | None = None) -> None:
        self._taps = taps if taps is not None else Taps()
        self.rules = {rule.name: rule for rule in rules}
        self._topics: TopicIndex[Entry] = TopicIndex()
        self._events: TopicIndex[Entry] = TopicIndex()
        self._by_event: dict[str, tuple[Entry, ...]] = {}
        self._known: dict[str, set[object]] = {}  # source → topics some rule reads
        self.filters: dict[str | None, set[str]] = {}
        groups = self._groups = dict[tuple[Inputs, frozenset[str] | None, tuple[str, ...]], _Guarded]()
        shared = self._shared_paths()
        for rule in self.rules.values():
            inputs = _inputs(rule)
            entry: Entry = rule
            for guard in rule.transforms[0].guards():
                if (inputs, rule.sources, guard.path) in shared:
                    key = (inputs, rule.sources, guard.path)
                    if key not in groups:
                        groups[key] = _Guarded(guard.path, rule.sources)
                        self._index(inputs, groups[key])
                    groups[key].add(rule, guard.literal)
                    entry = groups[key]
                    break
            if entry is rule:
                self._index(inputs, rule)
            for source in rule.sources if rule.sources is not None else (None,):
                names = {*inputs.topics, *inputs.events}
                self.filters.setdefault(source, set()).update(name for name in names if not problem(name))

    def start(self) -> None:
        """These rules are the ones in use: let them count what the index passes over."""
        for group in self._groups.values():
            group.count()

    def stop(self) -> None:
        """They are in use no more: make that count their own."""
        for rule in self.rules.values():
            rule.tally.settle_skipped()

    def _shared_paths(self) -> set[tuple[Inputs, frozenset[str] | None, tuple[str, ...]]]:
        """The guards worth a hash: those that two rules or more have in common."""
        counts: dict[tuple[Inputs, frozenset[str] | None, tuple[str, ...]], int] = {}
        for rule in self.rules.values():
            for guard in rule.transforms[0].guards():
                key = (_inputs(rule), rule.sources, guard.path)
                counts[key] = counts.get(key, 0) + 1
        return {key for key, n in counts.items() if n > 1}

    def _index(self, inputs: Inputs, entry: Entry) -> None:
        for topic in inputs.topics:
            self._topics.add(topic, entry)
        for name in inputs.events:
            self._events.add(name, entry)

    def filters_of(self, source: str) -> tuple[str, ...]:
        """What the rules read from one source: topic filters and event names, sorted."""
        return tuple(sorted(self.filters.get(None, set()) | self.filters.get(source, set())))

    def _entries(self, event: Event) -> tuple[Entry, ...]:
        columns = event.columns
        name = columns.get("event", "message.publish")
        if name == "message.publish":
            topic = columns.get("topic")
            return self._topics.match(topic) if type(topic) is str else ()
        found = self._by_event.get(name)
        if found is None:
            entries = {id(e): e for topic in event_topics(name) for e in self._events.match(topic)}
            found = tuple(entries.values())
            if len(self._by_event) < 1000:  # names come from outside
                self._by_event[name] = found
        return found

    def wanted(self, event: Event) -> bool:
        """Does any rule read this event?"""
        return any(e.sources is None or event.source in e.sources for e in self._entries(event))

    def chosen(self, events: Sequence[Event], source: str) -> Sequence[Event]:
        """Those of a source's events that some rule reads. Mostly all, and mostly of topics that were seen before."""
        known = self._known.setdefault(source, set())
        with contextlib.suppress(TypeError):  # a topic that cannot be hashed is nobody's
            if known.issuperset([event.columns.get("topic") for event in events]):
                return events
        chosen = []
        for event in events:
            if self.wanted(event):
                chosen.append(event)
                if event.columns.get("event") == "message.publish" and len(known) < _MOST_KNOWN:
                    known.add(event.columns.get("topic"))
        return chosen

    def process(self, events: Sequence[Event]) -> dict[str, list[Event]]:
        """What goes to each sink, in the order of the events. Never raises; each rule counts for itself."""
        work: defaultdict[Rule, list[int]] = defaultdict(list)
        for i, event in enumerate(events):
            for entry in self._entries(event):
                if entry.sources is not None and event.source not in entry.sources:
                    continue
                if type(entry) is Rule:
                    work[entry].append(i)
                else:
                    for rule in entry.find(event):  # type: ignore[union-attr]  # mypy does not narrow by type()
                        work[rule].append(i)
        found: dict[str, list[list[tuple[int, Event]]]] = {}
        for rule, indices in work.items():
            rule.chosen += len(indices)
            chosen = events if len(indices) == len(events) else [events[i] for i in indices]
            outputs = self._outputs(rule, chosen)
            if not outputs:
                continue
            if chosen is not events:
                outputs = [(indices[i], event) for i, event in outputs]
            for sink in rule.sinks:
                found.setdefault(sink, []).append(outputs)
        return {sink: _in_order(parts) for sink, parts in found.items()}

    def _outputs(self, rule: Rule, events: Sequence[Event]) -> list[tuple[int, Event]]:
        taps = self._taps
        if taps.tracer is None:
            outputs = rule.process(events)
        else:
            began, failed = time.time_ns(), dict[int, Exception]()
            outputs = rule.process(events, failed=failed)
            taps.tracer.ruled(rule.name, events, outputs, failed, began)
        if outputs and taps.looking:
            taps.see(f"rule:{rule.name}", [event for _, event in outputs])
        return outputs


def _in_order(parts: Sequence[list[tuple[int, Event]]]) -> list[Event]:
    """The outputs of several rules for one sink, in the order of the events they come from."""
    pairs = parts[0] if len(parts) == 1 else sorted(chain.from_iterable(parts), key=itemgetter(0))
    return [event for _, event in pairs]


def _inputs(rule: Rule) -> Inputs:
    topics, events = rule.transforms[0].inputs()
    return Inputs(tuple(topics), tuple(events))
