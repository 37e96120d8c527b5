"""What a URL means: where to connect, and what the request line says."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

__all__ = ["Proxy", "Url", "Where", "mask_url", "parse_proxy", "parse_url", "secrets_of", "without_user"]

_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_SENSITIVE_QUERY = re.compile(
    r"([?&][^=&]*(?:auth|code|credential|key|passw|pwd|secret|sig|token)[^=&]*)=[^&]*", re.IGNORECASE
)
_SHORTEST = 6
_TEMPLATED = re.compile(r"(?P<host>(?:[A-Za-z0-9._-]|\$\{[^}]*\})+)(?::(?P<port>[0-9]+))?\Z")


@dataclass(frozen=True)
class Url:
    """A connector's address. ``path`` and ``query`` may hold placeholders, and ``host`` if ``templated``."""

    tls: bool
    host: str
    port: int
    path: str
    query: str = field(repr=False)  # may hold a key

    @property
    def templated(self) -> bool:
        """Do events choose the host?"""
        return "${" in self.host

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def parse_url(url: str, *, literal: bool = True) -> Url:
    """ValueError with a reason if this is no address to send to. ``literal``: its host has no placeholders."""
    if _UNSAFE.search(url):
        raise ValueError("a URL has no spaces and no control characters")
    parts = _split(url)
    if not parts.scheme or (parts.netloc == "" and not url.startswith(("http:", "https:"))):
        raise ValueError("the URL has no scheme; write http://host or https://host")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"unsupported scheme {parts.scheme!r}; only http and https")
    if "${" in parts.netloc:
        if literal:
            raise ValueError("the host must be literal unless allow_hosts says what it may be")
        return _templated(parts)
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


def _templated(parts: SplitResult) -> Url:
    found = _TEMPLATED.match(parts.netloc)
    if not found:
        raise ValueError(
            "a host with placeholders has letters, digits, dots and dashes beside them, and a literal port"
        )
    tls = parts.scheme == "https"
    return Url(tls, found["host"], int(found["port"] or (443 if tls else 80)), parts.path, parts.query)


def secrets_of(query: str) -> list[str]:
    """The values in a query that look like credentials."""
    return [found[0].partition("=")[2] for found in _SENSITIVE_QUERY.finditer(f"?{query}")]


def mask_url(url: str) -> str:
    """The URL for people: values of parameters that look like credentials are masked."""
    return _SENSITIVE_QUERY.sub(r"\1=***", url)


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if "${" not in parts.netloc and parts.port == 0:  # reading the port checks it
        raise ValueError("port 0 is no port to send to")
    return parts


def without_user(url: str) -> tuple[str, str | None]:
    """The URL without ``user:password@``, and the Authorization header that says the same."""
    found = re.match(r"([a-z]+://)([^/?#]*)@", url, re.IGNORECASE)
    if not found:
        return url, None
    user, _, password = found[2].partition(":")
    credentials = f"{unquote(user)}:{unquote(password)}".encode()
    return found[1] + url[found.end() :], f"Basic {base64.b64encode(credentials).decode()}"


@dataclass(frozen=True)
class Where:
    """What a request's target does not say of its address, and what must not be shown to people."""

    origin: str
    parameter: str = ""
    """The parameter of the query that holds a key."""
    secrets: set[bytes] = field(default_factory=set, repr=False)
    """What we send to say who we are: a server may answer with it."""

    def shown(self, target: bytes) -> str:
        """The whole address for people."""
        url = mask_url(self.origin + target.decode("ascii", "replace"))
        if self.parameter:
            url = re.sub(rf"([?&]{re.escape(quote(self.parameter, ''))})=[^&]*", r"\1=***", url)
        return url

    def hide(self, *secrets: str) -> None:
        """Never show these; what is too short to be told from ordinary text is not looked for."""
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                self.secrets.update((secret.encode(), quote(secret, "").encode()))

    def conceal(self, answer: bytes) -> bytes:
        """An answer without our secrets."""
        for secret in self.secrets:
            answer = answer.replace(secret, b"***")
        return answer


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy, and who we are to it."""

    host: str
    port: int
    authorization: str = field(repr=False)
    """The value of the Proxy-Authorization header, if it wants one."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_proxy(url: str) -> Proxy:
    """ValueError with a reason if this is no proxy to go through."""
    bare, authorization = without_user(url)
    found = parse_url(bare)
    if found.tls:
        raise ValueError("a proxy is spoken to in plain HTTP: write http://host:port")
    if found.path.strip("/") or found.query:
        raise ValueError("a proxy is http://host:port and nothing more")
    return Proxy(found.host, found.port, authorization or "")
