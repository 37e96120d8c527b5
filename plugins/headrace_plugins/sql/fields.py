"""A field list (of SELECT, FOREACH or DO) to code: which locals it needs, and the row it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from headrace_plugins.sql.emit import Emitter
from headrace_plugins.sql.errors import Problem
from headrace_plugins.sql.names import UNDEFINED_CODE, Code, Scope
from headrace_plugins.sql.nodes import Binary, By, End, Expr, Field, Literal, Path, Slice, Step, Unary, walk

__all__ = ["FieldList", "target_of"]

_MAX_COPIES: Final = 1000


class FieldList:
    """The code of one field list.

    ``lines`` compute what may fail or is used again; ``text()`` is the row. ``used``: names looked up after the list.
    ``keep``: all values go into locals. ``columns``: the code of what ``*`` stands for, a new dict.
    """

    def __init__(
        self,
        emitter: Emitter,
        scope: Scope,
        fields: Sequence[Field],
        used: set[str],
        *,
        keep: bool = False,
        columns: str = "",
    ) -> None:
        self._emitter = emitter
        self._scope = replace(scope, listed={})
        self._columns = columns
        self._star = any(field.expr is None for field in fields)
        self._row: dict[str, Code] = {}
        self._copies: dict[str, int] = {}
        self._opened = False  # something was written below payload
        self.lines: list[str] = []
        self.last = UNDEFINED_CODE
        targets = [(field, field.expr, target_of(field)) for field in fields if field.expr is not None]
        below = {target.root for _, _, target in targets if target.steps}
        later: list[set[str]] = [used | below]
        for _, expr, _ in reversed(targets):
            later.append(later[-1] | _roots(expr))
        for (_, expr, target), names in zip(targets, reversed(later[:-1]), strict=True):
            self._add(expr, target, local=keep or target.root in names)

    def _add(self, expr: Expr, target: Path, local: bool) -> None:
        code = self._emitter.value(expr, self._scope)
        self._count(expr, target, code)
        if local and target.steps:
            code = self._local(code)  # FOREACH goes through it besides
        self.last = code
        if target.steps:
            code = self._local(self._put(target, code))
        elif local or code.raises:
            code = self.last = self._local(code)
        self._row.pop(target.root, None)
        self._row[target.root] = code
        if target.root == "payload":
            self._opened |= bool(target.steps)
            if expr == Path("payload", (), expr.at) and not target.steps:
                return  # the column itself: what is below it is decoded already, or will be once
        self._scope.listed[target.root] = code

    def _count(self, expr: Expr, target: Path, code: Code) -> None:
        """Refuse fields that hold each other so often that a small query makes a row without end: [a, a] AS a, …"""
        held = 0
        if code.kind in ("any", "list") and not isinstance(expr, Binary | Unary):
            held = sum(self._copies.get(node.root, 0) for node in walk(expr) if isinstance(node, Path))
        copies = max(held, 1) + (self._copies.get(target.root, 0) if target.steps else 0)
        if copies > _MAX_COPIES:
            raise Problem(target.at, f"{target.root} would hold more than {_MAX_COPIES} copies of other fields")
        self._copies[target.root] = copies

    def _local(self, code: Code) -> Code:
        if code.simple:
            return code
        name = self._emitter.name("v")
        self.lines.append(f"{name} = {code.text}")
        return replace(code, text=name, simple=True, raises=False, open=False, parts=())

    def _put(self, target: Path, code: Code) -> Code:
        steps = "".join(self._step(step) + ", " for step in target.steps)
        return Code(f"put({self._start(target.root)}, ({steps}), {code.text})", raises=True)

    def _start(self, root: str) -> str:
        """What a target below ``root`` is written into."""
        code = self._row.get(root)
        if root == "payload" and not self._opened:
            if code is not None:
                return f"decoded_text({code.text})" if root in self._scope.listed else "decoded(event)"
            return "decoded_if_json(event)" if self._star else "U"
        if code is None and self._star:
            code = self._emitter.path(Path(root, (), 0), self._scope)
        return "U" if code is None else code.text

    def _step(self, step: Step) -> str:
        if isinstance(step, By):
            return self._emitter.target_index(step.path, self._scope).text
        return step.name.upper() if isinstance(step, End) else repr(step)

    def text(self, star: bool = False, extra: Mapping[str, str] | None = None) -> str:
        """The row: a new dict."""
        members = {root: code.text for root, code in self._row.items()} | dict(extra or {})
        parts = [f"{root!r}: {text}" for root, text in members.items()]
        if not (star or self._star):
            return f"{{{', '.join(parts)}}}"
        columns = self._columns or "c"
        return f"{{{', '.join([f'**{columns}', *parts])}}}" if parts else self._columns or "c.copy()"

    def after(self, scope: Scope) -> Scope:
        """The scope after the list: its names hide columns, except that ``payload.…`` stays the event's own."""
        changed = self._row["payload"] if self._star and self._opened else scope.payload
        known = scope.known if changed is scope.payload else {}
        return replace(scope, listed={}, shadow={**scope.shadow, **self._row}, payload=changed, known=known)


def target_of(field: Field) -> Path:
    """Where a field's value goes: what AS says, else the path it was read from, else its own text."""
    if field.target is not None:
        return field.target
    match field.expr:
        case Path():
            return field.expr
        case Slice(path):
            return path
        case Literal(str() as value):
            return Path(value, (), field.at)
        case Unary():
            raise Problem(field.at, "a value with a sign needs a name", f"write: {field.text} AS name")
    return Path(" ".join(field.text.split()), (), field.at)


def _roots(expr: Expr) -> set[str]:
    roots: set[str] = set()
    for node in walk(expr):
        if isinstance(node, Path):
            roots.add(node.root)
            roots |= {step.path.root for step in node.steps if isinstance(step, By)}
    return roots
