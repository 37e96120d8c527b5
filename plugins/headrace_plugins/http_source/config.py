"""Options of the source ``http``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from headrace import ComponentConfig, Duration, Size
from headrace.addresses import is_loopback, split_address


class TlsOptions(ComponentConfig):
    """Certificate and key of the listener."""

    cert: Path = Field(description="The server's certificate, with its chain (PEM).")
    key: Path = Field(description="The certificate's key (PEM).")


class HttpSourceConfig(ComponentConfig):
    """Options of the source ``http``."""

    listen: str = Field("127.0.0.1:8090", description="Address and port; `:8090` is every address of this machine.")
    token: SecretStr | None = Field(
        None, description="What senders give as `Authorization: Bearer …`, best as `${env:NAME}` or `${file:/path}`."
    )
    users: Path | None = Field(
        None,
        description="File of users, for `Authorization: Basic …`: one `name:hash` a line, written by `headrace passwd`."
        " Read again when changed.",
    )
    anonymous: bool = Field(
        False, description="Take events from anybody. Needed on other than loopback addresses without token or users."
    )
    tls: TlsOptions | None = Field(None, description="Speak HTTPS.")
    format: Literal["auto", "json", "ndjson", "raw"] = Field(
        "auto",
        description="What a body is. json: one value, or an array of events; ndjson: one event a line; raw: one event, "
        "as it is. auto goes by Content-Type, with raw for what it does not know.",
    )
    split: bool = Field(True, description="Take a JSON array as a batch of events; else it is one event.")
    clientid_header: str | None = Field(
        None,
        description="Header that holds the column `clientid`, by which events keep their order.",
        examples=["X-Id"],
    )
    headers: tuple[str, ...] = Field(
        (), description="Headers to keep, in the column `headers`, by their names in lower case."
    )
    max_body: Size = Field(1 << 20, ge=1, le=256 << 20, description="Largest body; a larger one is refused (413).")
    buffer: Size = Field(
        16 << 20,
        ge=1 << 16,
        description="Memory for bodies not yet in the stream; beyond it requests are refused (429).",
    )
    max_requests: int = Field(1000, ge=1, description="Requests at one time; more are refused (503).")
    timeout: Duration = Field(
        10.0, gt=0, description="Time for a body to come in whole (408), and for the stream to take it up (503)."
    )
    retry_after: Duration = Field(
        1.0, ge=1, description="What `Retry-After` says when there is no room, in whole seconds."
    )

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("token")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value():
            raise ValueError("an empty token protects nothing")
        return value

    @model_validator(mode="after")
    def _guarded(self) -> HttpSourceConfig:
        host, _ = split_address(self.listen)
        if not (is_loopback(host) or self.token or self.users or self.anonymous):
            raise ValueError(
                f"{self.listen} can be reached from other machines: give `token` or `users`, "
                "or say `anonymous: true` if anybody may send"
            )
        if self.anonymous and (self.token or self.users):
            raise ValueError(
                "`anonymous: true` lets in who has no `token` and is none of `users`: give one or the other"
            )
        if self.max_body > self.buffer:
            raise ValueError("`buffer` must have room for one body of `max_body`")
        return self
