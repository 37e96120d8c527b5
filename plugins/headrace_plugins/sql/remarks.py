"""What a query may say and hardly means, for ``lint``: each remark holds for every event there can be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from headrace.components import Offer
from headrace.topics import event_names, event_topics, matches, overlap
from headrace_plugins.sql.fields import target_of
from headrace_plugins.sql.never import constants_of, never
from headrace_plugins.sql.nodes import EXACT, By, End, Expr, Field, Foreach, Path, Query, Topic, walk

__all__ = ["is_event", "remarks_of"]

Found = tuple[int, str]
"""Where in the query, and what."""
_NOTHING: Final = frozenset({"metadata", "null", "undefined"})
"""Names that are never unknown: one that rules add, and the words EMQX's users write for what is not there."""
_ZERO: Final = re.compile(r"\[\s*[-+]?0+\s*\]")


def is_event(name: str) -> bool:
    """Is an entry of FROM the name of events, and no topic filter?"""
    return name.startswith(("$events/", *EXACT))


def remarks_of(text: str, query: Query, offers: Sequence[Offer] | None) -> list[Found]:
    """All there is to remark on, in the order of the text."""
    found = [*_from(query, offers), *_conditions(query), *_indices(text, query), *_unused(query)]
    if offers is not None:
        found += _columns(text, query, offers)
    return sorted(found)


# -- FROM


def _from(query: Query, offers: Sequence[Offer] | None) -> Iterator[Found]:
    for topic in query.topics:
        problem = _hopeless(topic.filter)
        if problem:
            yield topic.at, problem
        elif offers is not None and not any(_given(topic.filter, offer) for offer in offers):
            yield topic.at, f"no source of this rule gives {topic.filter!r}, so nothing is ever read from it"


def _hopeless(filter: str) -> str:
    """Why nothing can match this entry of FROM, whatever the sources are."""
    if filter.startswith("$share/"):
        return "a shared subscription is an option of the source; in FROM stands the filter without $share/GROUP"
    if filter.startswith("$events/"):
        known = [topic for name in event_names() for topic in event_topics(name)]
        if not any(matches(filter, topic) for topic in known):
            near = difflib.get_close_matches(filter, known, 1)
            return f"there is no event {filter!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
    return ""


def _given(filter: str, offer: Offer) -> bool:
    if is_event(filter):
        return any(matches(filter, topic) for name in offer.events for topic in event_topics(name))
    return offer.topics is None or any(overlap(filter, topic) for topic in offer.topics)


# -- WHERE and INCASE


def _conditions(query: Query) -> Iterator[Found]:
    if query.where is not None:
        if found := never(query.where):
            yield found[0], f"the rule never has a result: {found[1]}"
        yield from _topic_beside(query, query.where)
    if isinstance(query, Foreach) and query.incase is not None and (found := never(query.incase)):
        yield found[0], f"no element ever passes: {found[1]}"


def _topic_beside(query: Query, where: Expr) -> Iterator[Found]:
    """``topic = 'x'`` where FROM has other topics only."""
    filters = [topic.filter for topic in query.topics]
    if any(map(is_event, filters)) or "topic" in _targets(query):
        return
    for at, value in constants_of(where, Path("topic", (), 0)):
        if isinstance(value, str) and not any(matches(filter, value) for filter in filters):
            yield at, f"the rule never has a result: no topic of FROM is {value!r}"


# -- names


def _columns(text: str, query: Query, offers: Sequence[Offer]) -> Iterator[Found]:
    known = _known(query.topics, offers)
    if known is None:
        return
    known |= _NOTHING | {name for topic in query.topics for name, _ in topic.names}
    ever = known | _targets(query)
    said: set[str] = set()
    for expr, given in _in_turn(query):
        for path in _paths(expr):
            name = path.root
            if name in known or name in given or name in said:
                continue
            said.add(name)
            if name in ever:
                why = "; INCASE is asked before DO" if isinstance(query, Foreach) and expr is query.incase else ""
                yield path.at, f"{name!r} is undefined here: it gets its value later{why}"
            elif text[path.at] == '"' and not path.steps:
                yield path.at, f"\"{name}\" is the column of that name, and there is none; a value is written '{name}'"
            else:
                hint = _braces(name, query.topics) or _hint(name, ever - _NOTHING)
                yield path.at, f"no source of this rule has a column {name!r}{hint}"


def _in_turn(query: Query) -> Iterator[tuple[Expr, set[str]]]:
    """The expressions in the order they are evaluated, each with the names that the query has given until then."""
    given: set[str] = set()
    yield from _fields_in_turn(query.fields, given)
    if query.where is not None:
        yield query.where, given
    if isinstance(query, Foreach):
        given.add(_element(query))
        if query.incase is not None:
            yield query.incase, given
        yield from _fields_in_turn(query.do, given)


def _fields_in_turn(fields: Iterable[Field], given: set[str]) -> Iterator[tuple[Expr, set[str]]]:
    for field in fields:
        if field.expr is not None:
            yield field.expr, given
            given |= _named([field])


def _braces(name: str, topics: Sequence[Topic]) -> str:
    """Other systems write the named levels of a topic in braces."""
    return f"; the level of a topic is named +{name}" if any(f"{{{name}}}" in t.filter for t in topics) else ""


def _hint(name: str, known: Iterable[str]) -> str:
    if name.lower() in ("true", "false"):
        return f"; the boolean is written {name.lower()}"
    near = difflib.get_close_matches(name, known, 1, cutoff=0.75)
    return f" (did you mean {near[0]!r}?)" if near else f"; in the payload it is payload.{name}"


def _known(topics: Sequence[Topic], offers: Sequence[Offer]) -> frozenset[str] | None:
    """Every column that the events of FROM may have; None if there is no telling."""
    known: frozenset[str] = frozenset()
    for topic in topics:
        if topic.exact:
            return None
        for offer in offers:
            if not _given(topic.filter, offer):
                continue
            if not is_event(topic.filter):
                known |= offer.columns
            for name, columns in offer.events.items() if is_event(topic.filter) else ():
                known |= columns if any(matches(topic.filter, each) for each in event_topics(name)) else frozenset()
    return known or None


def _targets(query: Query) -> set[str]:
    """The names that the query itself gives to values."""
    if isinstance(query, Foreach):
        return _named([*query.fields, *query.do]) | {_element(query)}
    return _named(query.fields)


def _named(fields: Iterable[Field]) -> set[str]:
    # a plain column keeps its name, and makes none of its own
    given = [field for field in fields if field.target is not None or not isinstance(field.expr, Path | None)]
    return {target_of(field).root for field in given}


def _element(query: Foreach) -> str:
    last = query.fields[-1].target
    return last.root if last is not None else "item"


def _paths(*exprs: Expr) -> Iterator[Path]:
    for expr in exprs:
        yield from sorted((node for node in walk(expr) if isinstance(node, Path)), key=lambda path: path.at)


def _everything(query: Query) -> Iterator[Expr]:
    do, incase = (query.do, query.incase) if isinstance(query, Foreach) else ((), None)
    yield from (field.expr for field in (*query.fields, *do) if field.expr is not None)
    yield from (expr for expr in (incase, query.where) if expr is not None)


# -- indices


def _indices(text: str, query: Query) -> Iterator[Found]:
    for path in _paths(*_everything(query)):
        if any(isinstance(step, End) for step in path.steps):
            zero = _ZERO.search(text, path.at)
            yield zero.start() if zero else path.at, "there is no element 0: the first is [1], the last [-1]"


# -- what nobody reads


def _unused(query: Query) -> Iterator[Found]:
    yield from _overwritten(query.fields)
    lists = [query.fields, query.do] if isinstance(query, Foreach) else [query.fields]
    if any(field.expr is None for fields in lists for field in fields):
        return  # `*` reads everything
    read = _roots(_everything(query))
    for topic in query.topics:
        for name, _ in topic.names:
            if name not in read:
                yield topic.at, f"nothing reads the column {name!r} of the level '+{name}'"
    if isinstance(query, Foreach) and query.do:
        yield from _overwritten(query.do)
        inside = _roots([*(f.expr for f in query.do if f.expr is not None), *([query.incase] if query.incase else [])])
        for field in query.fields:
            name = field.target.root if field.target is not None else ""
            outside = field is not query.fields[-1] and name in _roots(_after(query, field))
            if name and name not in inside and not outside:
                yield field.target.at if field.target else field.at, f"nothing reads {name!r}: DO says what a row has"


def _after(query: Foreach, field: Field) -> Iterator[Expr]:
    """The expressions outside DO that see the name of a field."""
    yield from (each.expr for each in query.fields if each.at > field.at and each.expr is not None)
    if query.where is not None:
        yield query.where


def _overwritten(fields: Sequence[Field]) -> Iterator[Found]:
    """A name that a later field of the list takes, before anything reads it."""
    for i, field in enumerate(fields):
        if field.target is None or field.target.steps:
            continue
        name = field.target.root
        for later in fields[i + 1 :]:
            if later.expr is not None and name in _roots([later.expr]):
                break
            if later.expr is not None and target_of(later) == Path(name, (), target_of(later).at):
                yield field.target.at, f"{name!r} is given twice, and only the last stays"
                break


def _roots(exprs: Iterable[Expr]) -> set[str]:
    found: set[str] = set()
    for expr in exprs:
        for node in walk(expr):
            if isinstance(node, Path):
                found.add(node.root)
                found |= {step.path.root for step in node.steps if isinstance(step, By)}
    return found
