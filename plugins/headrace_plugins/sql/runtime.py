"""What compiled queries call: the slow half of each operation.

Generated code handles the plain cases itself (an object's key, two numbers, two strings) and comes here for the
rest, so each function must be right for every value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from headrace import Event
from headrace.topics import matches
from headrace_plugins.sql import comparison
from headrace_plugins.sql.nodes import HEAD, TAIL, End
from headrace_plugins.sql.values import (
    MAX_BYTES,
    MAX_NUMBER,
    U,
    decode_json,
    describe,
    from_bytes,
    is_number,
    plain,
    text,
    to_bytes,
)

__all__ = [
    "Key",
    "add",
    "as_rows",
    "chain",
    "checked",
    "decoded",
    "decoded_if_json",
    "decoded_text",
    "dig",
    "div",
    "divide",
    "fail",
    "get",
    "index",
    "join",
    "minus",
    "mod",
    "multiply",
    "negated",
    "overflow",
    "put",
    "sliced",
    "subtract",
    "truth",
    "truth_of_call",
]

N = TypeVar("N", int, float)

# -- reading


def decoded(event: Event) -> Any:
    """The payload as JSON, or as it is if it is no text. ValueError if it is text and no JSON."""
    payload = event.columns.get("payload", U)
    return event.json() if isinstance(payload, str | bytes) else payload


def decoded_if_json(event: Event) -> Any:
    """The payload decoded, or as it is if it is not JSON."""
    try:
        return decoded(event)
    except ValueError:
        return event.columns["payload"]


def decoded_text(value: Any) -> Any:
    """A payload that was selected, decoded. ValueError if it is text and no JSON."""
    return decode_json(value) if isinstance(value, str | bytes) else value


def _structure(value: Any) -> Any:
    # a string on the way down is tried as JSON, at each level
    if isinstance(value, str | bytes):
        try:
            return decode_json(value)
        except ValueError:
            return U
    return value


def get(value: Any, key: str) -> Any:
    """A member of an object, or of a string that is a JSON object."""
    value = _structure(value)
    return value.get(key, U) if isinstance(value, dict) else U


def index(value: Any, at: Any) -> Any:
    """An element of an array, from 1, or from -1 at the end."""
    value = _structure(value)
    if not isinstance(value, list) or type(at) is not int or at == 0 or not -len(value) <= at <= len(value):
        return U
    return value[at - 1 if at > 0 else at]


class Key(str):
    """A step that is a member's name; an index by path may be a string too, and then finds nothing."""

    __slots__ = ()


def dig(value: Any, steps: Sequence[Any]) -> Any:
    """What is at the end of a long path."""
    for step in steps:
        value = get(value, step) if type(step) is Key else index(value, step)
    return value


def sliced(value: Any, first: int, last: int) -> list[Any]:
    """``value[first..last]``: both included; the end is clipped, the start is not."""
    if not isinstance(value, list):
        raise ValueError(f"only an array has a slice, not {describe(value)}")
    start = first if first > 0 else len(value) + first + 1
    end = last if last > 0 else len(value) + last + 1
    if first == 0 or last == 0 or start < 1:
        raise ValueError(f"the slice [{first}..{last}] begins before the first of {len(value)}; elements count from 1")
    if start > len(value) + 1:
        return []
    if end < start - 1:
        raise ValueError(f"the slice [{first}..{last}] ends before it begins")
    return value[start - 1 : end]


def as_rows(value: Any, limit: int) -> list[Any]:
    """What FOREACH goes through: an array; anything else is empty."""
    if not isinstance(value, list):
        return []
    if len(value) > limit:
        raise ValueError(f"an array of {len(value)} elements, more than max_rows: {limit}")
    return value


def named_levels(topics: Sequence[tuple[str, tuple[tuple[str, int], ...]]], columns: dict[str, Any]) -> dict[str, Any]:
    """The columns, with the named levels of the first topic filter that matches."""
    topic = columns.get("topic")
    if isinstance(topic, str):
        for filter, names in topics:
            if names and (len(topics) == 1 or matches(filter, topic)):
                levels = topic.split("/")
                return columns | {name: levels[i] for name, i in names if i < len(levels)}
    return columns


# -- writing


def put(target: Any, steps: Sequence[Any], value: Any) -> Any:
    """A copy of ``target`` with ``value`` at the path. What is in the way gives way; nothing is changed in place."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if type(step) is str:
        inner = put(get(target, step), rest, value) if rest else value
        return {**target, step: inner} if isinstance(target, dict) else {step: inner}
    inner = put(index(target, step), rest, value) if rest else value
    return _put_element(target, step, inner)


def _put_element(target: Any, at: Any, value: Any) -> list[Any]:
    if not isinstance(target, list):
        return [value]
    if isinstance(at, End):
        return [value, *target] if at.name == "head" else [*target, value]
    if type(at) is not int or at == 0 or not -len(target) <= at <= len(target):
        return target
    copy = list(target)
    copy[at - 1 if at > 0 else at] = value
    return copy


# -- arithmetic


def overflow() -> NoReturn:
    raise OverflowError


def checked(number: N) -> N:
    """The number, if it is one a float can hold."""
    if not -MAX_NUMBER <= number <= MAX_NUMBER:
        overflow()
    return number


def _need_numbers(a: Any, b: Any, what: str) -> None:
    if not (is_number(a) and is_number(b)):
        raise ValueError(f"cannot {what} {describe(a)} and {describe(b)}")


def add(a: Any, b: Any) -> Any:
    """The sum of two numbers; the text of both, joined, if one is a string."""
    if is_number(a) and is_number(b):
        return checked(a + b)
    if isinstance(a, str | bytes) or isinstance(b, str | bytes):
        return join(a, b)
    return _need_numbers(a, b, "add")


def join(*values: Any) -> str | bytes:
    """The texts of all values, as one."""
    parts = [text(value) for value in values]
    if sum(map(len, parts)) > MAX_BYTES:
        raise ValueError(f"a string of more than {MAX_BYTES} bytes")
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)  # type: ignore[arg-type]  # the line above
    return from_bytes(b"".join(map(to_bytes, parts)))


def subtract(a: Any, b: Any) -> Any:
    _need_numbers(a, b, "subtract")
    return checked(a - b)


def multiply(a: Any, b: Any) -> Any:
    _need_numbers(a, b, "multiply")
    return checked(a * b)


def divide(a: Any, b: Any) -> Any:
    _need_numbers(a, b, "divide")
    return checked(a / b)


def _need_integers(a: Any, b: Any, what: str) -> None:
    if type(a) is not int or type(b) is not int:
        raise ValueError(f"{what} takes two integers, not {describe(a)} and {describe(b)}")


def div(a: Any, b: Any) -> int:
    """Integer division, toward zero."""
    _need_integers(a, b, "div")
    quotient: int = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def mod(a: Any, b: Any) -> int:
    """What ``div`` leaves, with the sign of the dividend."""
    _need_integers(a, b, "mod")
    rest: int = abs(a) % abs(b)
    return -rest if a < 0 else rest


def minus(a: Any) -> Any:
    if not is_number(a):
        raise ValueError(f"cannot negate {describe(a)}")
    return -a


def chain(first: Any, *rest: Any) -> Any:
    """``first`` and then operation, operand, operation, operand … from the left."""
    for i in range(0, len(rest), 2):
        operation: Callable[[Any, Any], Any] = rest[i]
        first = operation(first, rest[i + 1])
    return first


# -- conditions


def fail(message: str) -> NoReturn:
    """What can never work, where some events do not come to it."""
    raise ValueError(message)


def truth(value: Any) -> bool:
    """A bare value as a condition: undefined and null count as false, other things than booleans are refused."""
    if type(value) is bool:
        return value
    if value is U or value is None:
        return False
    raise ValueError(f"a condition is true or false, not {describe(value)}")


def truth_of_call(value: Any) -> bool:
    """A function as a condition."""
    if type(value) is bool:
        return value
    raise ValueError(f"a condition is true or false; the function gave {describe(value)}")


def negated(value: Any) -> bool:
    """``NOT`` over a value: of what is no boolean, it is false."""
    return not value if type(value) is bool else False


NAMESPACE: Final[dict[str, Any]] = {
    **{name: globals()[name] for name in __all__},
    **{name: getattr(comparison, name) for name in comparison.__all__},
    "U": U,
    "MAX": MAX_NUMBER,
    "plain": plain,
    "HEAD": HEAD,
    "TAIL": TAIL,
}
