"""Options of the http connector and sink: what is taken, what is refused and why, what is masked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from headrace_plugins.http import HttpSink
from headrace_plugins.http.config import HttpConnectorConfig, HttpSinkConfig
from headrace_plugins.http.url import parse_url


def problems(model: Any, **options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        model(**options)
    return "; ".join(error["msg"] for error in caught.value.errors())


class TestUrl:
    @pytest.mark.parametrize(
        ("url", "host", "port", "authority", "path"),
        [
            ("http://h", "h", 80, "h", ""),
            ("https://h/x/", "h", 443, "h", "/x/"),
            ("http://h:5000/a", "h", 5000, "h:5000", "/a"),
            ("https://h:80", "h", 80, "h:80", ""),
            ("http://[::1]:8080/x", "::1", 8080, "[::1]:8080", "/x"),
            ("HTTP://Host/X", "host", 80, "host", "/X"),
            ("http://bücher.example/", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
            ("http://h/devices/${device}/state", "h", 80, "h", "/devices/${device}/state"),
        ],
    )
    def test_is_taken_apart(self, url: str, host: str, port: int, authority: str, path: str) -> None:
        found = parse_url(url)
        assert (found.host, found.port, found.authority, found.path) == (host, port, authority, path)

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("localhost:5000", "no scheme"),
            ("//h/x", "no scheme"),
            ("h", "no scheme"),
            ("", "no scheme"),
            ("ftp://h", "unsupported scheme 'ftp'"),
            ("http://", "no host"),
            ("http:///x", "no host"),
            ("http://:80", "no host"),
            ("http://h:0", "port 0"),
            ("http://h:99999", "Port out of range"),
            ("http://h:x", "Port could not be cast"),
            ("http://h/#top", "no fragment"),
            ("http://${host}/", "the host must be literal unless allow_hosts"),
            ("http://h/a b", "no spaces"),
            ("http://h/\r\nX: y", "no spaces"),
            ("http://[::1/", "Invalid IPv6 URL"),
            ("http://h/${x|nope}", "unknown filter 'nope'"),
        ],
    )
    def test_is_refused_with_a_reason(self, url: str, reason: str) -> None:
        assert reason in problems(HttpConnectorConfig, url=url)

    def test_hands_its_user_to_a_header_and_forgets_it(self) -> None:
        config = HttpConnectorConfig(url="http://us%40er:p%3Ass@h:1/x")
        assert config.url == "http://h:1/x"
        assert config.headers["Authorization"].get_secret_value() == "Basic dXNAZXI6cDpzcw=="
        for shown in (repr(config), str(config.model_dump()), config.model_dump_json()):
            assert "dXNAZXI6cDpzcw" not in shown
            assert "p:ss" not in shown
            assert "p%3Ass" not in shown

    def test_with_a_user_beside_an_authorization_header_is_a_conflict(self) -> None:
        text = problems(HttpConnectorConfig, url="http://u:p@h", headers={"authorization": "Bearer x"})
        assert "give one of them" in text


class TestHeaders:
    @pytest.mark.parametrize("name", ["", "a b", "a:b", "x\r\ny", "ä"])
    def test_of_no_proper_name_are_refused(self, name: str) -> None:
        assert "is no header name" in problems(HttpSinkConfig, headers={name: "v"})

    @pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Expect", "Upgrade"])
    def test_that_frame_the_message_are_refused(self, name: str) -> None:
        assert "itself" in problems(HttpSinkConfig, headers={name: "1"})
        assert "itself" in problems(HttpSinkConfig, id_header=name)

    def test_with_line_breaks_are_refused(self) -> None:
        assert "no line breaks" in problems(HttpConnectorConfig, url="http://h", headers={"a": "b\r\nc: d"})

    def test_of_two_spellings_are_refused(self) -> None:
        assert "the same header" in problems(HttpSinkConfig, headers={"X-A": "1", "x-a": "2"})

    def test_take_plain_numbers_and_booleans(self) -> None:
        headers = HttpSinkConfig(headers={"n": 1, "b": True}).headers
        assert [value.get_secret_value() for value in headers.values()] == ["1", "true"]

    def test_are_shown_unless_they_look_like_credentials(self) -> None:
        config = HttpSinkConfig(headers={"X-Api-Key": "s3cret", "Cookie": "s3cret", "x-trace": "${topic}"})
        assert "s3cret" not in repr(config) + config.model_dump_json()
        assert config.model_dump()["headers"]["x-trace"] == "${topic}"


def test_parameters_that_look_like_credentials_are_masked() -> None:
    sink = HttpSinkConfig(query={"api_key": "s3cret", "n": 1})
    assert sink.model_dump()["query"] == {"api_key": "**********", "n": "1"}
    connector = HttpConnectorConfig(url="http://h/x?n=1&api_key=s3cret")
    assert connector.model_dump()["url"] == "http://h/x?n=1&api_key=***"
    assert "s3cret" not in repr(sink) + repr(connector) + connector.model_dump_json()


class TestSink:
    @pytest.mark.parametrize("method", ["post", "Put", "PATCH", "get", "delete", "head", "options"])
    def test_takes_methods_in_any_case(self, method: str) -> None:
        assert HttpSinkConfig(method=method).method == method.upper()

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"method": "TRACE"}, "Input should be"),
            ({"method": "${m}"}, "Input should be"),
            ({"success": ["2x"]}, "pattern"),
            ({"success": [99]}, "greater than or equal to 200"),
            ({"drop_on": ["1xx"]}, "pattern"),
            ({"timeout": 10}, "needs a unit"),
            ({"timeout": "0s"}, "greater than 0"),
            ({"path": "/${x|y}"}, "unknown filter"),
            ({"query": {"a": "${x|y}"}}, "unknown filter"),
            ({"body": {"a": ["${x|y}"]}}, "unknown filter"),
            ({"body": "${x|y}"}, "unknown filter"),
            ({"missing": "zero"}, "Input should be"),
            ({"id_header": "${x}"}, "literal"),
            ({"id_header": "a b"}, "is no header name"),
            ({"compression": "br"}, "Input should be"),
            ({"retries": 3}, "Extra inputs"),
        ],
    )
    def test_refuses_with_a_reason(self, options: dict[str, Any], reason: str) -> None:
        assert reason in problems(HttpSinkConfig, **options)


def test_a_key_needs_its_certificate() -> None:
    assert "key needs cert" in problems(HttpConnectorConfig, url="https://h", tls={"key": "k.pem"})


def test_null_of_yaml_is_the_word() -> None:
    assert HttpSinkConfig(missing=None).missing == "null"


class TestProfile:
    def test_emqx_sets_what_is_not_given(self) -> None:
        config = HttpSinkConfig.model_validate({"profile": "emqx"})
        assert (config.missing, config.timeout) == ("undefined", 45)
        assert HttpSink.defaults(config)["ttl"] == "45s"
        given = HttpSinkConfig.model_validate({"profile": "emqx", "missing": "omit", "timeout": "1s"})
        assert (given.missing, given.timeout) == ("omit", 1)

    def test_emqx_has_no_patch(self) -> None:
        assert "not for profile: emqx" in problems(HttpSinkConfig, profile="emqx", method="patch")

    def test_ours_is_the_default(self) -> None:
        assert HttpSink.defaults(HttpSinkConfig()) == {}
        assert HttpSinkConfig().missing == "null"
