"""Components made for these tests, and a way to check a configuration given as text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from pydantic import Field, SecretStr, field_validator

from headrace import (
    Ack,
    Batch,
    ComponentConfig,
    Connector,
    Done,
    Duration,
    EndOfInput,
    Event,
    Form,
    JoiningSink,
    Output,
    Piece,
    Sink,
    Size,
    Source,
    Transform,
    hookimpl,
)
from headrace.config import Checked, check
from headrace.registry import PluginRow, Registry


class WireConfig(ComponentConfig):
    url: str = Field(description="Where to.", examples=["tcp://localhost"])
    pool: int = Field(4, ge=1, description="How many.")
    headers: dict[str, str] = Field(default_factory=dict, description="On every request.")
    token: SecretStr | None = Field(None, description="Who we are.")


class Wire(Connector[WireConfig]):
    """A wire."""

    name = "wire"


class OtherWire(Connector[ComponentConfig]):
    """Another kind of wire."""

    name = "other_wire"


class Inner(ComponentConfig):
    size: Size = Field(1024, description="How big.")
    deep: Literal["a", "b"] = Field("a", description="Which.")


class PostConfig(ComponentConfig):
    """What is posted."""

    path: str = Field("/", description="Where.")
    headers: dict[str, str] = Field(default_factory=dict, description="On this request.")
    body: Any = Field(None, description="What.")
    inner: Inner = Field(default_factory=Inner, description="More.")
    codes: tuple[int | Literal["all"], ...] = Field((), description="Which.")


class Post(JoiningSink[PostConfig]):
    """Send by wire."""

    name = "post"
    connector_type = Wire

    async def write(self, batch: Batch, done: Done) -> None: ...

    def piece(self, event: Event, form: Form) -> Piece:
        return Piece(None, b"")

    async def write_joined(self, batch: Batch, pieces: Sequence[bytes], common: Hashable, form: Form) -> None: ...


class OutConfig(ComponentConfig):
    path: str = Field("-", description="Where.")
    wait: Duration = Field(0.0, description="How long.")


class Out(Sink[OutConfig]):
    """Write."""

    name = "out"

    @classmethod
    def defaults(cls, config: OutConfig) -> dict[str, Any]:
        if config.path == "slow":
            return {"ttl": "45s", "retry": {"max": "15s", "on": ["network"]}}
        return {"tll": 1} if config.path == "wrong" else {}

    async def write(self, batch: Batch, done: Done) -> None: ...


class TickConfig(ComponentConfig):
    every: Duration = Field(1.0, gt=0, description="How often.")
    password: SecretStr | None = Field(None, description="Secret.")


class Tick(Source[TickConfig]):
    """Tick."""

    name = "tick"

    async def read(self) -> tuple[Batch, Ack]:
        raise EndOfInput


class LangError(ValueError):
    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{message} at {line}:{column}, at length")
        self.message, self.line, self.column = message, line, column


class LangConfig(ComponentConfig):
    query: str = Field(description="A query; the word BAD in it is an error.")

    @field_validator("query")
    @classmethod
    def _check(cls, query: str) -> str:
        for number, line in enumerate(query.split("\n"), 1):
            if "BAD" in line:
                raise LangError("that is bad", number, line.index("BAD") + 1)
        return query


class Lang(Transform[LangConfig]):
    """A language."""

    name = "lang"

    def process(self, batch: Batch) -> Output:
        return Output([])


class StepConfig(ComponentConfig):
    n: int = Field(description="A number.")


class Step(Transform[StepConfig]):
    """A step."""

    name = "step"

    def process(self, batch: Batch) -> Output:
        return Output([])


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    module = ModuleType("made")
    for kind, classes in {
        "sources": [Tick],
        "sinks": [Post, Out],
        "connectors": [Wire, OtherWire],
        "transforms": [Lang, Step],
    }.items():
        name = f"register_{kind}"

        def register(classes: list[Any] = classes) -> list[Any]:
            return classes

        register.__name__ = name
        setattr(module, name, hookimpl(register))
    made.register(module)
    made.rows.append(PluginRow("torn", "stranger", "1", error="ImportError: no torn"))
    made.rows.append(PluginRow("off", "stranger", "1", disabled=True))
    return made


Check = Callable[..., Checked]


@pytest.fixture
def checking(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """``checking(text, *overrides, **environment)``: the result for ``p.yaml`` with that text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(text: str, *overrides: str, **environ: str) -> Checked:
        Path("p.yaml").write_text(textwrap.dedent(text).lstrip("\n"))
        return check(["p.yaml"], overrides, registry=registry, environ=environ)

    return run


@pytest.fixture
def errors(checking: Check) -> Callable[..., list[str]]:
    """The same, as ``line:column: message`` of every error."""

    def run(text: str, *overrides: str, **environ: str) -> list[str]:
        problems = [p for p in checking(text, *overrides, **environ).problems if p.severity == "error"]
        return [f"{p.line}:{p.column}: {p.message}" for p in problems]

    return run


@pytest.fixture
def marked(checking: Check) -> Callable[..., list[str]]:
    """The messages of a text's errors, which must stand exactly where the text has a ``¦``."""

    def run(text: str) -> list[str]:
        places, lines = [], []
        for number, line in enumerate(text.split("\n"), 1):
            pieces = line.split("¦")
            places += [(number, len("".join(pieces[:i])) + 1) for i in range(1, len(pieces))]
            lines.append("".join(pieces))
        found = [p for p in checking("\n".join(lines)).problems if p.severity == "error"]
        assert [(p.line, p.column) for p in found] == places
        return [p.message.partition("; these plugins failed")[0] for p in found]

    return run
