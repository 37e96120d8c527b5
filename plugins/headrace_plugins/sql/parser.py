"""Query text to nodes: SELECT and FOREACH statements. Expressions are read by ``expressions``."""

from __future__ import annotations

import re
from typing import Final

from headrace.topics import problem
from headrace_plugins.sql.errors import SqlError
from headrace_plugins.sql.expressions import ExpressionParser
from headrace_plugins.sql.lexer import tokenize
from headrace_plugins.sql.nodes import Compare, Expr, Field, Foreach, Path, Query, Select, Topic

__all__ = ["parse"]

_COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse(query: str, *, strict: bool = False, escapes: bool = False) -> Query:
    """Read one query. SqlError says where and why not.

    ``strict``: only what EMQX reads too. ``escapes``: in strings, ``''`` is one quote and ``\\n`` a newline.
    """
    try:
        query.encode()
    except UnicodeEncodeError as exc:
        raise SqlError.at(query, exc.start, "the query is not valid Unicode") from None
    if not query.strip(" \t\r\n"):
        raise SqlError.at(query, 0, "the query is empty", 'the shortest query is: SELECT * FROM "#"')
    try:
        return _Parser(query, tokenize(query, escapes=escapes), strict).query()
    except SqlError as exc:
        if "--" not in query.rstrip().rpartition("\n")[2]:
            raise
        problem = exc
    try:
        return _Parser(query, tokenize(query, comment_at_end=True, escapes=escapes), strict).query()
    except SqlError:
        raise problem from None


class _Parser(ExpressionParser):
    def query(self) -> Query:
        if self.take_keyword("SELECT"):
            fields = self._fields()
            topics, where = self._from(), self._where()
            self._finish()
            return Select(fields, topics, where)
        if self.take_keyword("FOREACH"):
            return self._foreach()
        raise self.unexpected("SELECT or FOREACH")

    def _foreach(self) -> Foreach:
        fields = self._fields()
        do = self._fields() if self.take_keyword("DO") else ()
        incase = self.condition() if self.take_keyword("INCASE") else None
        if incase is not None and self.at_keyword("DO"):
            raise self.unexpected("FROM")
        topics, where = self._from(), self._where()
        self._finish()
        return Foreach(fields, do, incase, topics, where)

    def _finish(self) -> None:
        if self.now.kind == "end":
            return
        raise self.unexpected("AND, OR or the end of the query" if self.seen_where else "WHERE or the end of the query")

    # -- FROM and WHERE

    def _from(self) -> tuple[Topic, ...]:
        if not self.take_keyword("FROM"):
            raise self.unexpected("',' or FROM")
        topics = [self._topic()]
        while self.take_op(","):
            topics.append(self._topic())
        if self.now.kind in ("quoted", "string"):
            raise self.unexpected("',' or WHERE")
        return tuple(topics)

    def _topic(self) -> Topic:
        token = self.now
        if token.kind not in ("name", "quoted", "string"):
            raise self.unexpected("a topic filter")
        self.advance()
        if self.now.kind == "op" and self.now.value == "/":
            raise self.unexpected("',' or WHERE")
        return self._filter(token.value, token.at)

    def _filter(self, name: str, at: int) -> Topic:
        """A topic filter; a level ``+name`` is a wildcard whose value is a column of that name."""
        levels = name.split("/")
        names: dict[str, int] = {}
        for i, level in enumerate(levels):
            if len(level) > 1 and level[0] == "+" and not self.strict and not name.startswith("$events/"):
                column = level[1:]
                if not _COLUMN.fullmatch(column) or column in names:
                    what = "is there twice" if column in names else "is no name"
                    raise self.error(at, f"the level {level} is a wildcard with a name, and {column} {what}")
                names[column] = i
                levels[i] = "+"
        filter = "/".join(levels)
        topic = Topic(filter, tuple(names.items()), at)
        wrong = problem(filter)
        if not wrong and topic.exact and topic.wild:
            wrong = "such a name is compared as it is, without wildcards"
        if wrong and not self.strict:  # EMQX takes it, and then it matches nothing
            raise self.error(at, f"{name!r} is no topic filter: {wrong}")
        return topic

    def _where(self) -> Expr | None:
        if not self.take_keyword("WHERE"):
            return None
        self.seen_where = True
        return self.condition()

    # -- field lists

    def _fields(self) -> tuple[Field, ...]:
        fields = [self._field()]
        while self.take_op(","):
            fields.append(self._field())
        return tuple(fields)

    def _field(self) -> Field:
        at = self.now.at
        if self.take_op("*"):
            return Field(None, None, "*", at)
        expr = self.case_in_parens() if self._case_follows() else self.value()
        text = self.text[at : self.previous_end]
        target: Path | None = None
        if self.take_keyword("AS") or (self.now.kind in ("name", "quoted") and not isinstance(expr, Compare)):
            target = self.target()
        return Field(expr, target, text, at)

    def _case_follows(self) -> bool:
        i = self.index
        while self.tokens[i].kind == "op" and self.tokens[i].value == "(":
            i += 1
        return self.tokens[i].kind == "keyword" and self.tokens[i].value == "CASE"
