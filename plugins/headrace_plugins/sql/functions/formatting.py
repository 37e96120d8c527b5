"""``sprintf``: the directives of Erlang's ``io_lib:format``."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from headrace_plugins.sql.functions.arguments import array, limited, string
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.values import U, describe, from_bytes, text, to_bytes

_DIRECTIVE: Final = re.compile(r"~(-?\d+|\*)?(?:\.(\d+|\*)?(?:\.(.))?)?([tlkK]*)(.)", re.DOTALL)
_MAX_WIDTH: Final = 10_000
_ROUNDING: Final = Context(prec=2 * _MAX_WIDTH, rounding=ROUND_HALF_UP)
_BYTE: Final = 0xFF
_CODE: Final = 0x10FFFF
_EXACT: Final = 1 << 53  # from here on, a float is written with an exponent
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@function(kind="str")
def sprintf_s(format: Any, args: Any) -> str | bytes:
    """A format with its arguments in an array."""
    return _Formatter(list(array(args))).format(string(format))


@function(kind="str")
def sprintf(format: Any, *args: Any) -> str | bytes:
    """A format and its arguments."""
    return _Formatter(list(args)).format(string(format))


class _Formatter:
    def __init__(self, args: list[Any]) -> None:
        self._args = args

    def format(self, format: str) -> str | bytes:
        parts: list[str] = []
        end = size = 0
        while (at := format.find("~", end)) >= 0:
            found = _DIRECTIVE.match(format, at)
            if found is None:
                raise ValueError(f"the directive {format[at : at + 10]!r} has no end")
            parts += [format[end:at], self._directive(found)]
            size = limited(size + len(parts[-1]))
            end = found.end()
        if self._args:
            raise ValueError(f"{len(self._args)} arguments too many")
        whole = "".join(parts) + format[end:]
        return whole if whole.isascii() else from_bytes(whole.encode("utf-8", "surrogateescape"))

    def _next(self) -> Any:
        if not self._args:
            raise ValueError("too few arguments")
        return self._args.pop(0)

    def _size(self, given: str | None) -> int | None:
        if given is None:
            return None
        size = self._next() if given == "*" else int(given)
        if type(size) is not int or abs(size) > _MAX_WIDTH:
            raise ValueError(f"a width is a number up to {_MAX_WIDTH}")
        return size

    def _directive(self, found: re.Match[str]) -> str:
        width, precision = self._size(found[1]), self._size(found[2])
        fill, letter = found[3] or " ", found[5]
        if letter == "~":
            return "~"
        if letter == "n":
            return "\n" * max(1, width or 1)
        value = self._next()
        if letter == "i":
            return ""
        if letter == "s":
            shown = _characters(value)[:precision]
            width = width if width is not None else precision
            return (
                shown[: abs(width)].ljust(abs(width), fill)
                if width is not None and width < 0
                else (shown[:width].rjust(width, fill) if width is not None else shown)
            )
        if letter == "c":
            return _padded(_character(value) * max(1, precision or 1), width, fill)
        return _padded(self._shown(letter, value, precision, "t" in found[4]), width, fill)

    def _shown(self, letter: str, value: Any, precision: int | None, wide: bool) -> str:
        if letter in "feg":
            if type(value) is not float:
                raise ValueError(f"~{letter} takes a float, not {describe(value)}")
            return _float(letter, value, precision)
        if letter in "bBxX+#":
            prefix = _characters(self._next()) if letter in "xX" else ""
            return _integer(letter, value, 10 if precision is None else precision, prefix)
        if letter in "wp" and precision is None:
            return _term(value, (_CODE if wide else _BYTE) if letter == "p" else 0)
        raise ValueError(f"the directive ~{letter} is unknown")


def _padded(shown: str, width: int | None, fill: str) -> str:
    """A field of a width, on its right side unless it is negative; stars for what does not fit."""
    if width is None:
        return shown
    if len(shown) > abs(width):
        return "*" * abs(width)
    return shown.rjust(width, fill) if width >= 0 else shown.ljust(-width, fill)


def _float(letter: str, value: float, precision: int | None) -> str:
    if letter == "g":
        letter = "f" if 0.1 <= abs(value) < 10_000 else "e"
    if letter == "f":
        decimals = 6 if precision is None else precision
        if decimals < 1:
            raise ValueError("~f takes one decimal or more")
        return f"{_ROUNDING.quantize(Decimal(value), Decimal(1).scaleb(-decimals)):f}"
    digits = 6 if precision is None else precision
    if digits < 2:
        raise ValueError("~e takes two digits or more")
    rounded = Context(prec=digits, rounding=ROUND_HALF_UP).plus(Decimal(value)) if value else 0.0
    mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent):+d}"


def _integer(letter: str, value: Any, base: int, prefix: str) -> str:
    if type(value) is not int:
        raise ValueError(f"~{letter} takes an integer, not {describe(value)}")
    if not 2 <= base <= 36:
        raise ValueError("a base is 2 to 36")
    rest, digits = abs(value), ""
    while rest or not digits:
        rest, digit = divmod(rest, base)
        digits = _DIGITS[digit] + digits
    if letter in "+#":
        prefix = f"{base}#"
    shown = digits.upper() if letter in "BX#" else digits
    return ("-" if value < 0 else "") + prefix + shown


def _character(value: Any) -> str:
    if type(value) is not int or not 0 <= value <= 0x10FFFF or 0xD800 <= value <= 0xDFFF:
        raise ValueError(f"~c takes a code point, not {describe(value)}")
    return chr(value)


def _characters(value: Any) -> str:
    """Strings, names of booleans and null, and arrays of them and of code points."""
    if isinstance(value, list):
        return "".join(_character(item) if type(item) is int else _characters(item) for item in value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, str) or value is U or value is None or type(value) is bool:
        return string(text(value))
    raise ValueError(f"~s takes a string, not {describe(value)}")


def _printable(code: Any, last: int) -> bool:
    if type(code) is not int:
        return False
    return code <= last and (0x20 <= code <= 0x7E or code >= 0xA0 or code in (8, 9, 10, 11, 12, 13, 27))


def _term(value: Any, last: int) -> str:
    """Erlang's own notation. Text is shown as text, not as numbers, if none of its codes is beyond ``last``."""
    if isinstance(value, str | bytes):
        data = to_bytes(value)
        codes = map(ord, value) if last > _BYTE and isinstance(value, str) else data
        if isinstance(value, str) and value and all(_printable(code, last) for code in codes):
            return f'<<"{_quoted(value)}"{"" if value.isascii() or last == _BYTE else "/utf8"}>>'
        return f"<<{','.join(map(str, data))}>>"
    if isinstance(value, list):
        if value and all(_printable(item, last) for item in value):
            return f'"{_quoted("".join(map(chr, value)))}"'
        return f"[{','.join(_term(item, last) for item in value)}]"
    if isinstance(value, dict):
        members = (f"{_term(key, last)} => {_term(value[key], last)}" for key in sorted(value))
        return f"#{{{','.join(members)}}}"
    if type(value) is float:
        return _shortest(value)
    return string(text(value))


def _quoted(value: str) -> str:
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(char, escape)
    return value


def _shortest(value: float) -> str:
    """The fewest digits that give this float, with an exponent where that is shorter."""
    number = Decimal(repr(value)).normalize()
    digits = "".join(map(str, number.as_tuple().digits))
    point = number.adjusted() + 1
    exponent = str(point - 1)
    zeros = len(exponent) + (3 if len(digits) == 1 else 2)  # as many characters does an exponent take
    if 0 <= point < len(digits):
        shown = f"{digits[:point] or '0'}.{digits[point:]}"
    elif point < 0 and 2 - point <= zeros:
        shown = f"0.{'0' * -point}{digits}"
    elif point > 0 and point - len(digits) + 2 <= zeros and abs(value) < _EXACT:
        shown = f"{digits}{'0' * (point - len(digits))}.0"
    else:
        shown = f"{digits[0]}.{digits[1:] or '0'}e{exponent}"
    return f"-{shown}" if value < 0 else shown
