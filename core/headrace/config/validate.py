"""A part of the tree against a pydantic model: the model's instance, or problems at the right places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from headrace.components import ComponentConfig
from headrace.config.problems import Mark, Problems, suggest
from headrace.config.tree import Node, inside, plain

__all__ = ["field_names", "filled", "validate"]

FEW = 8
"""So many keys are named where one is unknown."""
Model = type[ComponentConfig]
T = TypeVar("T", bound=BaseModel)
_WORDS = {
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "dict_type": "should be a map",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "model_type": "should be a map",
    "string_type": "should be text",
    "tuple_type": "should be a list",
}
"""YAML's words for pydantic's types."""


def field_names(model: type[BaseModel]) -> list[str]:
    """The keys a model takes, as they are written in a file."""
    return [info.alias or name for name, info in model.model_fields.items()]


def filled(given: T, defaults: T) -> T:
    """The options that are given, and those of ``defaults`` where they say nothing."""
    update: dict[str, Any] = {}
    for name in defaults.model_fields_set:
        mine, other = getattr(given, name), getattr(defaults, name)
        if isinstance(mine, BaseModel):
            update[name] = filled(mine, other)
        elif name not in given.model_fields_set:
            update[name] = other
    return given.model_copy(update=update)


def validate(
    model: Model,
    entries: Mapping[str, Node],
    at: Mark,
    where: str,
    problems: Problems,
    *,
    also: Iterable[str] = (),
    context: Mapping[str, Any] | None = None,
) -> ComponentConfig | None:
    """An instance of ``model`` from these entries; None if there are problems.

    ``at`` is where missing keys are reported, ``where`` the path for messages, ``also`` further keys that are right
    in this place although the model does not know them: a misspelt key may mean one of them. ``context`` is what
    validators see: ``functions``, those that plugins gave.
    """
    try:
        return model.model_validate({key: plain(node) for key, node in entries.items()}, context=context)
    except ValidationError as exc:
        root = Node(dict(entries), at, at)
        _Report(model, root, where, problems, list(also)).all(exc)
    except Exception as exc:  # noqa: BLE001 - a plugin's validators may raise anything
        name = f"{where}: " if where else ""
        problems.error(at, f"{name}checking it failed, which is the plugin's fault: {type(exc).__name__}: {exc}")
    return None


class _Report:
    def __init__(self, model: Model, root: Node, where: str, problems: Problems, also: list[str]) -> None:
        self._model, self._root, self._where, self._problems, self._also = model, root, where, problems, also

    def all(self, exc: ValidationError) -> None:
        places: dict[tuple[Mark, str], list[str]] = {}
        for error in exc.errors(include_url=False, include_input=False):
            mark, where, message = self._one(error["type"], error["loc"], error["msg"], error.get("ctx", {}))
            messages = places.setdefault((mark, where), [])
            if message not in messages:
                messages.append(message)
        # the members of a union complain one by one about one value: together they say what is allowed
        for (mark, where), messages in places.items():
            self._problems.error(mark, (f"{where}: " if where else "") + ", or ".join(messages))

    def _one(self, kind: str, loc: tuple[int | str, ...], text: str, ctx: Mapping[str, Any]) -> tuple[Mark, str, str]:
        node, path, rest = self._find(loc)
        where = self._path(path)
        if kind == "extra_forbidden":
            *parents, key = path
            known = field_names(nested) if (nested := _nested(self._model, parents)) else []
            known += [] if parents else self._also
            hint = suggest(key, known) or (f"; there is {', '.join(known)}" if 0 < len(known) <= FEW else "")
            return node.key, self._path(parents), f"unknown key {key!r}{hint}"
        if kind == "missing":
            return node.key, where, f"needs {rest[-1] if rest else loc[-1]!r}"
        error = ctx.get("error")
        if isinstance(error, Exception):
            return _place(node, error), where, str(getattr(error, "message", None) or error)
        message = _WORDS.get(kind) or text.replace("Input should be", "should be").replace("String should", "should")
        if kind == "string_type" and isinstance(node.value, int | float):
            message += "; quote it"
        return node.mark, where, message

    def _path(self, steps: list[str]) -> str:
        return ".".join([self._where, *steps] if self._where else steps)

    def _find(self, loc: tuple[int | str, ...]) -> tuple[Node, list[str], list[str]]:
        """The deepest node on the way, the way to it, and the steps that led nowhere (or name a union's member)."""
        node = self._root
        path: list[str] = []
        rest: list[str] = []
        for step in loc:
            child = node.child(step)
            if child is None:
                rest.append(str(step))
            else:
                node = child
                path.append(str(step))
        return node, path, rest


def _place(node: Node, error: Exception) -> Mark:
    """An error of a language in a text says where in the text; otherwise the text's beginning."""
    line, column = getattr(error, "line", None), getattr(error, "column", None)
    if isinstance(line, int) and isinstance(column, int) and line > 0 and column > 0:
        return inside(node, line, column)
    return node.mark


def _nested(model: type[BaseModel], path: list[str]) -> type[BaseModel] | None:
    for step in path:
        if step.isdigit():
            continue
        field = next((f for name, f in model.model_fields.items() if (f.alias or name) == step), None)
        inner = field and _models(field.annotation)
        if not inner:
            return None
        model = inner[0]
    return model


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _models(arg)]
