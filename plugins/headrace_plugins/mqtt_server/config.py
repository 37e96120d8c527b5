"""Options of ``mqtt_server``."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from headrace import ComponentConfig, Duration, Size


class TlsOptions(ComponentConfig):
    """Certificate and key of the listener, and who may connect."""

    cert: Path = Field(description="The server's certificate, with its chain (PEM).")
    key: Path = Field(description="The certificate's key (PEM).")
    ca: Path | None = Field(None, description="Authorities of client certificates (PEM).")
    require_client_cert: bool = Field(
        False, description="Refuse devices without a certificate of `ca`. Its common name is the default user name."
    )

    @model_validator(mode="after")
    def _has_ca(self) -> TlsOptions:
        if self.require_client_cert and not self.ca:
            raise ValueError("require_client_cert needs `ca`, the authorities to check the certificates by")
        return self


class MqttServerConfig(ComponentConfig):
    """Options of ``mqtt_server``."""

    listen: str = Field("127.0.0.1:1883", description="Address and port; `:1883` is every address of this machine.")
    users: Path | None = Field(
        None,
        description="File of users, one `name:hash` a line, written by `headrace passwd`. Read again when changed.",
    )
    anonymous: bool = Field(
        False, description="Let devices in without user name. Needed on other than loopback addresses without `users`."
    )
    tls: TlsOptions | None = Field(None, description="Speak TLS (8883 is the usual port).")
    max_connections: int = Field(10_000, ge=1, description="Connections at one time; more are closed at once.")
    max_packet: Size = Field(
        1 << 20, ge=128, le=256 << 20, description="Largest packet; a larger one ends its connection."
    )
    connect_timeout: Duration = Field(10.0, gt=0, description="Time from the connection to a whole CONNECT.")
    receive_maximum: int = Field(
        1000, ge=1, le=65535, description="MQTT 5: messages of QoS 1 and 2 a device may have unacknowledged."
    )
    topic_aliases: int = Field(16, ge=0, le=65535, description="MQTT 5: topic aliases a device may set.")
    max_pending: Size = Field(
        1 << 20,
        ge=1 << 12,
        description="Memory for the unacknowledged messages of one connection. Beyond it QoS 0 is dropped, counted, "
        "and a connection that sends QoS 1 or 2 is not read until it is below.",
    )
    max_buffer: Size = Field(64 << 20, ge=1 << 16, description="The same for all connections together.")
    session_expiry: Duration = Field(
        7200.0, ge=0, description="How long the session of a device that is away is kept, at most."
    )
    max_sessions: int = Field(100_000, ge=0, description="Sessions kept of devices that are away; the oldest go first.")

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        split_address(value)
        return value

    @model_validator(mode="after")
    def _guarded(self) -> MqttServerConfig:
        host, _ = split_address(self.listen)
        certificates = self.tls is not None and self.tls.require_client_cert
        if not (is_loopback(host) or self.users or certificates or self.anonymous):
            raise ValueError(
                f"{self.listen} can be reached from other machines: give `users` or `tls.require_client_cert`, "
                "or say `anonymous: true` if anybody may send"
            )
        return self


def split_address(listen: str) -> tuple[str, int]:
    """Host (empty for all) and port of ``host:port``. ValueError if it is none."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("write the address as host:port, such as 127.0.0.1:1883")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Can only this machine reach it?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
