"""What headers, templates and statuses may be, for the options of the connector and the sink."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from headrace.templates import Template, compile_body

__all__ = [
    "OWN_HEADERS",
    "Body",
    "HeaderName",
    "HeaderValue",
    "Headers",
    "SecretTemplate",
    "StatusPattern",
    "TemplateText",
    "check_header_name",
    "constants",
    "once",
    "sensitive",
    "shown",
    "statuses",
]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_SENSITIVE = re.compile(r"auth|cookie|key|token|secret|passw|signature|\bsig\b", re.IGNORECASE)
OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer"})
"""Headers that say how the message is framed: the sink writes them, nobody else."""


def check_header_name(name: str) -> str:
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
HeaderName = Annotated[str, AfterValidator(check_header_name)]
SecretTemplate = Annotated[SecretStr, BeforeValidator(_scalar), AfterValidator(_secret_template)]
HeaderValue = Annotated[SecretTemplate, AfterValidator(_header_value)]
Headers = dict[HeaderName, HeaderValue]
Body = Annotated[Any, AfterValidator(_body)]
StatusPattern = Annotated[int, Field(ge=200, le=599)] | Annotated[str, Field(pattern=r"^[2-5]xx$")]


def sensitive(name: str) -> bool:
    """Does a header or parameter of this name look like a credential?"""
    return _SENSITIVE.search(name) is not None


def shown(values: dict[str, SecretStr]) -> dict[str, str]:
    """Headers or parameters for people: values that look like credentials are masked."""
    return {k: str(v) if sensitive(k) else v.get_secret_value() for k, v in values.items()}


def constants(headers: dict[str, SecretStr]) -> list[str]:
    """The values that look like credentials and are the same for every event."""
    found = [Template(value.get_secret_value()).constant for name, value in headers.items() if sensitive(name)]
    return [value.decode() for value in found if value is not None]


def once(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    seen: dict[str, str] = {}
    for name in headers:
        if seen.setdefault(name.lower(), name) != name:
            raise ValueError(f"{name!r} and {seen[name.lower()]!r} are the same header")
    return headers


def statuses(patterns: Iterable[int | str]) -> frozenset[int]:
    """The codes that are meant by ``204`` or ``2xx``."""
    return frozenset(
        status
        for pattern in patterns
        for status in (
            range(int(pattern[0]) * 100, int(pattern[0]) * 100 + 100) if isinstance(pattern, str) else (pattern,)
        )
    )
