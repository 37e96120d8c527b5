"""Code blocks of Markdown pages, and what becomes of each when the pages are tested.

The words after a block's language say how (readers of the page do not see them):

    ```sh                          run by bash, in order, in one scratch folder a page; must succeed
    ```sh background=NAME port=N   started, and left running until the page is done; N must listen before the next
    ```sh retry                    run again until it succeeds and the output block below agrees
    ```sh lint="why"               only checked for syntax, and why
    ```yaml                        a whole configuration: linted
    ```yaml file=NAME              …and written to the scratch folder, for the sh blocks
    ```yaml part=SECTION           entries of one section: linted inside a whole
    ```yaml lint="why"             must only parse, and why
    ```python                      run; ```python lint="why" is only compiled
    ```toml, ```json               must parse
    ```text                        prose
    ```text output                 what the sh block before it prints; … stands for anything
    ```text output=NAME            lines that the background process NAME has printed, or will soon

The scratch folder holds copies of sample_configs and examples. Well-known ports (1883, 1884, 5000, 8080) are replaced
by free ones in everything that runs, so pages can be tested beside each other and beside a broker of the machine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ruamel.yaml import YAML

from headrace.config import check

__all__ = ["Block", "Page", "blocks"]

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 20.0
PORTS = ("1883", "1884", "5000", "8080")
WORDS = {
    "sh": {"background", "port", "retry", "lint"},
    "yaml": {"file", "lint", "part"},
    "python": {"lint", "file"},
    "text": {"output"},
    "toml": set[str](),
    "json": set[str](),
}
_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block. ``options``: the words after the language; a word alone is its own value."""

    line: int
    language: str
    text: str
    options: dict[str, str] = field(default_factory=dict)


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a page. ValueError if one is marked in a way nobody knows."""
    found = []
    for match in _FENCE.finditer(markdown):
        line = markdown.count("\n", 0, match.start()) + 1
        language, *words = shlex.split(match[2]) or [""]
        options = {name: value or name for name, _, value in (word.partition("=") for word in words)}
        if language not in WORDS:
            raise ValueError(f"line {line}: a block needs a language of {', '.join(WORDS)}, not {language!r}")
        if unknown := options.keys() - WORDS[language]:
            raise ValueError(f"line {line}: {language} blocks know no {', '.join(unknown)}")
        if options.get("lint") == "lint":
            raise ValueError(f'line {line}: say why it is not run: lint="…"')
        indent = match[1]
        text = "".join(part.removeprefix(indent) for part in match[3].splitlines(keepends=True))
        found.append(Block(line, language, text, options))
    return found


class Page:
    """Tests the blocks of one page, in order, in a scratch folder."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.ports = {port: str(_free_port()) for port in PORTS}
        self._any_port = re.compile(rf"(?<![\w.])(?:{'|'.join(PORTS)})(?![\w.])")
        self._running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self._last = ""
        self._again: Callable[[], str] | None = None
        self._prepare()

    def _prepare(self) -> None:
        for folder in ("sample_configs", "examples"):
            shutil.copytree(ROOT / folder, self.scratch / folder)
            for file in (self.scratch / folder).rglob("*.yaml"):
                file.write_text(self._ours(file.read_text()))
        home = self.scratch / ".home"
        for client in ("mosquitto_pub", "mosquitto_sub"):  # where they look for their default options
            (home / "config").mkdir(parents=True, exist_ok=True)
            (home / "config" / client).write_text(f"-p {self.ports['1883']}\n")
        paths = [str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
        self.env = {
            **os.environ,
            "PATH": os.pathsep.join(paths),
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_RUNTIME_DIR": str(home),
            "PYTHONUNBUFFERED": "1",
        }

    def _ours(self, text: str) -> str:
        return self._any_port.sub(lambda match: self.ports[match[0]], text)

    def _theirs(self, text: str) -> str:
        for port, ours in self.ports.items():
            text = text.replace(ours, port)
        return text

    def test(self, block: Block) -> None:
        """AssertionError, with what was printed, if the block is not true."""
        getattr(self, f"_{block.language}")(block)

    def close(self) -> None:
        """End every background process, each by its own group."""
        for process, _ in self._running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    # -- by language ------------------------------------------------------------------------------------------

    def _sh(self, block: Block) -> None:
        text = self._ours(block.text)
        if "lint" in block.options:
            self._bash("-n", "-c", text)
        elif "background" in block.options:
            self._start(block.options["background"], text, block.options.get("port"))
        else:
            script = f"set -euo pipefail\n{text}"
            self._again = (lambda: self._bash("-c", script)) if "retry" in block.options else None
            self._last = _eventually(self._again) if self._again else self._bash("-c", script)

    def _bash(self, *args: str) -> str:
        result = subprocess.run(
            ["bash", *args], cwd=self.scratch, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}{result.stderr}"
        return result.stdout

    def _start(self, name: str, text: str, port: str | None) -> None:
        log = self.scratch / f".{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", text], cwd=self.scratch, env=self.env, stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        self._running[name] = process, log

        def listens() -> None:
            assert process.poll() is None, f"{name} has ended: {log.read_text()}"
            with socket.socket() as probe:
                assert not port or probe.connect_ex(("127.0.0.1", int(self._ours(port)))) == 0, log.read_text()

        _eventually(listens)

    def _yaml(self, block: Block) -> None:
        text = self._ours(block.text)
        if "lint" in block.options:
            YAML().load(text)
            return
        if "part" in block.options:
            text = _whole(block.options["part"], text)
        file = self.scratch / block.options.get("file", f"line{block.line}.yaml")
        file.write_text(text)
        problems = [found for found in check([file], environ=self.env).problems if found.severity == "error"]
        assert not problems, "\n".join(str(problem) for problem in problems)

    def _python(self, block: Block) -> None:
        text = self._ours(block.text)
        compile(text, f"line {block.line}", "exec")
        file = self.scratch / block.options.get("file", f"line{block.line}.py")
        file.write_text(text)
        if "lint" not in block.options and "file" not in block.options:
            self._last = self._bash("-c", f"python -W error {shlex.quote(str(file))}")

    def _text(self, block: Block) -> None:
        wanted = block.options.get("output")
        if wanted == "output":
            again = self._again

            def agrees() -> None:
                printed = again() if again else self._last
                assert _agree(block.text, self._theirs(printed)), f"printed instead:\n{printed}"

            _eventually(agrees) if again else agrees()
        elif wanted:
            _, log = self._running[wanted]

            def printed_all() -> None:
                printed = self._theirs(log.read_text())
                missing = [line for line in block.text.splitlines() if not _agree(f"…{line}…", printed)]
                assert not missing, f"{wanted} has not printed {missing}, but:\n{printed}"

            _eventually(printed_all)

    def _toml(self, block: Block) -> None:
        tomllib.loads(block.text)

    def _json(self, block: Block) -> None:
        json.loads(block.text)


def _whole(section: str, entries: str) -> str:
    """A configuration around the entries of one section."""
    entries = textwrap.dedent(entries)
    names = YAML(typ="safe").load(entries)
    rest = {
        "sources": "sources: {input: {type: generate}}\n",
        "rules": f"rules: {{all: {{sql: 'SELECT * FROM \"#\"', to: [{', '.join(names)}]}}}}\n",
        "sinks": "sinks: {my_sink: {type: console}}\n",
    }
    if section != "sinks":
        rest["rules"] = "rules: {all: {sql: 'SELECT * FROM \"#\"', to: my_sink}}\n"
    rest.pop(section, None)
    return f"{section}:\n{textwrap.indent(entries, '  ')}\n" + "".join(rest.values())


def _agree(pattern: str, text: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.strip().split("…"))
    return re.fullmatch(expression, text.strip(), re.DOTALL) is not None


def _eventually(attempt: Callable[[], T]) -> T:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
