"""How a broker is reached: TCP, TLS, a websocket, a unix socket."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from headrace import NotConnected
from headrace_plugins.mqtt.client import PahoClient, Transport, connect_properties
from headrace_plugins.mqtt.config import MqttConfig, TlsOptions

__all__ = ["TRANSPORTS", "reach"]

TRANSPORTS: dict[str, Transport] = {
    "mqtt": "tcp",
    "mqtts": "tcp",
    "ws": "websockets",
    "wss": "websockets",
    "unix": "unix",
}
"""paho's words for the schemes of our URLs."""


async def reach(client: PahoClient, config: MqttConfig) -> Any:
    """Connect, on a thread; the socket. NotConnected says why it did not work."""
    dialling = asyncio.get_running_loop().run_in_executor(None, _dial, client, config)
    try:
        await asyncio.shield(dialling)
    except asyncio.CancelledError:
        dialling.add_done_callback(lambda done: _abandon(client, done))
        raise
    except (OSError, ValueError) as error:
        raise NotConnected(f"cannot connect to {config.url}: {_in_words(error)}") from error
    sock = client.socket()
    if sock is None:
        raise NotConnected(f"cannot connect to {config.url}: the connection broke")
    return sock


def _abandon(client: PahoClient, dialling: asyncio.Future[None]) -> None:
    if not dialling.cancelled() and dialling.exception() is None:
        client.drop()


def _dial(client: PahoClient, config: MqttConfig) -> None:
    """Make the connection and send CONNECT. It blocks. OSError or ValueError if it did not work."""
    client.connect_timeout = config.connect_timeout
    if config.username is not None:
        password = config.password.get_secret_value() if config.password else None
        client.username_pw_set(config.username, password)
    if config.scheme in ("ws", "wss"):
        headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        client.ws_set_options(config.path, headers or None)
    context = _tls_context(config) if config.secure else None
    if context is not None:
        client.tls_set_context(context)
    try:
        _connect(client, config)
    except BaseException:
        for left in (client.dialled, context and context.newest):
            if left:
                left.close()  # paho leaves it to the garbage collector
        raise


def _connect(client: PahoClient, config: MqttConfig) -> None:
    (host, port), keepalive = config.address, int(config.keepalive)
    if client.v5:
        properties = connect_properties(int(config.session_expiry), config.receive_maximum)
        client.connect(host, port, keepalive, clean_start=False, properties=properties)
    else:
        client.connect(host, port, keepalive)


class _TlsContext(ssl.SSLContext):
    """Asks for the name it is told, and knows its newest socket."""

    newest: ssl.SSLSocket | None = None
    server_name: str | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        if self.server_name is not None:
            kwargs["server_hostname"] = self.server_name
        self.newest = super().wrap_socket(*args, **kwargs)
        return self.newest


def _tls_context(config: MqttConfig) -> _TlsContext:
    tls = config.tls or TlsOptions()
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = tls.server_name
    if tls.ca:
        context.load_verify_locations(tls.ca)
    else:
        context.load_default_certs()
    if tls.cert and tls.key:
        password = tls.key_password.get_secret_value() if tls.key_password else ""
        context.load_cert_chain(tls.cert, tls.key, password)  # "": do not ask at the terminal
    if tls.alpn:
        context.set_alpn_protocols(list(tls.alpn))
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _in_words(error: Exception) -> str:
    """An error of ``_dial`` in plain words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
