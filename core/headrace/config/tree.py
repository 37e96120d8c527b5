"""YAML text → a tree of nodes that know where they stand. Values are not interpreted beyond YAML's own types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from headrace.config.problems import Mark, Problems, Text

__all__ = ["Node", "inside", "parse", "parse_scalar", "plain"]

MAX_NODES = 200_000
MAX_DEPTH = 100
_PREFIX = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Node:
    """A value: a scalar, ``dict[str, Node]`` or ``list[Node]``; where it begins, and where its key stands."""

    value: Any
    mark: Mark
    key: Mark
    style: str = ""
    """``|``, ``>``, a quote, or nothing: how a scalar was written."""
    span: tuple[int, int] = (0, 0)
    """A scalar's first and last index in the text; (0, 0) when its value is not what is written there."""

    @property
    def is_map(self) -> bool:
        return isinstance(self.value, dict)

    def child(self, step: int | str) -> Node | None:
        """The entry of that key or index."""
        if isinstance(self.value, dict):
            return self.value.get(step) if isinstance(step, str) else None
        known = isinstance(self.value, list) and isinstance(step, int) and step < len(self.value)
        return self.value[step] if known else None

    def entries(self) -> dict[str, Node]:
        """The entries of a map; none of anything else."""
        return self.value if isinstance(self.value, dict) else {}


def plain(node: Node) -> Any:
    """The value without its places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def parse(text: Text, problems: Problems) -> Node | None:
    """The tree of a text; None if it is empty or no YAML (then ``problems`` says why)."""
    try:
        root = YAML(typ="safe", pure=True).compose(text.text)
        return None if root is None else _Reader(text, problems).read(root, None, 0)
    except MarkedYAMLError as exc:
        where = exc.problem_mark or exc.context_mark
        mark = Mark(text, where.line + 1, where.column + 1) if where else Mark(text, 1, 1)
        problems.error(mark, _explain(exc, text, mark))
    except ReaderError as exc:
        before = text.text[: exc.position]
        mark = Mark(text, before.count("\n") + 1, len(before) - before.rfind("\n"))
        problems.error(mark, f"the character {chr(exc.character)!r} is not allowed in YAML")
    except (YAMLError, ValueError) as exc:
        problems.error(Mark(text, 1, 1), f"not YAML: {exc}")
    except RecursionError:
        problems.error(Mark(text, 1, 1), f"nested deeper than {MAX_DEPTH} levels")
    except _TooMuch as exc:
        problems.error(exc.mark, str(exc))
    return None


def parse_scalar(text: str) -> Any:
    """What YAML makes of a plain scalar: ``5`` → 5, ``true`` → True, ``abc`` → ``abc``."""
    yaml = YAML(typ="safe", pure=True)
    tag = yaml.resolver.resolve(ScalarNode, text, (True, False))
    return _scalar(ScalarNode(str(tag), text), yaml)


def inside(node: Node, line: int, column: int) -> Mark:
    """Where line and column (from 1) of a scalar's value stand in the file.

    The n-th visible character of the value is the n-th visible one of what is written, whatever folding and
    indentation did to the blanks between them.
    """
    begin, end = node.span
    if begin == end or not isinstance(node.value, str):
        return node.mark
    lines = node.value.split("\n")
    before = "\n".join(lines[: line - 1]) + lines[line - 1][: column - 1] if line <= len(lines) else node.value
    wanted = len("".join(before.split()))
    written = node.mark.text.text
    last = begin
    for index, seen in _visible(written, begin, end, node.style):
        if seen == wanted:
            return _mark_at(node.mark.text, index)
        last = index + 1
    return _mark_at(node.mark.text, last)


def _visible(written: str, begin: int, end: int, style: str) -> Any:
    """(index, how many visible characters came before) for each visible character of a written scalar."""
    at, seen = begin, 0
    if style in ("|", ">"):
        at = written.find("\n", begin, end) + 1 or end
    elif style:
        at, end = begin + 1, end - 1
    while at < end:
        char, size = written[at], 1
        if style == '"' and char == "\\":
            following = written[at + 1]
            size = {"x": 4, "u": 6, "U": 10}.get(following, 2)
            char = " " if following in "ntr \n_NLP" else "."
        elif style == "'" and char == "'":
            size = 2
        if not char.isspace():
            yield at, seen
            seen += 1
        at += size


def _mark_at(text: Text, index: int) -> Mark:
    start = text.text.rfind("\n", 0, index) + 1
    return Mark(text, text.text.count("\n", 0, index) + 1, index - start + 1)


class _TooMuch(Exception):
    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.mark = mark


class _Reader:
    def __init__(self, text: Text, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._yaml = YAML(typ="safe", pure=True)
        self._nodes = 0

    def read(self, node: YamlNode, key: Mark | None, depth: int) -> Node:
        mark = self._mark(node)
        self._nodes += 1  # aliases count each time they are used, so a bomb of them ends here
        if self._nodes > MAX_NODES:
            raise _TooMuch(mark, f"more than {MAX_NODES:,} values (do anchors multiply?)")
        if depth > MAX_DEPTH:
            raise _TooMuch(mark, f"nested deeper than {MAX_DEPTH} levels")
        made = Node(None, mark, key or mark)
        if isinstance(node, MappingNode):
            made.value = self._map(node, depth)
        elif isinstance(node, SequenceNode):
            made.value = [self.read(child, None, depth + 1) for child in node.value]
        elif isinstance(node, ScalarNode):
            made.value = self._read_scalar(node, mark)
            made.style, made.span = node.style or "", (self._begin(node), node.end_mark.index)
        return made

    def _map(self, node: MappingNode, depth: int) -> dict[str, Node]:
        merged: dict[str, Node] = {}
        entries: dict[str, Node] = {}
        for key, value in node.value:
            mark = self._mark(key)
            if key.tag == _PREFIX + "merge":
                for name, child in self._merge(value, mark, depth).items():
                    merged.setdefault(name, child)
            elif not isinstance(key, ScalarNode):
                self._problems.error(mark, "a key must be plain text")
            elif key.value in entries:
                first = entries[key.value].key
                self._problems.error(mark, f"{key.value!r} is here twice; the first is in {first}")
            else:
                entries[key.value] = self.read(value, mark, depth + 1)
        return {**merged, **entries} if merged else entries

    def _merge(self, value: YamlNode, mark: Mark, depth: int) -> dict[str, Node]:
        maps = value.value if isinstance(value, SequenceNode) else [value]
        result: dict[str, Node] = {}
        for each in maps:
            if not isinstance(each, MappingNode):
                self._problems.error(mark, "'<<' takes a map or a list of maps")
                continue
            for name, child in self.read(each, mark, depth + 1).entries().items():
                result.setdefault(name, child)
        return result

    def _read_scalar(self, node: YamlNode, mark: Mark) -> Any:
        try:
            return _scalar(node, self._yaml)
        except ValueError as exc:
            self._problems.error(mark, str(exc))
            return None

    def _begin(self, node: YamlNode) -> int:
        """Where a scalar itself begins, behind its anchor and tag."""
        begin, written = int(node.start_mark.index), self._text.text
        while begin < node.end_mark.index and written[begin] in "&!":
            begin += len(written[begin:].split(None, 1)[0])
            begin += len(written[begin:]) - len(written[begin:].lstrip())
        return begin

    def _mark(self, node: YamlNode) -> Mark:
        return Mark(self._text, node.start_mark.line + 1, node.start_mark.column + 1)


def _scalar(node: YamlNode, yaml: YAML) -> Any:
    kind = str(node.tag).removeprefix(_PREFIX)
    if kind in ("null", "bool", "int", "float"):
        return yaml.constructor.construct_object(node)
    if kind in ("str", "timestamp", "value", "merge"):
        return node.value
    raise ValueError(f"the tag {node.tag!r} is not used here")


def _explain(exc: MarkedYAMLError, text: Text, mark: Mark) -> str:
    """The parser's words, and what was probably meant."""
    message = str(exc.problem or exc.context or "not YAML").replace("<", "").replace(">", "")
    before = text.line(mark.line)[: mark.column - 1]
    if before.endswith("$") and text.line(mark.line)[mark.column - 1 : mark.column] == "{":
        return f'{message}: ${{…}} within {{…}} or […] needs quotes; quote it: "${{…}}"'
    if "mapping values are not allowed" in message:
        return f"{message}: text with ': ' in it needs quotes, or '|' and a new line"
    if "'\\t'" in message:
        return "a tab cannot indent; use spaces"
    if "cannot start any token" in message:
        return f"{message}: quote the text"
    if "found undefined alias" in message:
        return f"{message}: '*' begins a YAML alias; quote the text if you mean a star"
    if "another document" in message:
        return "one document a file: remove the '---' line"
    return message
