"""Parts are changed in their file, and everything around them stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, SecretStr
from ruamel.yaml import YAML

from headrace import Batch, ComponentConfig, Done, Sink, hookimpl
from headrace.config.edit import Edit
from headrace.config.problems import InvalidConfig
from headrace.errors import ConfigError
from headrace.registry import Registry

FILE = """\
# of the plant
sinks:
  s:
    url: "${env:HEADRACE_TEST_HOST:-http://127.0.0.1:9}"   # here
    path: /a
    inflight: "${env:HEADRACE_TEST_NUMBER:-5}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plant.yaml"
    path.write_text(FILE)
    return path


def test_a_placeholder_stays_when_what_it_stands_for_comes_back(file: Path) -> None:
    _, text = Edit([str(file)]).put("sinks", "s", {"url": "http://127.0.0.1:9", "path": "/b", "inflight": 5})
    assert text == FILE.replace("/a", "/b")


def test_a_placeholder_goes_when_something_else_comes(file: Path) -> None:
    _, text = Edit([str(file)]).put("sinks", "s", {"url": "http://127.0.0.1:10", "path": "/a"})
    assert "http://127.0.0.1:10" in text
    assert "env:" not in text


def test_a_file_that_is_no_yaml_is_shown_and_replaced_and_not_added_to(file: Path) -> None:
    file.write_text("sinks: [\npassword: hush")
    edit = Edit([str(file)])
    assert edit.shown(file) == "sinks: [\npassword: ****"
    assert edit.replaced(str(file), "name: plant\n") == (file, "name: plant\n")
    with pytest.raises(ConfigError, match="repair it first"):
        edit.put("sinks", "s", {"url": "http://127.0.0.1:9"})


TEXT = """\
sinks:
  # one
  alarm: {type: http}   # own
  # two
  spare:
    type: http # y
    body: |
      x
      y
  # three
  third:
    headers:
    - 1
    - 2
  # four
  fifth: {type: console}
# the end
top: 1
"""
COMMENTS = ("# one", "# two", "# three", "# four", "# the end")


@pytest.mark.parametrize("name", ["alarm", "spare", "third", "fifth"])
def test_comments_around_a_part_that_is_removed_stay(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(TEXT)
    path, text = Edit([str(file)]).take("sinks", name)
    file.write_text(text)
    assert [line.strip() for line in text.splitlines() if line.strip().startswith("#")] == list(COMMENTS)
    left = Edit([str(path)])
    assert left.given("sinks", name) is None
    with pytest.raises(ConfigError, match=f"names sinks.{name}"):
        left.take("sinks", name)


def test_comments_after_an_option_that_is_removed_stay(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("sinks:\n  a:\n    type: console\n    enable: false   # for now\n  # next\n  b: {type: console}\n")
    _, text = Edit([str(file)]).put("sinks", "a", {"type": "console"})
    assert text == "sinks:\n  a:\n    type: console\n  # next\n  b: {type: console}\n"


@pytest.mark.parametrize(
    ("kind", "type", "url", "shown", "kept", "more"),
    [
        (
            "connectors", "http", "http://one/?x=1&token=hush", "http://one/?x=1&token=****", "token=hush",
            {"pool_size": 1},
        ),
        ("sources", "mqtt", "mqtt://ada:hunter2@one:1883", "mqtt://ada:*******@one:1883", "hunter2@one", {"qos": 1}),
    ],
    ids=["token", "password"],
)  # fmt: skip
def test_a_secret_in_a_url_is_kept_with_that_url_only(
    tmp_path: Path, kind: str, type: str, url: str, shown: str, kept: str, more: dict[str, int]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"{kind}: {{a: {{type: {type}, url: '{url}'}}}}\n")
    edit = Edit([str(file)])
    told = edit.told(kind, "a")
    assert told == {"type": type, "url": shown}
    assert kept in edit.put(kind, "a", {**told, **more})[1]
    with pytest.raises(ConfigError, match="once more"):
        edit.put(kind, "a", {**told, "url": told["url"].replace("one", "two")})


SECRETS = """\
sinks:
  a:
    type: http
    headers:
      Authorization: hush
      X-Other: seen
"""


NOTHING = "****** keeps the value that is there, and there is none: give it in full; the file has no "


@pytest.mark.parametrize(
    ("old", "new", "place", "option", "meant"),
    [
        ("headers:", "haeders:", "4:5", "haeders.Authorization", "haeders (did you mean 'headers'?)"),
        ("Auth", "Outh", "5:7", "headers.Outhorization", "headers.Outhorization (did you mean 'Authorization'?)"),
    ],
    ids=["parent", "key"],
)
def test_stars_that_stand_for_nothing_are_told_at_the_key_that_is_not_there(
    tmp_path: Path, old: str, new: str, place: str, option: str, meant: str
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(SECRETS)
    edit = Edit([str(file)])
    shown = edit.shown(file)
    assert "hush" not in shown
    assert "hush" in edit.replaced(str(file), shown)[1]
    with pytest.raises(InvalidConfig) as caught:
        edit.replaced(str(file), shown.replace(old, new))
    (problem,) = caught.value.problems
    assert f"{problem}".startswith(f"{file}:{place}: error: sinks.a.{option}: {NOTHING}sinks.a.{meant}")


class Door(ComponentConfig):
    """Where a siren is."""

    code: SecretStr = Field(description="Opens it.")
    name: str = Field("", description="What people call it.")


class SirenConfig(ComponentConfig):
    """A stranger's, whose options are not called what they are."""

    pin: SecretStr | None = Field(None, description="Of the siren.")
    pins: tuple[SecretStr, ...] = Field((), description="More of them.")
    labels: dict[str, SecretStr] = Field({}, description="Headers.")
    doors: list[Door] = Field([], description="Those it is at.")


class Siren(Sink[SirenConfig]):
    """Loud."""

    name = "siren"

    async def write(self, batch: Batch, done: Done) -> None:
        """To nobody."""


SIREN = """\
sinks:
  a:
    type: siren
    pin: 4711   # of the siren
    pins: [one, two]
    labels: {Accept: text/plain, X-Key: three}
    doors:
    - {code: four, name: front}
"""


class Stranger:
    @hookimpl
    def register_sinks(self) -> list[type[Siren]]:
        return [Siren]


@pytest.fixture
def siren(tmp_path: Path) -> Edit:
    file = tmp_path / "a.yaml"
    file.write_text(SIREN)
    registry = Registry()
    registry.register(Stranger())
    return Edit([str(file)], registry)


def test_what_the_model_of_a_plugin_calls_a_secret_is_starred_out_and_kept(siren: Edit) -> None:
    told = siren.told("sinks", "a")
    assert told == {
        "type": "siren",
        "pin": "******",
        "pins": ["******", "******"],
        "labels": {"Accept": "text/plain", "X-Key": "******"},
        "doors": [{"code": "******", "name": "front"}],
    }
    (path,) = siren.paths
    assert all(word not in siren.shown(path) for word in ("4711", "one", "two", "three", "four"))
    _, text = siren.put("sinks", "a", {**told, "labels": {**told["labels"], "Accept": "*/*"}})
    assert text == SIREN.replace("text/plain", "'*/*'")
    _, text = siren.replaced(str(path), siren.shown(path))
    assert YAML(typ="safe").load(text) == YAML(typ="safe").load(SIREN)


def test_stars_of_a_list_that_is_longer_now_could_be_any_of_it(siren: Edit) -> None:
    told = siren.told("sinks", "a")
    assert told is not None
    with pytest.raises(ConfigError, match="give it in full"):
        siren.put("sinks", "a", {**told, "pins": ["new", "******", "******"]})
    with pytest.raises(ConfigError, match="give it in full"):
        siren.put("sinks", "a", {**told, "pins": ["******"]})
    _, text = siren.put("sinks", "a", {**told, "pins": ["new", "******"]})
    assert YAML(typ="safe").load(text)["sinks"]["a"]["pins"] == ["new", "two"]
