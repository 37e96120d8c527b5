"""The equalities an event must meet to pass WHERE, for the engine's index of rules."""

from __future__ import annotations

from collections.abc import Iterator

from headrace import Guard
from headrace_plugins.sql.fields import target_of
from headrace_plugins.sql.nodes import And, Compare, Expr, Literal, Path, Query, Unary
from headrace_plugins.sql.values import is_number

__all__ = ["guards_of"]


def guards_of(query: Query) -> tuple[Guard, ...]:
    """``path = literal``, either way round, of the ANDs at the top of WHERE."""
    where = query.where
    if where is None:
        return ()
    aliases = _aliases(query)
    items = where.items if isinstance(where, And) else (where,)
    return tuple(guard for item in items for guard in _guard(item, aliases))


def _aliases(query: Query) -> dict[str, Expr | None]:
    """What the fields call their values, None where it is more than a plain name; and the named levels of topics."""
    aliases: dict[str, Expr | None] = {name: None for topic in query.topics for name, _ in topic.names}
    star = any(field.expr is None for field in query.fields)
    for field in query.fields:
        if field.expr is not None:
            target = target_of(field)
            if not target.steps:
                aliases[target.root] = field.expr
            elif target.root != "payload" or star:
                aliases[target.root] = None
    return aliases


def _guard(item: Expr, aliases: dict[str, Expr | None]) -> Iterator[Guard]:
    if not isinstance(item, Compare) or item.op != "=":
        return
    for side, other in ((item.left, item.right), (item.right, item.left)):
        literal = _literal(other)
        if isinstance(side, Path) and literal is not None:
            path = _column(side, aliases)
            if path is not None:
                yield Guard(path, literal)
            return


def _literal(expr: Expr) -> str | int | float | bool | None:
    if isinstance(expr, Literal):
        return expr.value
    if isinstance(expr, Unary) and expr.op == "-" and isinstance(expr.operand, Literal):
        value = expr.operand.value
        return -value if is_number(value) and not isinstance(value, str) else None
    return None


def _column(path: Path, aliases: dict[str, Expr | None]) -> tuple[str, ...] | None:
    """The path from a column of the event, if it is one of keys only."""
    below_payload = path.root == "payload" and path.steps
    if path.root in aliases and not (below_payload and aliases[path.root] is not None):
        named = aliases[path.root]
        if not isinstance(named, Path):
            return None
        # An alias for something that is looked up among aliases itself is left alone.
        if named.root in aliases and named.root != path.root:
            return None
        path = Path(named.root, named.steps + path.steps, path.at)
    names = (path.root, *path.steps)
    if path.root == "metadata" or not all(isinstance(name, str) for name in names):
        return None
    return tuple(name for name in names if isinstance(name, str))
