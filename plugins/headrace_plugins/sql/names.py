"""The Python code of names: where a column, an alias or a part of the payload is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from headrace_plugins.sql.functions.base import Kind
from headrace_plugins.sql.nodes import By, End, Path, Step

__all__ = ["UNDEFINED_CODE", "Code", "Names", "Scope"]


@dataclass(frozen=True, slots=True)
class Code:
    """A Python expression.

    ``simple``: a name or a literal. ``raises``: it may. ``open``: it may be a number too large.
    ``parts``: of a string that is joined from these.
    """

    text: str
    kind: Kind = "any"
    simple: bool = False
    raises: bool = False
    open: bool = False
    parts: tuple[str, ...] = ()

    @property
    def defined(self) -> bool:
        return self.kind != "any"


_INLINE: Final = 8  # steps of a path, beyond which a loop takes them
UNDEFINED_CODE: Final = Code("U", simple=True)


@dataclass
class Scope:
    """Where names are looked up.

    ``listed``: the fields before this one in the same list; what is undefined there is looked for further down.
    ``shadow``: names that hide columns. ``payload``: the local that holds the decoded payload, if one does.
    ``known``: paths below the payload that a local holds already.
    """

    listed: dict[str, Code] = field(default_factory=dict)
    shadow: dict[str, Code] = field(default_factory=dict)
    payload: Code | None = None
    known: dict[tuple[Step, ...], Code] = field(default_factory=dict)


class Names:
    """Makes names for the code of one query, and the code of the query's own names.

    ``namespace`` collects the objects the code refers to, besides ``runtime``. ``constants``: columns the rule adds.
    """

    def __init__(self, constants: dict[str, Any]) -> None:
        self.namespace: dict[str, Any] = {}
        self._constants = constants
        self._count = 0

    def name(self, prefix: str = "t") -> str:
        """A fresh local."""
        self._count += 1
        return f"{prefix}{self._count}"

    def constant(self, prefix: str, value: Any) -> str:
        """A name for an object the code needs."""
        name = self.name(prefix)
        self.namespace[name] = value
        return name

    def bound(self, code: Code) -> tuple[str, str]:
        """The first use of a value, and the later ones: a name, bound at the first if it is not one yet."""
        if code.simple:
            return code.text, code.text
        name = self.name()
        return f"({name} := {code.text})", name

    def path(self, path: Path, scope: Scope) -> Code:
        if path.root == "payload" and path.steps:
            return self._payload(path.steps, scope)
        base = self.read(self._column(path.root, scope), path.steps, lambda by: self._below_columns(by, scope))
        listed = scope.listed.get(path.root)
        if listed is None:
            return base
        return self._or_else(self.read(listed, path.steps, lambda by: self._in_list(by, scope)), base)

    def _column(self, name: str, scope: Scope) -> Code:
        if name in scope.shadow:
            return scope.shadow[name]
        if name in self._constants:
            return Code(f"c.get({name!r}, {self.constant('k', self._constants[name])})")
        return Code(f"c.get({name!r}, U)")

    def _payload(self, steps: tuple[Step, ...], scope: Scope) -> Code:
        base = self._decoded(steps, scope)
        listed = scope.listed.get("payload")
        if listed is None:
            return base
        text = Code(f"decoded_text({listed.text})", raises=True)
        return self._or_else(self.read(text, steps, lambda by: self._in_list(by, scope)), base)

    def _decoded(self, steps: tuple[Step, ...], scope: Scope) -> Code:
        if steps in scope.known:
            return scope.known[steps]
        payload = scope.payload or Code("decoded(event)", raises=True)
        return self.read(payload, steps, lambda by: self._read_all(payload, by))

    def _read_all(self, top: Code, path: Path) -> Code:
        # an index by name is looked up in the very object that the outer path goes through
        return self.read(top, (path.root, *path.steps), lambda by: self._read_all(top, by))

    def _in_list(self, path: Path, scope: Scope) -> Code:
        found = scope.listed.get(path.root, UNDEFINED_CODE)
        return self.read(found, path.steps, lambda by: self._in_list(by, scope))

    def _below_columns(self, path: Path, scope: Scope) -> Code:
        return self.read(self._column(path.root, scope), path.steps, lambda by: self._below_columns(by, scope))

    def target_index(self, path: Path, scope: Scope) -> Code:
        """The value of an index by name in a target: only names of the same list count."""
        return self._in_list(path, scope)

    def read(self, code: Code, steps: Sequence[Step], inside: Callable[[Path], Code]) -> Code:
        if len(steps) > _INLINE and code.kind not in ("num", "bool"):
            keys = [inside(step.path).text if isinstance(step, By) else _constant(step) for step in steps]
            return Code(f"dig({code.text}, ({', '.join(keys)}))", raises=code.raises)
        for step in steps:
            if code.text == "U" or code.kind in ("num", "bool") or (isinstance(step, End) and not code.raises):
                return UNDEFINED_CODE  # there is nothing below
            if isinstance(step, str):
                first, again = self.bound(code)
                text = f"({again}.get({step!r}, U) if type({first}) is dict else get({again}, {step!r}))"
            else:
                at = inside(step.path).text if isinstance(step, By) else "0" if isinstance(step, End) else str(step)
                text = f"index({code.text}, {at})"
            code = Code(text, raises=code.raises)
        return code

    def _or_else(self, code: Code, other: Code) -> Code:
        if code.defined:
            return code
        first, again = self.bound(code)
        return Code(f"({again} if {first} is not U else {other.text})", raises=code.raises or other.raises)


def _constant(step: str | int | End) -> str:
    if isinstance(step, str):
        return f"Key({step!r})"
    return step.name.upper() if isinstance(step, End) else str(step)
