"""Options of ``mqtt``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from headrace import ComponentConfig, Duration, Size, topics
from headrace_plugins.mqtt.clientid import parse_mapping

PORTS = {"mqtt": 1883, "mqtts": 8883}


class TlsOptions(ComponentConfig):
    """How to check the broker's certificate, and our own."""

    ca: Path | None = Field(None, description="Authorities to check the broker by (PEM); the system's by default.")
    cert: Path | None = Field(None, description="Our certificate, with its chain (PEM).")
    key: Path | None = Field(None, description="The certificate's key (PEM).")
    insecure: bool = Field(False, description="Do not check the broker's certificate. For tests only.")

    @model_validator(mode="after")
    def _both(self) -> TlsOptions:
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key belong together")
        return self


class MqttConfig(ComponentConfig):
    """Options of ``mqtt``."""

    url: str = Field(
        description="The broker: mqtt://host:1883, or mqtts://host:8883 with TLS.", examples=["mqtt://localhost:1883"]
    )
    username: str | None = Field(None, description="User name.")
    password: SecretStr | None = Field(None, description="Password, best as `${env:NAME}` or `${file:/path}`.")
    client_id: str | None = Field(
        None, description="Our client id: the session at the broker hangs on it. Default: headrace-<pipeline>-<source>."
    )
    version: Literal["5", "3.1.1"] | None = Field(
        None, description="MQTT version. Default: 5, or 3.1.1 if the broker does not know 5."
    )
    qos: Literal[0, 1, 2] = Field(1, description="Quality of service to subscribe with.")
    topics: tuple[str, ...] | None = Field(
        None, description="Topic filters to subscribe to. Default: those the rules read FROM."
    )
    receive_maximum: int = Field(
        1000,
        ge=1,
        le=65535,
        description="MQTT 5: messages of QoS 1 and 2 the broker may send ahead of our answers.",
    )
    buffer: Size = Field(
        16 << 20, ge=1 << 16, description="Memory for messages not yet in the stream; beyond it the broker is not read."
    )
    session_expiry: Duration = Field(
        86400.0, ge=0, lt=0xFFFFFFFF, description="MQTT 5: how long the broker keeps messages for us while we are away."
    )
    keepalive: Duration = Field(
        30.0, ge=5, le=65535, description="Time between pings, by which a dead broker is noticed."
    )
    connect_timeout: Duration = Field(10.0, gt=0, description="Time for connecting, and for each answer to it.")
    clientid: str | None = Field(
        None,
        description="Where the column `clientid` comes from, as a broker does not tell who published: topic[2] (a "
        "level of the topic, from 1), user_property.NAME or payload.PATH (JSON). Several with `|`: the first that is "
        "there.",
    )
    tls: TlsOptions | None = Field(None, description="Options of TLS; mqtts:// works without.")

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ValueError("write it as mqtt://host:port or mqtts://host:port")
        if parts.username or parts.password:
            raise ValueError("give user and password as `username` and `password`, not in the URL, which is shown")
        parts.port  # noqa: B018 - raises ValueError if it is none
        return value

    @field_validator("topics")
    @classmethod
    def _are_filters(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for filter in value or ():
            if why := topics.problem(filter):
                raise ValueError(f"{filter!r}: {why}")
        return value

    @field_validator("clientid")
    @classmethod
    def _is_mapping(cls, value: str | None) -> str | None:
        if value is not None:
            parse_mapping(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> MqttConfig:
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username")
        if self.tls and not self.secure:
            raise ValueError("tls is for mqtts://; this url speaks plain text")
        return self

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or PORTS[parts.scheme]
