"""Options of the http connector and sink, and what a URL means."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from headrace import ComponentConfig, Duration
from headrace.templates import Missing, Template, compile_body

__all__ = ["HttpConnectorConfig", "HttpSinkConfig", "TlsOptions", "Url", "mask_url", "parse_url"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_SENSITIVE = re.compile(r"auth|cookie|key|token|secret|passw|signature", re.IGNORECASE)
_SENSITIVE_QUERY = re.compile(
    r"([?&][^=&]*(?:auth|code|credential|key|passw|pwd|secret|sig|token)[^=&]*)=[^&]*", re.IGNORECASE
)
OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer"})
"""Headers that say how the message is framed: the sink writes them, nobody else."""


@dataclass(frozen=True)
class Url:
    """A connector's address. ``path`` and ``query`` may hold placeholders."""

    tls: bool
    host: str
    port: int
    path: str
    query: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def parse_url(url: str) -> Url:
    """ValueError with a reason if this is no address to send to."""
    if _UNSAFE.search(url):
        raise ValueError("a URL has no spaces and no control characters")
    parts = _split(url)
    if not parts.scheme or (parts.netloc == "" and not url.startswith(("http:", "https:"))):
        raise ValueError("the URL has no scheme; write http://host or https://host")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"unsupported scheme {parts.scheme!r}; only http and https")
    if "${" in parts.netloc:
        raise ValueError("the host must be literal; placeholders may stand in the path and the query")
    if not parts.hostname:
        raise ValueError("the URL has no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("user and password belong in a header")  # taken out before by HttpConnectorConfig
    if parts.fragment:
        raise ValueError("a URL to send to has no fragment ('#…')")
    tls = parts.scheme == "https"
    try:
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{parts.hostname!r} is no host name") from None
    return Url(tls, host, parts.port or (443 if tls else 80), parts.path, parts.query)


def mask_url(url: str) -> str:
    """The URL for people: values of parameters that look like credentials are masked."""
    return _SENSITIVE_QUERY.sub(r"\1=***", url)


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.port == 0:  # reading the port checks it
        raise ValueError("port 0 is no port to send to")
    return parts


def _without_user(url: str) -> tuple[str, str | None]:
    """The URL without ``user:password@``, and the Authorization header that says the same."""
    found = re.match(r"([a-z]+://)([^/?#]*)@", url, re.IGNORECASE)
    if not found:
        return url, None
    user, _, password = found[2].partition(":")
    credentials = f"{unquote(user)}:{unquote(password)}".encode()
    return found[1] + url[found.end() :], f"Basic {base64.b64encode(credentials).decode()}"


def _header_name(name: str) -> str:
    template = Template(name)
    if template.constant is not None:
        if not _TOKEN.match(name):
            raise ValueError(f"{name!r} is no header name")
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"the sink writes the header {name!r} itself")
    return name


def _scalar(value: Any) -> Any:
    """Numbers and true or false may stand without quotes where text is meant."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _secret_template(value: SecretStr) -> SecretStr:
    Template(value.get_secret_value())
    return value


def _header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
        raise ValueError("a header value has no line breaks and no control characters")
    return value


def _template(text: str) -> str:
    Template(text)
    return text


def _body(value: Any) -> Any:
    compile_body(value)
    return value


TemplateText = Annotated[str, BeforeValidator(_scalar), AfterValidator(_template)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
SecretTemplate = Annotated[SecretStr, BeforeValidator(_scalar), AfterValidator(_secret_template)]
HeaderValue = Annotated[SecretTemplate, AfterValidator(_header_value)]
Headers = dict[HeaderName, HeaderValue]
StatusPattern = Annotated[int, Field(ge=200, le=599)] | Annotated[str, Field(pattern=r"^[2-5]xx$")]


def _shown(values: dict[str, SecretStr]) -> dict[str, str]:
    """Headers or parameters for people: values that look like credentials are masked."""
    return {k: str(v) if _SENSITIVE.search(k) else v.get_secret_value() for k, v in values.items()}


def _once(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    seen: dict[str, str] = {}
    for name in headers:
        if seen.setdefault(name.lower(), name) != name:
            raise ValueError(f"{name!r} and {seen[name.lower()]!r} are the same header")
    return headers


class TlsOptions(ComponentConfig):
    """How an https server is checked, and who we are to it."""

    ca: Path | None = Field(None, description="PEM file of the authorities to trust; default is the system's.")
    cert: Path | None = Field(None, description="PEM file of our certificate, with its chain.")
    key: Path | None = Field(None, description="PEM file of our private key; default is the file of cert.")
    server_name: str | None = Field(None, description="Name the certificate must carry, instead of the URL's host.")
    insecure: bool = Field(False, description="Accept any certificate. For tests only.")

    @model_validator(mode="after")
    def _key_needs_cert(self) -> TlsOptions:
        if self.key and not self.cert:
            raise ValueError("key needs cert")
        return self


class HttpConnectorConfig(ComponentConfig):
    """An HTTP/1.1 server and the pool of connections to it."""

    url: str = Field(
        description="http:// or https:// address. Path and query are kept and may hold placeholders; user:password@ "
        "becomes an Authorization header.",
        examples=["http://localhost:5000"],
        repr=False,  # its query may hold a key
    )
    headers: Headers = Field(default_factory=dict, description="Headers of every request; templates.")
    tls: TlsOptions = Field(default_factory=TlsOptions, description="Certificates for https.")
    pool_size: int = Field(32, ge=1, le=10_000, description="Connections at most; they are opened as needed.")
    pipelining: int = Field(
        1, ge=1, le=1000, description="Requests sent on one connection before its first answer; 1 suits every server."
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="Longest wait for a connection, TLS included.")
    max_inactive: Duration = Field(60.0, gt=0, description="A connection unused for so long is closed.")

    @model_validator(mode="before")
    @classmethod
    def _move_user(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            return given
        url, authorization = _without_user(given["url"])
        if authorization is None:
            return given
        headers = given.get("headers") or {}
        if isinstance(headers, dict) and any(str(name).lower() == "authorization" for name in headers):
            raise ValueError("the URL has a user, and headers has Authorization: give one of them")
        return {**given, "url": url, "headers": {**headers, "Authorization": authorization}}

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        found = parse_url(url)
        Template(found.path + found.query)
        return url

    @field_serializer("url")
    def _show_url(self, url: str) -> str:
        return mask_url(url)

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return _once(headers)

    @field_serializer("headers")
    def _show_headers(self, headers: dict[str, SecretStr]) -> dict[str, str]:
        return _shown(headers)


class HttpSinkConfig(ComponentConfig):
    """One request for each event, or for each batch."""

    method: Annotated[
        Literal["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS"],
        BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
    ] = Field("POST", description="Request method. GET, HEAD, DELETE and OPTIONS are sent without a body.")
    path: TemplateText = Field(
        "", description="Template joined to the URL's path with one slash; inserted values are percent-encoded."
    )
    query: dict[str, SecretTemplate] = Field(
        default_factory=dict, description="Parameters added to the URL; the values are templates."
    )
    headers: Headers = Field(
        default_factory=dict, description="Headers of this sink; they win over the connector's. Templates."
    )
    body: Annotated[Any, AfterValidator(_body)] = Field(
        None,
        description="Text template, or a YAML tree in which a value that is exactly ${x} keeps its type. Default is "
        "the event as JSON.",
        examples=["${payload.msg}"],
    )
    success: tuple[StatusPattern, ...] = Field(("2xx",), description="Statuses that mean delivered.")
    drop_on: tuple[StatusPattern, ...] = Field(
        (), description="Statuses that give the event up at once, even if retry.on names them."
    )
    timeout: Duration = Field(10.0, gt=0, description="Longest wait for the answer to one request.")
    compression: Literal["none", "gzip"] = Field("none", description="How the body is compressed.")
    missing: Annotated[Missing, BeforeValidator(lambda value: "null" if value is None else value)] = Field(
        "null", description="What stands for a value that is not there: null, omit, error or undefined."
    )
    id_header: str = Field(
        "Idempotency-Key", description="Header with the delivery id, the same on every attempt; empty for none."
    )

    @field_validator("id_header")
    @classmethod
    def _check_id_header(cls, name: str) -> str:
        if name and "${" in name:
            raise ValueError("the name is literal")
        return _header_name(name) if name else name

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return _once(headers)

    @field_serializer("headers", "query")
    def _show_values(self, values: dict[str, SecretStr]) -> dict[str, str]:
        return _shown(values)
