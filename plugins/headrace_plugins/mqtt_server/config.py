"""Options of ``mqtt_server``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from headrace import ComponentConfig, Duration, Size, topics
from headrace.addresses import is_loopback, split_address


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


class ListenerOptions(ComponentConfig):
    """One address where devices connect."""

    listen: str = Field(description="Address and port; `:8883` is every address of this machine.")
    tls: TlsOptions | None = Field(None, description="Speak TLS.")
    websocket: bool = Field(False, description="Speak MQTT through websockets, subprotocol mqtt.")
    path: str = Field("/mqtt", pattern="^/", description="Path of the websocket.")
    origins: tuple[str, ...] = Field(
        (),
        description="Web pages that may connect, by their origin, such as https://app.example.com, or `*`. Default: "
        "those of the very address the websocket has. Devices that are no browsers do not matter.",
    )
    proxy_protocol: bool = Field(
        False,
        description="Each connection begins with a header of the PROXY protocol (1 or 2), by which a load balancer "
        "says whose it is. Nobody else must reach this address.",
    )

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        split_address(value)
        return value


class HttpLogin(ComponentConfig):
    """A service that says who may connect."""

    url: str = Field(
        pattern="^https?://.",
        description="Address to POST a JSON object to: clientid, username, password, peerhost, proto_ver, "
        "cert_common_name. 2xx lets the device in, unless the answer is JSON whose `result` is not allow; 4xx refuses "
        "it; anything else tells it to come again.",
    )
    headers: dict[str, SecretStr] = Field({}, description="Headers of the request, such as a token of ours.")
    timeout: Duration = Field(5.0, gt=0, description="Time for the answer; without one the device is to come again.")
    ca: Path | None = Field(None, description="Authorities to check the service by (PEM); the system's by default.")


class AclRule(ComponentConfig):
    """Topics some devices may publish to, and topics they may not."""

    user: str | None = Field(None, description="Only for this user name. Default: for everybody.")
    clientid: str | None = Field(None, description="Only for this client id. Default: for everybody.")
    deny: tuple[str, ...] = Field((), description="Topic filters that are refused; looked at before `allow`.")
    allow: tuple[str, ...] = Field(
        (), description="Topic filters that are allowed. ${clientid} and ${username} are those of the device."
    )

    @field_validator("deny", "allow")
    @classmethod
    def _are_filters(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for filter in value:
            rest = filter.replace("${clientid}", "x").replace("${username}", "x")
            if why := topics.problem(rest):
                raise ValueError(f"{filter!r}: {why}")
            if "${" in rest:
                raise ValueError(f"{filter!r}: only ${{clientid}} and ${{username}} can be filled in")
        return value


class MqttServerConfig(ComponentConfig):
    """Options of ``mqtt_server``."""

    listen: str = Field(
        "127.0.0.1:1883",
        description="Address and port; `:1883` is every address of this machine. Beside `listeners`, none by default.",
    )
    listeners: tuple[ListenerOptions, ...] = Field((), description="More addresses, of other kinds.")
    users: Path | None = Field(
        None,
        description="File of users, one `name:hash` a line, written by `headrace passwd`. Read again when changed.",
    )
    anonymous: bool = Field(
        False, description="Let devices in without user name. Needed on other than loopback addresses without `users`."
    )
    tls: TlsOptions | None = Field(None, description="Speak TLS (8883 is the usual port).")
    login: HttpLogin | None = Field(
        None, description="Ask a service by HTTP who may connect; with `users`, about those who are not in the file."
    )
    acl: tuple[AclRule, ...] | None = Field(
        None,
        description="Topics devices may publish to: the first filter that matches decides, and what none matches is "
        "refused. Default: all topics.",
    )
    connect_rate: int | None = Field(
        None, ge=1, description="Connections let in a second; more are told to come again. Default: no limit."
    )
    client_rate: int | None = Field(
        None, ge=1, description="Messages a second of one device; one that sends more is read more slowly."
    )
    max_connections: int = Field(10_000, ge=1, description="Connections at one time; more are closed at once.")
    max_per_address: int | None = Field(
        None, ge=1, description="Connections at one time of one address (`peerhost`); more are closed at once."
    )
    max_per_user: int | None = Field(
        None, ge=1, description="Connections at one time of one user name; more are refused (MQTT 5: quota exceeded)."
    )
    max_packet: Size = Field(
        1 << 20, ge=128, le=256 << 20, description="Largest packet; a larger one ends its connection."
    )
    connect_timeout: Duration = Field(10.0, gt=0, description="Time from the connection to a whole CONNECT.")
    receive_maximum: int = Field(
        1000, ge=1, le=65535, description="MQTT 5: messages of QoS 1 and 2 a device may have unacknowledged."
    )
    retained: Literal["refuse", "take"] = Field(
        "refuse",
        description="MQTT 5: nothing is retained here, devices are told so (Retain Available 0), and one that sends "
        "with the flag all the same is disconnected, as the protocol wants it. `take` says nothing and takes the "
        "message as any other. Before MQTT 5 it is always taken.",
    )
    subscriptions: Literal["refuse", "grant"] = Field(
        "refuse",
        description="Answer to SUBSCRIBE. headrace sends no messages to devices; `grant` grants QoS 0 all the same, "
        "for devices that insist on a topic of commands, and makes `session.subscribed` and `.unsubscribed`.",
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
        for one in self.all_listeners:
            host, _ = split_address(one.listen)
            certificates = one.tls is not None and one.tls.require_client_cert
            if not (is_loopback(host) or self.users or self.login or certificates or self.anonymous):
                raise ValueError(
                    f"{one.listen} can be reached from other machines: give `users`, `login` or "
                    "`tls.require_client_cert`, or say `anonymous: true` if anybody may send"
                )
        return self

    @property
    def all_listeners(self) -> tuple[ListenerOptions, ...]:
        """`listen` with `tls`, and `listeners`."""
        if self.listeners and "listen" not in self.model_fields_set:
            return self.listeners
        return ListenerOptions(listen=self.listen, tls=self.tls), *self.listeners
