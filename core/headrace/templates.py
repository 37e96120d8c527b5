"""Text and JSON with ``${path}`` placeholders: parsed once, filled from every event.

``${a.b.c}`` is the column ``a``, then its members; a JSON string met on the way is parsed, once. ``${.}`` is all
columns as JSON, ``${$}`` a dollar sign, ``${meta.id}`` what the engine knows of the event. A filter says how a value
is written: ``${a|raw}``, ``${a|json}``, ``${a|urlencode}``, ``${a|path}``. What only looks similar (``${a-b}``,
``${ a }``) is text.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, Literal
from urllib.parse import quote_from_bytes

import orjson

from headrace.errors import DeliveryError
from headrace.events import UNDEFINED, Event, json_bytes

__all__ = ["Filter", "Missing", "Template", "compile_body", "lookup"]

Missing = Literal["null", "omit", "error", "undefined"]
"""What stands for a value that is not there: null, nothing at all, an error, or EMQX's word ``undefined``."""
Filter = Literal["raw", "json", "urlencode", "path"]

_PLACEHOLDER = re.compile(r"\$\{(?:(\$)|([A-Za-z0-9._]*)(?:\|([A-Za-z]+))?)\}")
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_META: Final[dict[str, Callable[[Event], Any]]] = {
    name: attrgetter(name)
    for name in ("id", "key", "timestamp", "source", "rule", "index", "sink", "attempt", "delivery_id")
} | {"trace": lambda event: event.trace or UNDEFINED}


class Template:
    """A text with placeholders.

    ``missing`` says what stands for a value that is not there; ``filter`` is applied where a placeholder names none.
    ValueError if a placeholder names an unknown filter. Rendering raises ``DeliveryError`` of kind ``invalid`` when
    ``missing`` is ``error`` and a value is not there, and nothing else.
    """

    __slots__ = ("constant", "render_bytes", "text", "value")

    constant: bytes | None
    """The text, if it has no placeholder."""
    value: Callable[[Event], Any] | None
    """If the text is exactly one placeholder without a filter: its value (``UNDEFINED`` if not there), unconverted."""
    render_bytes: Callable[[Event], bytes]
    """The text for one event; a value that is bytes goes in unchanged."""

    def __init__(self, text: str, *, missing: Missing = "null", filter: Filter = "raw") -> None:
        self.text = text
        literals, found = _parse(text)
        makers = [_maker(path, named or filter, missing) for path, named in found]
        self.constant = literals[0] if not found else None
        self.value = lookup(found[0][0]) if len(found) == 1 and literals == [b"", b""] and not found[0][1] else None
        self.render_bytes = _renderer(literals, makers)

    def render(self, event: Event) -> str:
        """The text for one event as a string; bytes that are not UTF-8 become surrogate escapes."""
        return self.render_bytes(event).decode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def _parse(text: str) -> tuple[list[bytes], list[tuple[str, str | None]]]:
    """Literals (one more than placeholders), and path and filter of each placeholder."""
    literals, found, literal, end = [], [], "", 0
    for match in _PLACEHOLDER.finditer(text):
        dollar, path, named = match.groups()
        literal += text[end : match.start()]
        end = match.end()
        if dollar:
            literal += "$"
            continue
        if named and named not in _FILTERS:
            near = difflib.get_close_matches(named, _FILTERS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_FILTERS)}"
            raise ValueError(f"unknown filter {named!r} in {match[0]} ({hint})")
        literals.append(literal.encode())
        found.append((path, named))
        literal = ""
    literals.append((literal + text[end:]).encode())
    return literals, found


def _renderer(literals: list[bytes], makers: list[Callable[[Event], bytes]]) -> Callable[[Event], bytes]:
    if not makers:
        constant = literals[0]
        return lambda event: constant
    if literals == [b"", b""]:
        return makers[0]
    form = b"%b".join([literal.replace(b"%", b"%%") for literal in literals])
    return lambda event: form % tuple([make(event) for make in makers])


# -- from a path to a value -------------------------------------------------------------------------------------


def lookup(path: str) -> Callable[[Event], Any]:
    """A function that gives the value at ``path`` of an event; ``UNDEFINED`` if there is none."""
    path = path.removeprefix(".")
    if not path:
        return lambda event: event.columns
    column, *members = path.split(".")
    if column == "meta":
        return _meta(members)
    if not members:
        return lambda event: event.columns.get(column, UNDEFINED)
    if column == "payload":
        return lambda event: _of_payload(event, members)
    return lambda event: _descend(event.columns.get(column, UNDEFINED), members)


def _meta(members: list[str]) -> Callable[[Event], Any]:
    read: Callable[[Event], Any] = attrgetter("meta")
    if members[:1] == ["error"]:
        read = lambda event: _descend(UNDEFINED if event.error is None else event.error, members[1:])  # noqa: E731
    elif members:
        read = _META.get(".".join(members), _nothing)

    def get(event: Event) -> Any:
        columns = event.columns
        return _descend(columns["meta"], members) if "meta" in columns else read(event)

    return get


def _nothing(event: Event) -> Any:
    return UNDEFINED


def _of_payload(event: Event, members: list[str]) -> Any:
    payload = event.columns.get("payload", UNDEFINED)
    if not isinstance(payload, str | bytes):
        return _descend(payload, members)
    try:
        payload = event.json()  # decoded once for all who ask
    except ValueError:
        return UNDEFINED
    return _members(payload, members)


def _descend(value: Any, members: list[str]) -> Any:
    """Follow ``members``, parsing one JSON string on the way."""
    for i, member in enumerate(members):
        if isinstance(value, str | bytes):
            try:
                return _members(orjson.loads(value), members[i:])
            except ValueError:
                return UNDEFINED
        if not isinstance(value, dict):
            return UNDEFINED
        value = value.get(member, UNDEFINED)
    return value


def _members(value: Any, members: list[str]) -> Any:
    for member in members:
        if not isinstance(value, dict):
            return UNDEFINED
        value = value.get(member, UNDEFINED)
    return value


# -- from a value to bytes --------------------------------------------------------------------------------------


def _text(value: Any) -> bytes:
    kind = type(value)
    if kind is str:
        return value.encode("utf-8", "replace")  # type: ignore[no-any-return]
    if kind is bytes:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return b"%d" % value
    if kind is float:
        return _float(value)
    return json_bytes(value)


def _float(value: float) -> bytes:
    """At most ten decimals, as EMQX writes them; the shortest exact text for the very large."""
    if not abs(value) < 1e16:
        return repr(value).encode()
    whole, _, decimals = f"{value:.10f}".partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}".encode()


@lru_cache(4096)
def _quote_known(data: bytes, safe: str) -> bytes:
    return quote_from_bytes(data, safe).encode()


def _quote(data: bytes, safe: str) -> bytes:
    # topics and client ids come again and again; long values would only fill the memory
    return _quote_known(data, safe) if len(data) <= 128 else quote_from_bytes(data, safe).encode()


_FILTERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "raw": _text,
    "json": json_bytes,
    "urlencode": lambda value: _quote(_text(value), ""),
    "path": lambda value: _quote(_text(value), "/"),
}


def _quoted(value: Any) -> bytes:
    """Within the quotes of a JSON text."""
    return json_bytes(value if isinstance(value, str | bytes) else _text(value).decode())[1:-1]


def _bare(value: Any) -> bytes:
    """In a JSON text, but not within quotes: text that is JSON as it is, other text in quotes."""
    if not isinstance(value, str | bytes):
        return _text(value)
    try:
        orjson.loads(value)
    except ValueError:
        return json_bytes(value)
    return _text(value)


def _missing(path: str) -> DeliveryError:
    return DeliveryError(f"the event has no value for ${{{path}}}", kind="invalid")


def _maker(
    path: str, filter: str, missing: Missing, write: Callable[[Any], bytes] | None = None
) -> Callable[[Event], bytes]:
    """A function from event to the bytes of one placeholder. ``write``: instead of a filter."""
    get, write = lookup(path), write or _FILTERS[filter]
    if path in ("", "."):
        if filter == "json":
            return lambda event: _json(event.columns, missing)
        return lambda event: write(_json(event.columns, missing))
    instead = {"null": b"null", "undefined": b"undefined", "omit": b"", "error": b""}[missing]
    if filter == "json":  # what stands in must be JSON too
        instead = b'"undefined"' if missing == "undefined" else b"null"

    def make(event: Event) -> bytes:
        value = get(event)
        if value is UNDEFINED:
            if missing == "error":
                raise _missing(path)
            return instead
        return write(value)

    return make


# -- bodies -----------------------------------------------------------------------------------------------------


def compile_body(value: Any, *, missing: Missing = "null") -> Callable[[Event], bytes]:
    """A function from event to body.

    None: the event's columns as JSON. A string: a template, values inserted as they are, or, if it is JSON around its
    placeholders, so that it stays JSON. Anything else: a JSON tree, in which a string that is exactly ``${x}`` becomes
    the value with its type. In JSON, bytes become text; where they are not UTF-8, base64, and beside the member of a
    tree stands ``<name>_is_base64: true``.
    """
    if value is None:
        return lambda event: _json(event.columns, missing)
    if isinstance(value, str):
        return _text_body(value, missing)
    build = _build(value, missing)
    return lambda event: _json(build(event), missing)


def _text_body(text: str, missing: Missing) -> Callable[[Event], bytes]:
    template = Template(text, missing=missing)
    literals, found = _parse(text)
    inside = _in_quotes(literals)
    sample = b"".join([literal + (b"x" if quoted else b"0") for literal, quoted in zip(literals, inside, strict=False)])
    if not found or not _is_json(sample + literals[-1]):
        return template.render_bytes
    makers = []
    for (path, named), quoted in zip(found, inside, strict=True):
        # nothing at all would leave a hole in the JSON where no quotes are
        policy = "null" if missing == "omit" and not quoted else missing
        makers.append(_maker(path, named or "", policy, None if named else _quoted if quoted else _bare))
    return _renderer(literals, makers)


def _in_quotes(literals: list[bytes]) -> list[bool]:
    """Of each placeholder: does it stand within the quotes of a JSON text?"""
    found, inside = [], False
    for literal in literals[:-1]:
        inside ^= _ESCAPE.sub(b"", literal).count(b'"') % 2 == 1
        found.append(inside)
    return found


def _is_json(text: bytes) -> bool:
    """An object or a list, or several of them, one a line."""
    for parts in ([text], [line for line in text.splitlines() if line.strip()]):
        with contextlib.suppress(ValueError):
            return bool(parts) and all(isinstance(orjson.loads(part), dict | list) for part in parts)
    return False


def _json(value: Any, missing: Missing) -> bytes:
    try:
        return orjson.dumps(value, default=_null if missing == "null" else _only_text)
    except TypeError:  # something in it needs a closer look
        return json_bytes(_plain(value, missing))


def _only_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError


def _null(value: Any) -> str | None:
    return None if value is UNDEFINED else _only_text(value)


def _plain(value: Any, missing: Missing) -> Any:
    """The value with everything that is not there replaced by the policy, and binary members marked."""
    if isinstance(value, Mapping):
        out: dict[Any, Any] = {}
        for name, member in value.items():
            if member is UNDEFINED and missing == "omit":
                continue
            out[name] = _plain(member, missing) if member is not UNDEFINED else _stand_in(str(name), missing)
            if isinstance(member, bytes) and not _is_text(member):
                out[f"{name}_is_base64"] = True
        return out
    if isinstance(value, list | tuple):
        kept = [item for item in value if item is not UNDEFINED or missing != "omit"]
        return [_plain(item, missing) if item is not UNDEFINED else _stand_in("[]", missing) for item in kept]
    return value


def _stand_in(path: str, missing: Missing) -> str | None:
    if missing == "error":
        raise _missing(path)
    return "undefined" if missing == "undefined" else None


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _build(value: Any, missing: Missing) -> Callable[[Event], Any]:
    """A function that builds the tree for an event."""
    if isinstance(value, str):
        template = Template(value, missing=missing)
        if template.constant is None:
            return template.value or template.render
        value = template.constant.decode()  # without the escapes
    elif isinstance(value, Mapping):
        return _build_map([(_build(name, missing), _build(member, missing)) for name, member in value.items()])
    elif isinstance(value, list | tuple):
        items = [_build(item, missing) for item in value]
        return lambda event: [item(event) for item in items]
    return _Constant(value)


def _build_map(parts: list[tuple[Callable[[Event], Any], Callable[[Event], Any]]]) -> Callable[[Event], Any]:
    fixed = [(name.value, member) for name, member in parts if isinstance(name, _Constant)]
    if len(fixed) < len(parts):
        return lambda event: {name(event): member(event) for name, member in parts}
    return lambda event: {name: member(event) for name, member in fixed}


class _Constant:
    """A leaf without a placeholder."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, event: Event) -> Any:
        return self.value
