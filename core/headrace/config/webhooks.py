"""``webhooks``: a URL and what is to be sent there, short for a connector, a rule and a sink of the same name."""

from __future__ import annotations

from headrace.config.problems import Problems, suggest
from headrace.config.tree import Node
from headrace.config.validate import field_names
from headrace.errors import PluginError
from headrace.registry import Registry
from headrace.topics import EVENTS, event_named, problem

__all__ = ["SECTION", "expand"]

SECTION = "webhooks"
SINK, QUERY = "http", "sql"
"""The types a webhook stands for. They are looked up as if they were written in the file."""
MESSAGES, CLIENTS = "#", "$events/#"
INTO = ("connectors", "rules", "sinks")


def expand(root: Node, registry: Registry, problems: Problems) -> Node:
    """The tree with each webhook as what it stands for; every node stands where the webhook's own does."""
    section = root.child(SECTION)
    if section is None:
        return root
    entries = {key: node for key, node in root.value.items() if key != SECTION}
    if section.value is not None and not section.is_map:
        problems.error(section.mark, f"{SECTION} is a map of names")
    for name, webhook in section.entries().items():
        if not webhook.is_map:
            problems.error(webhook.mark, f"{SECTION}.{name} is a map with url, events and topics")
            continue
        parts = _parts(name, webhook, registry, problems)
        for into, part in zip(INTO, parts, strict=True):
            _put(entries, into, name, part, problems)
    return Node(entries, root.mark, root.key)


def _put(entries: dict[str, Node], into: str, name: str, part: Node, problems: Problems) -> None:
    given = entries.get(into)
    if given is not None and given.value is not None and not given.is_map:
        return  # which is an error of its own
    inside = given.entries() if given is not None else {}
    if name in inside:
        problems.error(part.key, f"{SECTION}.{name}: there is already {into}.{name}, in {inside[name].key}")
        return
    mark = given or part
    entries[into] = Node({**inside, name: part}, mark.mark, mark.key)


def _parts(name: str, webhook: Node, registry: Registry, problems: Problems) -> tuple[Node, Node, Node]:
    """Connector, rule and sink."""
    options = dict(webhook.value)
    events, topics = options.pop("events", None), options.pop("topics", None)
    if "url" not in options:
        problems.error(webhook.key, f"{SECTION}.{name}: needs 'url'")
    filters = _filters(f"{SECTION}.{name}", webhook, events, topics, problems)
    try:
        sink = registry.find("sink", SINK)
        wanted = getattr(sink, "connector_type", None)
        shared = field_names(wanted.Config) if wanted else []
        own = field_names(sink.Config)
    except PluginError:  # which is said of the sink
        shared, own = ["url"], []
    connection = {key: node for key, node in options.items() if key in shared and key not in own}

    def text(value: str, at: Node | None = None) -> Node:
        where = at or webhook
        return Node(value, where.mark if at else where.key, where.key)

    listed = ", ".join(f'"{filter}"' for filter in filters or [MESSAGES])
    query = f"SELECT * FROM {listed}"  # noqa: S608 - rule SQL, and no filter holds a quote
    rule = {QUERY: text(query, events or topics), "to": text(name)}
    rest = {key: node for key, node in options.items() if key not in connection}
    parts = (
        {"type": text(SINK), **connection},
        rule,
        {"type": text(SINK), "connector": text(name), **rest},
    )
    connector, made, sent = (Node(part, webhook.mark, webhook.key) for part in parts)
    return connector, made, sent


def _filters(where: str, webhook: Node, events: Node | None, topics: Node | None, problems: Problems) -> list[str]:
    """What the rule reads FROM."""
    if events is None and topics is None:
        problems.error(webhook.key, f"{where}: needs 'events' (all, or a list of names), 'topics' (a list), or both")
        return []
    filters = []
    for each in _items(f"{where}.topics", topics, problems):
        if why := problem(each.value):
            problems.error(each.mark, f"{where}.topics: {why}")
        elif '"' in each.value:
            problems.error(
                each.mark, f"{where}.topics: a quote cannot be in a topic filter here; write the rule yourself"
            )
        else:
            filters.append(each.value)
    if events is not None and events.value == "all":
        return [*filters, CLIENTS] if topics is not None else [MESSAGES, CLIENTS]
    for each in _items(f"{where}.events", events, problems):
        named = event_named(each.value)
        if named is None:
            near = suggest(each.value, EVENTS)
            problems.error(each.mark, f"{where}.events: there is no event {each.value!r}{near}")
        else:
            filters.append(named)
    return filters


def _items(where: str, node: Node | None, problems: Problems) -> list[Node]:
    """The texts of a list, or one alone."""
    if node is None:
        return []
    listed = node.value if isinstance(node.value, list) else [node]
    for each in listed:
        if not isinstance(each.value, str):
            problems.error(each.mark, f"{where}: takes a list of names")
    return [each for each in listed if isinstance(each.value, str)]
