"""Who may connect: a file of users, a service asked by HTTP, a client certificate."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any, Literal

from headrace.metrics import Status
from headrace.users import Users
from headrace_plugins._mqtt.codec import Connect
from headrace_plugins.mqtt_server.config import HttpLogin, MqttServerConfig
from headrace_plugins.mqtt_server.records import Peer

if TYPE_CHECKING:  # imported when there is a service to ask
    import aiohttp

__all__ = ["Login", "Verdict"]

Verdict = Literal["allow", "deny", "unavailable"]
AT_ONCE = 32
"""Connections to the service; more devices than that wait for their turn."""
MAX_ANSWER = 1 << 16


class Login:
    """Decides on CONNECTs. OSError or ValueError if it cannot be made from its options."""

    def __init__(self, config: MqttServerConfig, status: Status) -> None:
        self._users = Users(config.users) if config.users else None
        self._service = _Service(config.login, status) if config.login else None
        self._anonymous = config.anonymous
        self._status = status

    @property
    def checks_passwords(self) -> bool:
        return self._users is not None or self._service is not None

    def admits(self, connect: Connect, peer: Peer) -> Verdict | asyncio.Future[Verdict]:
        """May this device come in? At once if that is known, else when it is."""
        if not self.checks_passwords or (connect.username is None and self._anonymous):
            return "allow"
        if connect.username is not None and connect.password is None and connect.username == peer.common_name:
            return "allow"  # its certificate says so
        if self._users is not None and (self._service is None or self._users.knows(connect.username)):
            return self._look_up(self._users, connect)
        assert self._service is not None
        return asyncio.ensure_future(self._service.ask(connect, peer))

    def _look_up(self, users: Users, connect: Connect) -> Verdict | asyncio.Future[Verdict]:
        if connect.username is None or connect.password is None:
            return "deny"
        self.refresh()
        right = users.check(connect.username, connect.password)
        if isinstance(right, bool):
            return "allow" if right else "deny"

        async def wait() -> Verdict:
            return "allow" if await right else "deny"

        return asyncio.ensure_future(wait())

    def refresh(self) -> None:
        """Read the file of users again if it has changed."""
        try:
            if self._users is not None:
                self._users.refresh()
        except (OSError, ValueError) as error:
            self._status.error(f"users: {error}")

    async def close(self) -> None:
        if self._users is not None:
            self._users.close()
        if self._service is not None:
            await self._service.close()


class _Service:
    """Asked by POST; 2xx means yes, unless a JSON answer says otherwise, 4xx no. Anything else: not available."""

    def __init__(self, options: HttpLogin, status: Status) -> None:
        self._options, self._status = options, status
        self._tls = ssl.create_default_context(cafile=options.ca)
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, connect: Connect, peer: Peer) -> Verdict:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE, ssl=self._tls),
                timeout=aiohttp.ClientTimeout(self._options.timeout),
                headers={name: value.get_secret_value() for name, value in self._options.headers.items()},
            )
        try:
            question = _question(connect, peer)
            async with self._session.post(self._options.url, json=question, allow_redirects=False) as answer:
                return self._read(answer.status, await answer.content.read(MAX_ANSWER))
        except UnicodeDecodeError:
            return "deny"  # a password that is no text
        except (aiohttp.ClientError, TimeoutError) as error:
            return self._unavailable(f"{type(error).__name__}: {error}")

    def _read(self, status: int, body: bytes) -> Verdict:
        if 400 <= status < 500:
            return "deny"
        if not 200 <= status < 300:
            return self._unavailable(f"it answers {status}")
        if not body.strip():
            return "allow"
        try:
            answer = json.loads(body)
        except ValueError:
            return self._unavailable("its answer is no JSON")
        allowed = isinstance(answer, dict) and answer.get("result", "allow") == "allow"
        return "allow" if allowed else "deny"

    def _unavailable(self, why: str) -> Verdict:
        self._status.error(f"login: {self._options.url}: {why}")
        return "unavailable"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _question(connect: Connect, peer: Peer) -> dict[str, Any]:
    return {
        "clientid": connect.clientid,
        "username": connect.username,
        "password": None if connect.password is None else connect.password.decode(),
        "peerhost": peer.host,
        "proto_ver": connect.version,
        "cert_common_name": peer.common_name,
    }
