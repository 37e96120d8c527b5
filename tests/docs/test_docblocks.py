"""The harness behind the pages: what is wrong on a page is found."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAMLError

import docblocks
from docblocks import Page, blocks


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setattr(docblocks, "PATIENCE", 0.5)
    page = Page(tmp_path)
    yield page
    page.close()


def run(page: Page, markdown: str) -> None:
    for block in blocks(markdown):
        page.test(block)


def test_blocks_are_found_with_their_options_and_without_their_indent():
    (first, second) = blocks(
        'a\n```sh background=x port=1\nls\n```\n\n- b\n  ```text output="a b"\n  c\n    d\n  ```\n'
    )
    assert (first.line, first.language, first.text) == (2, "sh", "ls\n")
    assert first.options == {"background": "x", "port": "1"}
    assert (second.text, second.options) == ("c\n  d\n", {"output": "a b"})


@pytest.mark.parametrize("opening", ["```", "```bash", "```sh lint", "```sh wait=5", "```toml lint=x"])
def test_a_mark_nobody_knows_is_refused(opening: str):
    with pytest.raises(ValueError, match="line 1: "):
        blocks(f"{opening}\nx\n```\n")


@pytest.mark.parametrize(
    "markdown",
    [
        "```sh\nfalse\n```",
        "```sh\nfalse | true\n```",
        '```sh lint="never run"\nif\n```',
        "```sh\necho one\n```\n```text output\ntwo\n```",
        "```sh retry\ntest -e never\n```",
        "```sh background=x port=5000\nsleep 5\n```",
        "```sh background=x\nsleep 0.2\n```\n```text output=x\nhello\n```",
        "```python\n1 / 0\n```",
        '```python lint="never run"\n1 +\n```',
        "```yaml\nsources: {a: {type: nonsense}}\n```",
        "```yaml part=sinks\na: {type: consol}\n```",
        '```yaml lint="not installed"\na: {b\n```',
        "```toml\na = \n```",
        "```json\n{,}\n```",
    ],
)
def test_a_block_that_is_not_true_fails(page: Page, markdown: str):
    with pytest.raises((AssertionError, SyntaxError, ValueError, YAMLError)):
        run(page, markdown)


def test_blocks_share_a_folder_and_output_is_compared(page: Page):
    run(page, "```sh\necho 12 > n\n```\n```sh\ncat n; echo three\n```\n```text output\n1…\nthree\n```")
    run(page, "```python file=answer.py\nprint(42)\n```\n```sh\npython answer.py\n```\n```text output\n42\n```")


def test_a_background_process_is_waited_for_read_and_ended(page: Page):
    server = "python -c \"import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=5000, bind='127.0.0.1')\""
    run(page, f"```sh background=server port=5000\n{server}\n```\n```text output=server\nServing … port 5000\n```")
    ((process, _),) = page._running.values()
    page.close()
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_block_is_run_again_until_it_and_its_output_are_right(page: Page):
    count = "n=$(($(cat n 2>/dev/null || echo 0) + 1)); echo $n > n; test $n -gt 2; echo $n"
    run(page, f"```sh retry\n{count}\n```\n```text output\n5\n```")


def test_a_part_of_a_configuration_is_linted_inside_a_whole(page: Page):
    run(page, "```yaml part=sinks\nout:\n  type: console\n```")
    run(page, "```yaml part=sinks\n  out: {type: console}\n```")
    run(page, "```yaml part=sources\nin: {type: generate, rate: 1}\n```")
