"""The errors of rule SQL: when a query is read, and when an event is evaluated."""

from __future__ import annotations

from typing import Final

__all__ = ["QUERY_FILE", "EvaluationError", "Problem", "SqlError"]

QUERY_FILE: Final = "<query>"
_NO_FUNCTIONS: Final = (".sql.runtime", ".sql.comparison", "headrace.events")


class SqlError(ValueError):
    """A query that cannot be used. ``line`` and ``column`` count from 1, within the query's own text.

    ``message`` is what is wrong, with a hint where there is one. ``str()`` is the whole report, with the place.
    """

    def __init__(self, problem: str, line: int, column: int, hint: str = "", source: str = "") -> None:
        super().__init__(problem)
        self.message = f"{problem}; {hint}" if hint else problem
        self.problem = problem
        self.line = line
        self.column = column
        self.hint = hint
        self.source = source

    @classmethod
    def at(cls, query: str, offset: int, message: str, hint: str = "") -> SqlError:
        """An error at a character offset of ``query``."""
        offset = min(offset, len(query))
        line = query.count("\n", 0, offset) + 1
        start = query.rfind("\n", 0, offset) + 1
        end = query.find("\n", start)
        return cls(message, line, offset - start + 1, hint, query[start : end if end >= 0 else len(query)])

    def __str__(self) -> str:
        text = f"line {self.line}, column {self.column}: {self.problem}"
        if self.source:
            text += "\n" + _excerpt(self.source, self.column - 1)
        if self.hint:
            text += f"\nhint: {self.hint}"
        return text


def _excerpt(source: str, at: int, width: int = 100) -> str:
    start = max(0, at - width // 2)
    shown = source[start : start + width].replace("\t", " ").replace("\r", " ")
    lead = "…" if start else ""
    return f"  {lead}{shown}\n  {' ' * (at - start + len(lead))}^"


class Problem(Exception):
    """Something no event can be evaluated with; ``at`` is its place in the query."""

    def __init__(self, at: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.message = message
        self.hint = hint


class EvaluationError(ValueError):
    """One event could not be evaluated. ``clause``: SELECT, WHERE, FOREACH, INCASE or DO."""

    def __init__(self, clause: str, reason: Exception) -> None:
        super().__init__(f"{clause}: {_reason(reason)}")
        self.clause = clause


def _reason(exc: Exception) -> str:
    if isinstance(exc, ZeroDivisionError):
        text = "division by zero"
    elif isinstance(exc, OverflowError):
        text = "the number is too large"
    elif isinstance(exc, RecursionError):
        text = "the value is nested too deeply"
    elif type(exc) is ValueError and exc.args:
        text = str(exc)
    else:
        text = f"{type(exc).__name__}: {exc}"
    name = _function_of(exc)
    return f"{name}(): {text}" if name else text


def _function_of(exc: Exception) -> str:
    """The SQL function that raised: what the query's code, which has no file, called."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != QUERY_FILE:
        trace = trace.tb_next
    called = trace.tb_next if trace is not None else None
    if called is None or called.tb_frame.f_globals.get("__name__", "").endswith(_NO_FUNCTIONS):
        return ""
    return called.tb_frame.f_code.co_name.rstrip("_")
