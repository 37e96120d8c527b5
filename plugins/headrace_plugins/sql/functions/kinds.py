"""Of which kind a value is, and what to take if it is not there."""

from __future__ import annotations

from typing import Any

from headrace_plugins.sql.functions.arguments import array
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.functions.maps import as_map
from headrace_plugins.sql.values import U, is_number


@function()
def null() -> Any:
    """Undefined."""
    return U


@function(kind="bool")
def is_null(value: Any) -> bool:
    """Is the value undefined? (JSON's null is not.)"""
    return value is U


@function(kind="bool")
def is_null_var(value: Any) -> bool:
    """Is the value undefined, or JSON's null?"""
    return value is U or value is None


@function(kind="bool")
def is_not_null(value: Any) -> bool:
    """Is the value defined? (JSON's null is.)"""
    return value is not U


@function(kind="bool")
def is_not_null_var(value: Any) -> bool:
    """Is the value neither undefined nor JSON's null?"""
    return not (value is U or value is None)


@function(kind="bool")
def is_str(value: Any) -> bool:
    """Is it a string?"""
    return isinstance(value, str | bytes)


@function(kind="bool")
def is_bool(value: Any) -> bool:
    """Is it a boolean?"""
    return type(value) is bool


@function(kind="bool")
def is_int(value: Any) -> bool:
    """Is it an integer?"""
    return type(value) is int


@function(kind="bool")
def is_float(value: Any) -> bool:
    """Is it a float?"""
    return type(value) is float


@function(kind="bool")
def is_num(value: Any) -> bool:
    """Is it an integer or a float?"""
    return is_number(value)


@function(kind="bool")
def is_map(value: Any) -> bool:
    """Is it an object?"""
    return isinstance(value, dict)


@function(kind="bool")
def is_array(value: Any) -> bool:
    """Is it an array?"""
    return isinstance(value, list)


@function(kind="bool")
def is_empty(value: Any) -> bool:
    """No elements, no text, no members, also of a JSON object that is a string. Other text has no answer."""
    if isinstance(value, list) or value == "":
        return not value
    return not as_map(value)


@function("COALESCE")
@function()
def coalesce(value: Any, *others: Any) -> Any:
    """The first that is not undefined, of the values or of an array."""
    values = [value, *others] if others else array(value)
    return next((value for value in values if value is not U), U)


@function()
def coalesce_ne(value: Any, *others: Any) -> Any:
    """The first that is neither undefined nor an empty string, of the values or of an array."""
    values = [value, *others] if others else array(value)
    return next((value for value in values if value is not U and value != ""), U)
