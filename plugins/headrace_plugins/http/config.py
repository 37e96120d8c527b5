"""Options of the http connector and sink, and what a URL means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from headrace import ComponentConfig, Duration, Size
from headrace.templates import Missing, Template
from headrace_plugins.http.auth import AuthOptions
from headrace_plugins.http.compression import Compression
from headrace_plugins.http.fields import (
    Body,
    Headers,
    SecretTemplate,
    StatusPattern,
    TemplateText,
    check_header_name,
    once,
    shown,
)
from headrace_plugins.http.guard import check_host_pattern, check_network
from headrace_plugins.http.signing import SignOptions
from headrace_plugins.http.tls import TlsOptions
from headrace_plugins.http.url import mask_url, parse_proxy, parse_url, without_user

__all__ = ["HttpConnectorConfig", "HttpSinkConfig"]


class HealthCheck(ComponentConfig):
    """A request sent now and then to see how the server is."""

    interval: Duration = Field(15.0, gt=0, description="Time between two checks.")
    timeout: Duration = Field(5.0, gt=0, description="Longest wait for the answer, connecting included.")
    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = Field("GET", description="Request method.")
    path: str = Field("/", description="Path and query, from the root of the server; the URL's own path is left out.")
    expect: tuple[StatusPattern, ...] = Field(("2xx",), description="Statuses that mean healthy.")

    @field_validator("path")
    @classmethod
    def _is_literal(cls, path: str) -> str:
        if Template(path).constant is None:
            raise ValueError("there is no event here: the path is literal")
        return path


class HttpConnectorConfig(ComponentConfig):
    """An HTTP/1.1 server and the pool of connections to it."""

    url: str = Field(
        description="http:// or https:// address. Path and query are kept and may hold placeholders, and with "
        "allow_hosts the host; user:password@ becomes an Authorization header.",
        examples=["http://localhost:5000"],
        repr=False,  # its query may hold a key
    )
    headers: Headers = Field(default_factory=dict, description="Headers of every request; templates.")
    auth: AuthOptions | None = Field(None, description="Who we are: one of basic, bearer, api_key and oauth2.")
    tls: TlsOptions = Field(default_factory=TlsOptions, description="Certificates for https.")
    pool_size: int = Field(100, ge=1, le=10_000, description="Connections at most; they are opened as needed.")
    pool_type: Literal["random", "hash"] = Field(
        "random",
        description="random: any connection with room; hash: events of one client id, or topic, over one connection.",
    )
    pipelining: int = Field(
        1, ge=1, le=1000, description="Requests sent on one connection before its first answer; 1 suits every server."
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="Longest wait for a connection, TLS included.")
    max_inactive: Duration = Field(60.0, gt=0, description="A connection unused for so long is closed.")
    max_age: Duration | None = Field(
        None, gt=0, description="A connection this old takes no new requests and is closed; no limit by default."
    )
    max_answer: Size = Field(
        1 << 20, ge=1 << 10, description="Bytes read of one answer; of a longer one only the status counts."
    )
    proxy: SecretStr | None = Field(
        None,
        description="HTTP proxy on the way, http://[user:password@]host:port; https goes through it by CONNECT.",
    )
    allow_hosts: tuple[Annotated[str, AfterValidator(check_host_pattern)], ...] = Field(
        (),
        description="Hosts that placeholders in the URL's host may choose: names, or *.example.com for all below it. "
        "Without it the host is literal.",
    )
    deny: tuple[Annotated[str, AfterValidator(check_network)], ...] = Field(
        (),
        description="Addresses that are never connected to, whatever a name resolves to: loopback, private, metadata, "
        "multicast, or networks such as 10.0.0.0/8.",
    )
    health_check: HealthCheck | None = Field(
        None, description="A request that tells whether the server is well; off by default: deliveries tell."
    )

    @model_validator(mode="before")
    @classmethod
    def _move_user(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            return given
        url, authorization = without_user(given["url"])
        if authorization is None:
            return given
        headers = given.get("headers") or {}
        if isinstance(headers, dict) and any(str(name).lower() == "authorization" for name in headers):
            raise ValueError("the URL has a user, and headers has Authorization: give one of them")
        return {**given, "url": url, "headers": {**headers, "Authorization": authorization}}

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        found = parse_url(url, literal=False)
        Template(found.host + found.path + found.query)
        return url

    @model_validator(mode="after")
    def _host_is_literal_or_allowed(self) -> HttpConnectorConfig:
        templated = parse_url(self.url, literal=not self.allow_hosts).templated
        if self.allow_hosts and not templated:
            raise ValueError("allow_hosts is for a URL whose host has placeholders")
        if self.health_check and templated:
            raise ValueError("there is no event here: a health check needs a literal host")
        return self

    @field_serializer("url")
    def _show_url(self, url: str) -> str:
        return mask_url(url)

    @model_validator(mode="after")
    def _one_identity(self) -> HttpConnectorConfig:
        names = {name.lower() for name in self.headers}
        if self.auth is not None and self.auth.header_name in names:
            raise ValueError(f"auth gives the header {self.auth.header_name}, and so does headers: give one of them")
        return self

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None:
            parse_proxy(proxy.get_secret_value())
        return proxy

    @field_serializer("proxy")
    def _show_proxy(self, proxy: SecretStr | None) -> str | None:
        if proxy is None:
            return None
        found = parse_proxy(proxy.get_secret_value())
        return f"http://{'***@' if found.authorization else ''}{found.authority}"

    @model_validator(mode="after")
    def _guard_sees_addresses(self) -> HttpConnectorConfig:
        if self.deny and self.proxy:
            raise ValueError("deny cannot be kept behind a proxy, which resolves names itself: let the proxy deny")
        return self

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return once(headers)

    @field_serializer("headers")
    def _show_headers(self, headers: dict[str, SecretStr]) -> dict[str, str]:
        return shown(headers)


class HttpSinkConfig(ComponentConfig):
    """One request for each event, or for each batch."""

    profile: Literal["headrace", "emqx"] = Field(
        "headrace",
        description="emqx: defaults as in EMQX: only network errors, timeouts, 429 and 503 are tried again, for 45 s "
        "(ttl and timeout), and what is not there is undefined.",
    )
    method: Annotated[
        Literal["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS"],
        BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
    ] = Field("POST", description="Request method. GET, HEAD, DELETE and OPTIONS are sent without a body.")
    send_body: bool | None = Field(
        None, description="Send a body or not; default is what the method is used to. true gives DELETE one."
    )
    path: TemplateText = Field(
        "", description="Template joined to the URL's path with one slash; inserted values are percent-encoded."
    )
    query: dict[str, SecretTemplate] = Field(
        default_factory=dict, description="Parameters added to the URL; the values are templates."
    )
    headers: Headers = Field(
        default_factory=dict, description="Headers of this sink; they win over the connector's. Templates."
    )
    body: Body = Field(
        None,
        description="Text template, or a YAML tree in which a value that is exactly ${x} keeps its type. Default is "
        "the event as JSON.",
        examples=["${payload.msg}"],
    )
    sign: SignOptions | None = Field(None, description="Signature over the body; none by default.")
    success: tuple[StatusPattern, ...] = Field(("2xx",), description="Statuses that mean delivered.")
    drop_on: tuple[StatusPattern, ...] = Field(
        (), description="Statuses that give the event up at once, even if retry.on names them."
    )
    timeout: Duration = Field(10.0, gt=0, description="Longest wait for the answer to one request.")
    redirects: Literal["fail", "follow"] = Field(
        "fail",
        description="follow: the same request again where 301, 302, 307 or 308 points, on the same server only.",
    )
    max_body: Size = Field(32 << 20, ge=1, description="Longest body; an event that makes a longer one is given up.")
    compression: Compression = Field("none", description="How the body is compressed; zstd needs headrace[zstd].")
    missing: Annotated[Missing, BeforeValidator(lambda value: "null" if value is None else value)] = Field(
        "null", description="What stands for a value that is not there: null, omit, error or undefined."
    )
    id_header: str = Field(
        "Idempotency-Key", description="Header with the delivery id, the same on every attempt; empty for none."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_in_emqx(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("profile") == "emqx":
            return {"missing": "undefined", "timeout": "45s", **given}
        return given

    @model_validator(mode="after")
    def _emqx_has_four_methods(self) -> HttpSinkConfig:
        if self.profile == "emqx" and self.method not in ("POST", "PUT", "GET", "DELETE"):
            raise ValueError(f"EMQX has POST, PUT, GET and DELETE: {self.method} is not for profile: emqx")
        return self

    @field_validator("id_header")
    @classmethod
    def _check_id_header(cls, name: str) -> str:
        if name and "${" in name:
            raise ValueError("the name is literal")
        return check_header_name(name) if name else name

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return once(headers)

    @field_serializer("headers", "query")
    def _show_values(self, values: dict[str, SecretStr]) -> dict[str, str]:
        return shown(values)
