"""From an event to the bytes of its request. Whatever does not depend on the event is made once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, quote_from_bytes

from headrace import UNDEFINED, DeliveryError, Event, Form, __version__
from headrace.templates import Template, compile_body
from headrace_plugins.http.compression import compressor
from headrace_plugins.http.config import HttpConnectorConfig, HttpSinkConfig
from headrace_plugins.http.fields import OWN_HEADERS
from headrace_plugins.http.signing import Signer
from headrace_plugins.http.tokens import Tokens
from headrace_plugins.http.url import Url, parse_proxy

__all__ = ["RequestTemplate", "join_bodies", "join_paths", "literal"]

_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_KNOWN = 4096
"""Paths that are known to be good."""
_CONTENT_TYPES = {"array": b"application/json", "ndjson": b"application/x-ndjson", "lines": b"text/plain"}
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_NOT_IN_TARGET = re.compile(rb"[^!-~]|#")
# also encoded: some servers decode a path before they resolve its dots
_DOT_SEGMENT = re.compile(rb"(?:/|%2f)(?:\.|%2e){1,2}(?:/|%2f|\Z)", re.IGNORECASE)


def join_paths(base: str, path: str) -> str:
    """One slash at the seam; a path that begins with ``?`` is glued on; nothing at all is ``/``."""
    if not path or path.startswith("?"):
        joined = base + path
    elif not base:
        joined = path
    else:
        joined = f"{base.removesuffix('/')}/{path.removeprefix('/')}"
    return joined if joined.startswith("/") else f"/{joined}"


def join_bodies(bodies: Sequence[bytes], form: Form) -> bytes:
    """Several bodies as one."""
    if form == "array":
        return b"[%b]" % b",".join(bodies)
    return b"".join([body + b"\n" for body in bodies])


class RequestTemplate:
    """Renders the requests of one sink.

    ``warn`` is told the name of every header that was left out because its value cannot be sent. Rendering raises
    ``DeliveryError`` of kind ``invalid`` if an event can never be sent.
    """

    def __init__(
        self,
        url: Url,
        connector: HttpConnectorConfig,
        sink: HttpSinkConfig,
        warn: Callable[[str], None],
        form: Form = "array",
        tokens: Tokens | None = None,
    ) -> None:
        self.method = sink.method
        self.has_body = sink.method not in _BODILESS if sink.send_body is None else sink.send_body
        self._end = b"\r\n" if sink.method in _BODILESS else b"content-length: 0\r\n\r\n"
        self._warn = warn
        self._omit = sink.missing == "omit"
        self._zip = compressor(sink.compression) if self.has_body else None
        self._max_body = sink.max_body
        self._target = _Target(url, connector, sink)
        self._signer = Signer(sink.sign, sink.method) if sink.sign else None
        self._tokens = None if any(name.lower() == "authorization" for name in sink.headers) else tokens
        self._late = self._signer is not None or self._tokens is not None
        fixed, self._varying, self._named = self._fields(url, connector, sink, _CONTENT_TYPES[form])
        self._start = b"%b " % sink.method.encode(), b" HTTP/1.1\r\n%b" % fixed
        taken = {name.lower() for name in (*connector.headers, *sink.headers)}
        self._traced = "traceparent" not in taken
        self.id_field = b"" if sink.id_header.lower() in taken else sink.id_header.encode()
        self._compile_body = compile_body(sink.body, missing=sink.missing)
        target = self._target.constant
        self._constant: bytes | None = None
        if target is not None and not self._varying and not self._named:
            self._constant = target.join(self._start)

    def _fields(
        self, url: Url, connector: HttpConnectorConfig, sink: HttpSinkConfig, content_type: bytes
    ) -> tuple[bytes, list[tuple[bytes, Template]], list[tuple[Template, Template]]]:
        """Header lines that never change; names with values that do; and headers whose very name does."""
        fields: dict[str, tuple[str, Template]] = {"host": ("host", Template(url.authority))}
        proxy = parse_proxy(connector.proxy.get_secret_value()) if connector.proxy and not url.tls else None
        if proxy and proxy.authorization:
            fields["proxy-authorization"] = ("proxy-authorization", Template(proxy.authorization))
        named = []
        given = {name: secret.get_secret_value() for name, secret in connector.headers.items()}
        if connector.auth and (header := connector.auth.header):
            given[header[0]] = literal(header[1])
        for name, text in (*given.items(), *((n, s.get_secret_value()) for n, s in sink.headers.items())):
            value = Template(text, missing=sink.missing)
            template = Template(name, missing=sink.missing)
            if template.constant is None:
                named.append((template, value))
            else:
                fields[name.lower()] = (template.constant.decode(), value)
        fields.setdefault("user-agent", ("user-agent", Template(f"headrace/{__version__}")))
        if self.has_body:
            fields.setdefault("content-type", ("content-type", Template(content_type.decode())))
            if self._zip:
                fields["content-encoding"] = ("content-encoding", Template(sink.compression))
        else:
            fields.pop("content-type", None)
            fields.pop("content-encoding", None)
        for name in self._signer.headers if self._signer else ():
            fields.pop(name, None)
        fixed = (
            b""
            if named
            else b"".join(
                [_line(name.encode(), value.constant) for name, value in fields.values() if value.constant is not None]
            )
        )
        varying = [(n.encode(), v) for n, v in fields.values() if named or v.constant is None]
        return fixed, varying, named

    def head(self, event: Event) -> bytes:
        """Request line and headers, but for the delivery id and the length of the body."""
        constant = self._constant
        if constant is not None:
            return constant
        target = self._target(event)
        fields = target.join(self._start)
        if self._named:
            return fields + self._named_fields(event)
        for name, value in self._varying:
            fields += self._field(name, value, event)
        return fields

    def _field(self, name: bytes, value: Template, event: Event) -> bytes:
        if self._omit and value.value is not None and value.value(event) is UNDEFINED:
            return b""
        text = value.render_bytes(event)
        if _CONTROL.search(text):
            self._warn(name.decode("utf-8", "replace"))
            return b""
        return _line(name, text)

    def _named_fields(self, event: Event) -> bytes:
        fields = {name.lower(): self._field(name, value, event) for name, value in self._varying}
        for template, value in self._named:
            name = template.render_bytes(event)
            if not _TOKEN.match(name) or name.decode().lower() in OWN_HEADERS:
                self._warn(name.decode("utf-8", "replace"))
            else:
                fields[name.lower()] = self._field(name, value, event)
        return b"".join(fields.values())

    def body(self, event: Event) -> bytes:
        """The body, not compressed."""
        return self._compile_body(event)

    def message(self, head: bytes, id: str, body: bytes, trace: str = "") -> bytes:
        """A whole request. ``trace``: its place in a distributed trace."""
        if self.id_field:
            head = b"%b%b: %b\r\n" % (head, self.id_field, id.encode())
        if trace and self._traced:
            head = b"%btraceparent: %b\r\n" % (head, trace.encode())
        if not self.has_body:
            return (self._late_fields(head, id, b"") if self._late else head) + self._end
        if len(body) > self._max_body:
            raise DeliveryError(f"the body has {len(body)} bytes, max_body is {self._max_body}", kind="invalid")
        if self._zip:
            body = self._zip(body)
        if self._late:
            head = self._late_fields(head, id, body)
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    def _late_fields(self, head: bytes, id: str, body: bytes) -> bytes:
        """The head, and what depends on the moment or on the finished body."""
        if self._tokens:
            head += self._tokens.line
        if self._signer:
            head += self._signer(id, head.split(b" ", 2)[1], body)
        return head

    def render(self, event: Event) -> bytes:
        """The whole request for one event."""
        id = event.delivery_id if self.id_field or self._signer else ""
        return self.message(self.head(event), id, self._compile_body(event) if self.has_body else b"", event.trace)


def _line(name: bytes, value: bytes) -> bytes:
    return b"%b: %b\r\n" % (name, value.strip())


def literal(text: str) -> str:
    """A template that renders to this text."""
    return text.replace("$", "${$}")


class _Target:
    """Path and query of a request."""

    def __init__(self, url: Url, connector: HttpConnectorConfig, sink: HttpSinkConfig) -> None:
        path, query = join_paths(url.path, sink.path), ""
        # a proxy that is no tunnel is told the server too
        self._start = url.origin.encode() if connector.proxy and not url.tls else b""
        if url.query:
            path, _, query = path.partition("?")
            path = f"{path}?{url.query}{'&' if query else ''}{query}"
        self._path = Template(_quote_literals(path), missing=sink.missing, filter="urlencode")
        self._parameters = [
            (quote(name, "").encode(), Template(value.get_secret_value(), missing=sink.missing))
            for name, value in sink.query.items()
        ]
        if connector.auth and (parameter := connector.auth.parameter):
            self._parameters.append((quote(parameter[0], "").encode(), Template(literal(parameter[1]))))
        self._first = b"&" if "?" in path else b"?"
        self._omit = sink.missing == "omit"
        self._good: set[bytes] = set()
        self.constant: bytes | None = None
        """The target, if it is the same for every event."""
        if self._path.constant is not None:
            values = [value.constant for _, value in self._parameters]
            if None not in values:
                self.constant = self._start + self._path.constant + self._query(None)

    def __call__(self, event: Event) -> bytes:
        if self.constant is not None:
            return self.constant
        path = self._path.constant
        if path is None:
            path = self._path.render_bytes(event)
            if path not in self._good:
                self._check(path)
        return self._start + path + self._query(event) if self._parameters else self._start + path

    def _check(self, path: bytes) -> None:
        _check_target(path)
        if len(path) <= 256:  # those of devices come again and again; others would only fill the memory
            if len(self._good) >= _KNOWN:
                self._good.clear()
            self._good.add(path)

    def _query(self, event: Any) -> bytes:
        query = [
            b"%b=%b" % (name, quote_from_bytes(value.render_bytes(event), "").encode())
            for name, value in self._parameters
            if not (self._omit and value.value is not None and value.value(event) is UNDEFINED)
        ]
        return self._first + b"&".join(query) if query else b""


def _quote_literals(text: str) -> str:
    """Percent-encode what may not stand in a target; placeholders hold nothing of the kind."""
    return re.sub(r"[^!-~]|#", lambda found: quote(found[0], ""), text)


def _check_target(target: bytes) -> None:
    if _NOT_IN_TARGET.search(target):
        raise DeliveryError("a value inserted raw does not fit into a URL", kind="invalid")
    path, _, _ = target.partition(b"?")
    if (b"/." in path or b"%2" in path) and _DOT_SEGMENT.search(path):
        raise DeliveryError("the path would leave its place: it has a '.' or '..' segment", kind="invalid")
