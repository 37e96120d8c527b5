"""What the contract classes look at beside what a component does: its class, options, module, and what it offers."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from headrace.components import Component, ComponentConfig, Source
from headrace.events import Event
from headrace.hookspecs import hookimpl
from headrace.registry import KINDS, Registry
from headrace.topics import MESSAGE, matches

__all__ = ["check_class", "check_import", "check_model", "check_offer"]

_SECRET = re.compile(r"(^|_)(password|passwd|passphrase|secret|token|api_key)$")


def check_class(cls: type[Component[Any]]) -> None:
    """The registry takes the class: a proper name, nothing abstract, and a plugin can give it by its hook."""
    kind = next(kind for kind, base in KINDS.items() if issubclass(cls, base))
    hook = f"register_{kind}s"
    plugin = ModuleType("plugin_under_test")

    def register() -> list[type[Component[Any]]]:
        return [cls]

    register.__name__ = hook
    setattr(plugin, hook, hookimpl(register))
    registry = Registry()
    registry.register(plugin)
    assert registry.find(kind, cls.name) is cls
    assert inspect.getdoc(cls), f"{cls.__name__} has no docstring: it is the first line of its reference page"


def check_model(model: type[ComponentConfig], not_secret: frozenset[str] = frozenset()) -> None:
    """Every option is described, unknown ones are refused, a made configuration is constant, secrets are masked."""
    assert issubclass(model, ComponentConfig)
    for inner in _models(model):
        where = inner.__name__
        for name, field in inner.model_fields.items():
            assert field.description, f"{where}.{name} has no description"
            group = any(issubclass(one, BaseModel) for one in _classes(field.annotation))  # looked at by itself
            hidden = group or "Secret" in repr(field.annotation) or name in not_secret
            assert hidden or not _SECRET.search(name), f"{where}.{name} looks like a secret; make it a SecretStr"
        assert inner.model_config.get("frozen"), f"{where} can be changed"
        assert inner.model_config.get("extra") == "forbid", f"{where} takes unknown options"
    try:
        model.model_validate({"surely_no_such_option": 1})
    except ValidationError as exc:
        kinds = {error["type"] for error in exc.errors()}
        assert "extra_forbidden" in kinds, f"{model.__name__} takes unknown options"
    else:
        raise AssertionError(f"{model.__name__} takes unknown options")


def _classes(annotation: Any) -> list[type]:
    """The classes that an annotation is made of."""
    if inspect.isclass(annotation):
        return [annotation]
    return [one for part in get_args(annotation) for one in _classes(part)]


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and every model below it."""
    found: list[type[BaseModel]] = []
    waiting: list[Any] = [model]
    while waiting:
        item = waiting.pop()
        if not (inspect.isclass(item) and issubclass(item, BaseModel)):
            waiting += get_args(item)
        elif item not in found:
            found.append(item)
            waiting += [field.annotation for field in item.model_fields.values()]
    return found


_WATCH = """
import importlib, sys
def watch(event, args):
    writes = event == "open" and (args[1] or "") and set(str(args[1])) & set("wax+")
    if writes or event.startswith(("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.", "os.system")):
        raise RuntimeError(f"importing does I/O: {event} {args!r}")
sys.dont_write_bytecode = True
sys.addaudithook(watch)
importlib.import_module(sys.argv[1])
"""


def check_import(module: str) -> None:
    """A fresh interpreter imports the module: no warning, nothing written, connected or started."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise AssertionError(f"module {module} cannot be imported by its name; put the component into a package")
    result = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "error", "-c", _WATCH, module],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def check_offer(source: Source[Any], events: Iterable[Event]) -> None:
    """What a source gave is among what it says it offers, if it says anything: ``lint`` warns by it."""
    offer = type(source).offers(source.config)
    if offer is None:
        return
    for event in events:
        name = event.get("event", MESSAGE)
        assert name == MESSAGE or name in offer.events, f"the event {name} is not offered"
        columns = offer.columns if name == MESSAGE else offer.events[name]
        assert event.columns.keys() <= columns, f"not offered: {sorted(event.columns.keys() - columns)}"
        if name == MESSAGE and offer.topics is not None:
            assert any(matches(filter, event["topic"]) for filter in offer.topics), f"not offered: {event['topic']}"
