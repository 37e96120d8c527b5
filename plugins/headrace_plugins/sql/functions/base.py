"""How a function of rule SQL is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

__all__ = ["BUILTINS", "Function", "Kind", "function"]

Kind = Literal["any", "num", "str", "bool", "list"]
"""What is known of a value before it is there. All but ``any`` are never undefined."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Function:
    """A function by the name queries use. It takes ``least`` to ``most`` arguments (None: any number).

    ``first``: what it is given before its arguments: nothing, the event's columns, or the pipeline's store.
    ``check`` sees the arguments that are literals, by position, and raises ValueError if one can never work.
    ``foreign``: it is not ours.
    """

    name: str
    call: Callable[..., Any]
    least: int
    most: int | None
    kind: Kind = "any"
    first: Literal["", "columns", "store"] = ""
    check: Callable[[dict[int, Any]], None] | None = None
    foreign: bool = False

    @classmethod
    def of(cls, name: str, call: Callable[..., Any]) -> Function:
        """A plain callable, such as a plugin gives: what it returns may be anything."""
        return cls(name, call, *_arity(call, 0), foreign=True)

    @property
    def arguments(self) -> str:
        """``2 arguments``, ``1 to 3 arguments``, for messages."""
        if self.most is None:
            return f"at least {self.least} argument{'s' * (self.least != 1)}"
        count = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
        return f"{count} argument{'s' * (self.most != 1)}"


BUILTINS: dict[str, Function] = {}


def function(
    name: str = "",
    *,
    kind: Kind = "any",
    first: Literal["", "columns", "store"] = "",
    check: Callable[[dict[int, Any]], None] | None = None,
) -> Callable[[F], F]:
    """Declare a built-in. Its name is the Python one, without the underscore at its end, unless given."""

    def register(call: F) -> F:
        own = name or call.__name__.rstrip("_")
        BUILTINS[own] = Function(own, call, *_arity(call, bool(first)), kind=kind, first=first, check=check)
        return call

    return register


def _arity(call: Callable[..., Any], skip: int) -> tuple[int, int | None]:
    least, most = -skip, -skip
    try:
        parameters = inspect.signature(call).parameters.values()
    except ValueError:  # some of those written in C do not tell
        return 0, None
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return least, None
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
    return least, most
