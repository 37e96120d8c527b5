"""What lint says to somebody who writes as other systems do."""

from pathlib import Path

from commands import Headrace

CONFIG = """\
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:0"}}
rules:
  named: {sql: 'SELECT device, payload.t AS t FROM "site/{device}/temp"', to: out}
sinks:
  out: {type: http, url: "http://localhost"RETRY}
"""


def lint(cli: Headrace, text: str) -> str:
    Path("p.yaml").write_text(text)
    return cli("lint", "p.yaml").out


def test_a_level_in_braces_is_told_from_one_with_a_name(cli: Headrace) -> None:
    assert "no source of this rule has a column 'device'; the level of a topic is named +device" in lint(
        cli, CONFIG.replace("RETRY", "")
    )


def test_an_unknown_key_among_few_is_answered_with_them(cli: Headrace) -> None:
    said = lint(cli, CONFIG.replace("RETRY", ", retry: {give_up: never, max_backoff: 60s}"))
    assert "unknown key 'give_up'; there is on, initial, max, max_asked, max_attempts" in said
    assert "unknown key 'max_backoff'; there is on," in said, "max_asked is near in letters only"


def test_a_decoder_alone_is_a_rule(cli: Headrace) -> None:
    plain = CONFIG.replace("RETRY", "")
    alone = "\n".join(
        "  lora: {decode: ttn, to: out}" if line.startswith("  named:") else line for line in plain.splitlines()
    )
    assert lint(cli, alone) == ""
    assert lint(cli, plain.replace("sql: ", "decode: ttn, sql: ")).count("error: ") == 1


def test_an_address_of_tokens_is_no_secret_and_a_token_is(cli: Headrace) -> None:
    auth = ', auth: {oauth2: {token_url: "https://idp/t", client_id: a, client_secret: hush, scop: x}}'
    said = lint(cli, CONFIG.replace("RETRY", auth))
    assert 'token_url: "https://idp/t"' in said
    assert "hush" not in said
