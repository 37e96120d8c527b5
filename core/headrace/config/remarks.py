"""Warnings about rules that are right and hardly meant: what sources offer against what transforms ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from headrace.components import Offer, Remark
from headrace.config.model import PipelineSpec, RuleSpec, SourceSpec, TransformSpec
from headrace.config.problems import Problems
from headrace.config.tree import Node, inside

__all__ = ["remark"]


def remark(root: Node, spec: PipelineSpec, problems: Problems) -> None:
    """Add to ``problems`` what the transforms of each rule remark on, at its place in the files of ``root``."""
    section = root.child("rules")
    offers = {name: _offer(source) for name, source in spec.sources.items()}
    for rule in spec.rules.values():
        node = section.child(rule.name) if section else None
        if node is None:
            continue
        known = _offers(offers[name] for name in (offers if rule.sources is None else rule.sources))
        steps = _steps(node, rule)
        for n, (step, (where, options)) in enumerate(zip(rule.transforms, steps, strict=False)):
            for found in _remarks(step, known if n == 0 else None):
                place = options.get(found.option)
                mark = inside(place, found.line, found.column) if place else node.key
                problems.warn(mark, f"rules.{rule.name}.{where}.{found.option}: {found.message}")


def _offer(source: SourceSpec) -> Offer | None:
    if source.cls is None or source.config is None:
        return None
    try:
        return source.cls.offers(source.config)
    except Exception:  # noqa: BLE001 - a plugin may raise anything; then there is no telling
        return None


def _offers(found: Iterable[Offer | None]) -> list[Offer] | None:
    """What all sources of a rule offer; None if one of them does not say, or if there is none."""
    offers = list(found)
    known = [offer for offer in offers if offer is not None]
    return known if known and len(known) == len(offers) else None


def _steps(node: Node, rule: RuleSpec) -> Iterator[tuple[str, dict[str, Node]]]:
    """For each transform of a rule, where it stands and its options."""
    listed = node.child("transforms")
    if listed is None:
        for kind, given in node.entries().items():
            if _is(kind, rule):
                yield kind, given.entries() if given.is_map else {"query": given}
    elif isinstance(listed.value, list):
        yield from ((f"transforms.{i}", step.entries()) for i, step in enumerate(listed.value))


def _is(kind: str, rule: RuleSpec) -> bool:
    return any(step.cls is not None and step.cls.name == kind for step in rule.transforms)


def _remarks(step: TransformSpec, offers: list[Offer] | None) -> Iterable[Remark]:
    if step.cls is None or step.config is None:
        return ()
    cls: Any = step.cls
    try:
        return list(cls.remarks(step.config, offers))
    except Exception:  # noqa: BLE001 - a plugin may raise anything, and no remark stands between a user and a run
        return ()
