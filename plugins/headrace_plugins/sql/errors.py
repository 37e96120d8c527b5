"""The errors of rule SQL: when a query is read, and when an event is evaluated."""

from __future__ import annotations

__all__ = ["EvaluationError", "Problem", "SqlError"]


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
        return "division by zero"
    if isinstance(exc, OverflowError):
        return "the number is too large"
    if isinstance(exc, RecursionError):
        return "the value is nested too deeply"
    text = str(exc)
    return text if type(exc) is ValueError and text else f"{type(exc).__name__}: {text}"
