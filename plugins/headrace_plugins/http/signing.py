"""Signatures over the exact bytes of a body, so that a receiver knows who sent it and that nobody changed it."""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Callable
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from headrace import ComponentConfig
from headrace_plugins.http.fields import HeaderName

__all__ = ["SignOptions", "Signer"]

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_CONTENT = frozenset({"id", "timestamp", "method", "target", "body"})
_VALUE = frozenset({"id", "timestamp", "signature"})
_CUSTOM = ("header", "algorithm", "encoding", "content", "value", "timestamp_header")


class SignOptions(ComponentConfig):
    """A signature (HMAC) of every request."""

    style: Literal["standard-webhooks", "github", "custom"] = Field(
        "standard-webhooks",
        description="standard-webhooks: webhook-id, webhook-timestamp and webhook-signature; github: "
        "X-Hub-Signature-256; custom: as the options below say.",
    )
    keys: tuple[SecretStr, ...] = Field(
        description="The keys, the newest first. Each signs, so that a receiver may have either while keys change. A "
        "key that begins with whsec_ is base64.",
        min_length=1,
    )
    header: HeaderName = Field("X-Signature", description="custom: header of the signature.")
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = Field("sha256", description="custom: hash.")
    encoding: Literal["hex", "base64"] = Field("hex", description="custom: how the signature is written.")
    content: str = Field(
        "${body}", description="custom: what is signed, of ${body}, ${id}, ${timestamp}, ${method} and ${target}."
    )
    value: str = Field(
        "${signature}",
        description="custom: value of the header, of ${signature}, ${id} and ${timestamp}; one for each key, separated "
        "by commas.",
    )
    timestamp_header: HeaderName | None = Field(None, description="custom: header of the time, in seconds.")

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            _bytes(key)
        return keys

    @field_validator("content", "value")
    @classmethod
    def _check_placeholders(cls, text: str, info: object) -> str:
        known = _CONTENT if getattr(info, "field_name", "") == "content" else _VALUE
        for name in _PLACEHOLDER.findall(text):
            if name not in known:
                raise ValueError(f"there is no ${{{name}}} here, only {', '.join(f'${{{k}}}' for k in sorted(known))}")
        if not text.isascii() or not text.isprintable():
            raise ValueError("is printable ASCII")
        return text

    @model_validator(mode="after")
    def _fits(self) -> SignOptions:
        given = [name for name in _CUSTOM if name in self.model_fields_set]
        if self.style != "custom" and given:
            raise ValueError(f"{given[0]} is for style: custom")
        if self.style == "github" and len(self.keys) > 1:
            raise ValueError("github has room for one signature: give one key, and let the receiver know both")
        return self


class Signer:
    """Makes the header lines that sign one request."""

    def __init__(self, options: SignOptions, method: str) -> None:
        self._keys = [_bytes(key) for key in options.keys]
        self._method = method.encode()
        self._custom = options
        styles: dict[str, Callable[[bytes, bytes, bytes, bytes], bytes]] = {
            "standard-webhooks": self._standard,
            "github": self._github,
            "custom": self._by_options,
        }
        self._lines = styles[options.style]
        self.headers = {
            "standard-webhooks": ("webhook-id", "webhook-timestamp", "webhook-signature"),
            "github": ("x-hub-signature-256",),
            "custom": (options.header.lower(), (options.timestamp_header or options.header).lower()),
        }[options.style]
        """Their names, in lower case."""

    def __call__(self, id: str, target: bytes, body: bytes) -> bytes:
        """The lines for a body exactly as it is sent."""
        return self._lines(id.encode(), b"%d" % time.time(), target, body)

    def _standard(self, id: bytes, now: bytes, _: bytes, body: bytes) -> bytes:
        signed = b"%b.%b.%b" % (id, now, body)
        signatures = b" ".join([b"v1," + _base64(hmac.digest(key, signed, "sha256")) for key in self._keys])
        return b"webhook-id: %b\r\nwebhook-timestamp: %b\r\nwebhook-signature: %b\r\n" % (id, now, signatures)

    def _github(self, _: bytes, __: bytes, ___: bytes, body: bytes) -> bytes:
        return b"X-Hub-Signature-256: sha256=%b\r\n" % hmac.digest(self._keys[0], body, "sha256").hex().encode()

    def _by_options(self, id: bytes, now: bytes, target: bytes, body: bytes) -> bytes:
        options = self._custom
        known = {"id": id, "timestamp": now, "method": self._method, "target": target, "body": body}
        signed = _fill(options.content, known)
        values = []
        for key in self._keys:
            digest = hmac.digest(key, signed, options.algorithm)
            text = digest.hex().encode() if options.encoding == "hex" else _base64(digest)
            values.append(_fill(options.value, {**known, "signature": text}))
        lines = b"%b: %b\r\n" % (options.header.encode(), b", ".join(values))
        if options.timestamp_header:
            lines += b"%b: %b\r\n" % (options.timestamp_header.encode(), now)
        return lines


def _fill(text: str, values: dict[str, bytes]) -> bytes:
    parts = _PLACEHOLDER.split(text)  # texts and names in turn
    return b"".join([values[part] if i % 2 else part.encode() for i, part in enumerate(parts)])


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data)


def _bytes(key: SecretStr) -> bytes:
    text = key.get_secret_value()
    if not text:
        raise ValueError("a key is empty")
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise ValueError("a key that begins with whsec_ goes on in base64, and this one does not") from None
