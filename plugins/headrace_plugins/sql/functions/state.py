"""Values that outlive an event: the pipeline's store, and environment variables."""

from __future__ import annotations

import os
from typing import Any, Final
from weakref import WeakValueDictionary

from headrace_plugins.sql.functions.arguments import string
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.values import U, json_text

__all__ = ["Store", "store_of"]

_MAX_ENTRIES: Final = 100_000
_MAX_SIZE: Final = 16 << 20
_VARIABLE: Final = "EMQXVAR_"


class Store:
    """Keys and values in memory, bounded in number and size: a full store refuses, it forgets nothing."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[Any, int]] = {}
        self._size = 0

    def put(self, key: str, value: Any) -> None:
        size = len(key) + len(json_text(value))
        before = self._values.get(key)
        more = size - (before[1] if before is not None else 0)
        if (before is None and len(self._values) >= _MAX_ENTRIES) or self._size + more > _MAX_SIZE:
            raise ValueError(f"the store is full: {len(self._values)} values of {self._size} bytes")
        self._values[key] = (value, size)
        self._size += more

    def get(self, key: str, default: Any = U) -> Any:
        found = self._values.get(key)
        return default if found is None else found[0]

    def delete(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._size -= found[1]

    def copy(self) -> Store:
        copy = Store()
        copy._values, copy._size = dict(self._values), self._size
        return copy


_stores: WeakValueDictionary[str, Store] = WeakValueDictionary()


def store_of(pipeline: str) -> Store:
    """The one store of a pipeline; it lives as long as one of its rules."""
    store = _stores.get(pipeline)
    if store is None:
        store = _stores[pipeline] = Store()
    return store


def _key(space: str, key: Any) -> str:
    # keys are of any kind: 1, 1.0 and '1' are three
    return f"{space}{type(key).__name__}:{json_text(key)}"


@function(first="store", kind="bool")
def kv_store_put(store: Store, key: Any, value: Any) -> bool:
    """Keep a value under a key, for every rule of the pipeline until it ends. Always true."""
    store.put(_key("kv ", key), value)
    return True


@function(first="store")
def kv_store_get(store: Store, key: Any, default: Any = U) -> Any:
    """The value kept under a key, or the default."""
    return store.get(_key("kv ", key), default)


@function(first="store", kind="bool")
def kv_store_del(store: Store, key: Any) -> bool:
    """Forget a key. Always true."""
    store.delete(_key("kv ", key))
    return True


@function(first="store")
def proc_dict_put(store: Store, key: Any, value: Any) -> Any:
    """The value before, or undefined."""
    name = _key("proc ", key)
    before = store.get(name)
    store.put(name, value)
    return before


@function(first="store")
def proc_dict_get(store: Store, key: Any) -> Any:
    """The value kept under a key by proc_dict_put."""
    return store.get(_key("proc ", key))


@function(first="store")
def proc_dict_del(store: Store, key: Any) -> Any:
    """The value that was there, or undefined."""
    name = _key("proc ", key)
    before = store.get(name)
    store.delete(name)
    return before


@function(kind="str")
def getenv(name: Any) -> str:
    """The environment variable ``EMQXVAR_<name>``; an empty text if it is not set. No other can be read."""
    return os.environ.get(_VARIABLE + string(name), "")
