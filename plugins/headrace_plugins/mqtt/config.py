"""Options of ``mqtt``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from headrace import ComponentConfig, Duration, Size
from headrace.topics import TopicFilters
from headrace_plugins.mqtt.clientid import parse_mapping
from headrace_plugins.mqtt.events.options import EventsOptions

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443, "unix": 1}
"""The port that is meant if none is given; a unix socket has none."""
WAYS = "mqtt://host:port, mqtts://host:port, ws://host:port/path, wss://host:port/path or unix:///path"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


class TlsOptions(ComponentConfig):
    """How to check the broker's certificate, and our own."""

    ca: Path | None = Field(None, description="Authorities to check the broker by (PEM); the system's by default.")
    cert: Path | None = Field(None, description="Our certificate, with its chain (PEM).")
    key: Path | None = Field(None, description="The certificate's key (PEM).")
    key_password: SecretStr | None = Field(None, description="Password of the key.")
    server_name: str | None = Field(
        None, description="Name to ask for (SNI) and to find in the broker's certificate. Default: the host of the URL."
    )
    alpn: tuple[str, ...] = Field(
        (), description="Protocols to offer by ALPN: AWS IoT wants x-amzn-mqtt-ca or mqtt on port 443."
    )
    insecure: bool = Field(False, description="Do not check the broker's certificate. For tests only.")

    @model_validator(mode="after")
    def _both(self) -> TlsOptions:
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key belong together")
        return self


class MqttConfig(ComponentConfig):
    """Options of ``mqtt``."""

    url: str = Field(
        description="The broker: mqtt://host:1883, mqtts://host:8883 (TLS), ws://host/mqtt or wss://host/mqtt "
        "(websockets), unix:///run/broker.sock.",
        examples=["mqtt://localhost:1883"],
    )
    headers: dict[str, SecretStr] = Field({}, description="ws and wss: headers of the request that opens the socket.")
    username: str | None = Field(None, description="User name.")
    password: SecretStr | None = Field(None, description="Password, best as `${env:NAME}` or `${file:/path}`.")
    client_id: str | None = Field(
        None, description="Our client id: the session at the broker hangs on it. Default: headrace-<pipeline>-<source>."
    )
    version: Literal["5", "3.1.1"] | None = Field(
        None, description="MQTT version. Default: 5, or 3.1.1 if the broker does not know 5."
    )
    qos: Literal[0, 1, 2] = Field(1, description="Quality of service to subscribe with.")
    topics: TopicFilters | None = Field(
        None, description="Topic filters to subscribe to. Default: those the rules read FROM."
    )
    retained: Literal["new_only", "all", "ignore"] = Field(
        "new_only",
        description="Messages the broker had kept: with the first subscription only, with each connection, or never.",
    )
    share: str | None = Field(
        None,
        description="Name of a group: the broker gives each message to one of its members ($share/NAME/…). Each member "
        "needs a `client_id` of its own that stays the same.",
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
        30.0, ge=5, le=65535, description="Silence after which a ping asks whether the broker is still there."
    )
    ping_timeout: Duration = Field(
        10.0, gt=0, description="Time the broker has to answer a ping; after it, headrace connects anew."
    )
    stale_after: Duration | None = Field(
        None,
        ge=1,
        description="Connect anew when no message came for so long, for brokers that answer pings and send nothing.",
    )
    connect_timeout: Duration = Field(10.0, gt=0, description="Time for connecting, and for each answer to it.")
    watch_dropped: bool = Field(
        True,
        description="Watch the counter by which Mosquitto tells what it drops ($SYS/broker/publish/messages/dropped).",
    )
    clientid: str | None = Field(
        None,
        description="Where the column `clientid` comes from, as a broker does not tell who published: topic[2] (a "
        "level of the topic, from 1), user_property.NAME or payload.PATH (JSON). Several with `|`: the first that is "
        "there.",
    )
    events: EventsOptions | None = Field(
        None,
        description="Make client events ($events/client_connected, …) of what the broker or the devices publish: emqx, "
        "mosquitto, nanomq, will, or a map.",
    )
    tls: TlsOptions | None = Field(None, description="Options of TLS; mqtts:// and wss:// work without.")

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if not _says_where(parts):
            raise ValueError(f"write it as {WAYS}")
        if parts.username or parts.password:
            raise ValueError("give user and password as `username` and `password`, not in the URL, which is shown")
        parts.port  # noqa: B018 - raises ValueError if it is none
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, secret in value.items():
            if not _HEADER.match(name) or re.search(r"[\x00-\x1f\x7f]", secret.get_secret_value()):
                raise ValueError(f"{name!r} is no header, or its value has control characters")
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
            raise ValueError("tls is for mqtts:// and wss://; this url speaks plain text")
        if self.headers and self.scheme not in ("ws", "wss"):
            raise ValueError("headers are for ws:// and wss://")
        return self

    @model_validator(mode="after")
    def _shares_well(self) -> MqttConfig:
        if self.share is None:
            return self
        if not self.share or set(self.share) & set("/+#\0"):
            raise ValueError("share: a group's name is not empty and has no '/', '+' or '#'")
        if self.client_id is None:
            raise ValueError(
                "share: give each member of the group a client_id of its own that stays the same, such as "
                "meters-${env:HOSTNAME}: what waits for a member waits for its client id"
            )
        return self

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def secure(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; the path of a unix socket, and a number."""
        parts = urlsplit(self.url)
        host = parts.path if parts.scheme == "unix" else parts.hostname or ""
        return host, parts.port or PORTS[parts.scheme]

    @property
    def path(self) -> str:
        """What a websocket asks for."""
        parts = urlsplit(self.url)
        return (parts.path or "/mqtt") + (f"?{parts.query}" if parts.query else "")


def _says_where(parts: SplitResult) -> bool:
    if parts.scheme == "unix":
        return not parts.netloc and len(parts.path) > 1
    if parts.scheme not in PORTS or not parts.hostname or parts.fragment:
        return False
    return parts.scheme in ("ws", "wss") or (parts.path in ("", "/") and not parts.query)
