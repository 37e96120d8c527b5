"""OAuth2 client credentials: one token for all requests, asked for once however many want it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from headrace import DeliveryError
from headrace_plugins.http.auth import OAuth2Options
from headrace_plugins.http.exchange import Answer
from headrace_plugins.http.url import Where, parse_url

__all__ = ["Token", "Tokens", "token_request"]

_RENEW_AT = 0.8
"""Part of a token's life after which the next is fetched, while this one is still used."""
_DEFAULT_LIFE = 3600.0
_LONGEST_PAUSE = 60.0
_SAFE = re.compile(r"[!-~]+\Z")


class Token(NamedTuple):
    """A token as the header line it goes into."""

    line: bytes
    renew_at: float
    expires_at: float


class Tokens:
    """Keeps a token at hand.

    ``fetch`` asks the endpoint, and raises DeliveryError if that does not answer. ``where`` is told what to hide.
    """

    def __init__(
        self,
        options: OAuth2Options,
        fetch: Callable[[], Awaitable[Answer]],
        where: Where,
        log: logging.Logger,
    ) -> None:
        self._endpoint = parse_url(options.token_url).origin
        self._timeout = options.timeout
        self._fetch = fetch
        self._hide_in = where
        self._text = ""
        self._log = log
        self._token: Token | None = None
        self._fetching: asyncio.Task[Token] | None = None
        self._forced = 0
        self._forced_at = 0.0

    @property
    def line(self) -> bytes:
        """The header line of the token there is."""
        return self._token.line if self._token else b""

    async def ready(self) -> Token:
        """A token that has not expired. DeliveryError if there is none to be had."""
        now = asyncio.get_running_loop().time()
        token = self._token
        if token is None or token.expires_at <= now:
            return await asyncio.shield(self._renewal())
        if token.renew_at <= now:
            self._renewal()  # nobody waits for it
        return token

    async def replace(self, refused: Token) -> bool:
        """The server answered 401 to this token: is there another now?

        A server that refuses every token must not make us fetch one for each event: without a success in between,
        the pauses between two of these renewals grow.
        """
        if self._token is not None and self._token.line != refused.line:
            return True
        now = asyncio.get_running_loop().time()
        if self._fetching is None:
            if self._forced and now < self._forced_at + min(2.0**self._forced, _LONGEST_PAUSE):
                return False
            self._forced += 1
            self._forced_at = now
        self._token = None
        await asyncio.shield(self._renewal())
        return True

    def accepted(self) -> None:
        """The server took a token."""
        self._forced = 0

    async def close(self) -> None:
        if self._fetching:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _renewal(self) -> asyncio.Task[Token]:
        """The one request for a token that is under way."""
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._renew())
            self._fetching.add_done_callback(self._renewed)
        return self._fetching

    def _renewed(self, task: asyncio.Task[Token]) -> None:
        self._fetching = None
        if not task.cancelled() and (error := task.exception()) and self._token:
            # those who wait for a token are told; here nobody waits, and there is time to try again
            now = asyncio.get_running_loop().time()
            left = self._token.expires_at - now
            self._token = self._token._replace(renew_at=now + left / 4)
            self._log.warning("%s; the old one is good for %d s", error, max(left, 0))

    async def _renew(self) -> Token:
        try:
            answer = await self._fetch()
        except Exception as exc:
            why = f"no answer within {self._timeout:g} s" if isinstance(exc, TimeoutError) else exc
            raise DeliveryError(f"no token from {self._endpoint}: {why}", kind="network") from exc
        self._token = token = self._read(answer)
        return token

    def _read(self, answer: Answer) -> Token:
        try:
            said: Any = json.loads(answer.body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            said = {}
        text = said.get("access_token")
        if not 200 <= answer.status < 300 or not isinstance(text, str) or not _SAFE.match(text):
            reason = said.get("error")
            why = f"{answer.status} {reason}" if isinstance(reason, str) else f"{answer.status}, and no token"
            raise DeliveryError(f"no token from {self._endpoint}: it answered {why[:200]}", kind="network")
        try:
            life = max(1.0, float(said["expires_in"]))
        except (KeyError, TypeError, ValueError):
            life = _DEFAULT_LIFE
        self._hide_in.secrets.discard(self._text.encode())
        self._hide_in.hide(text)
        self._text = text
        now = asyncio.get_running_loop().time()
        return Token(f"Authorization: Bearer {text}\r\n".encode(), now + life * _RENEW_AT, now + life)


def token_request(options: OAuth2Options) -> tuple[dict[str, str], str]:
    """Headers and form of a request for a token."""
    form = {"grant_type": "client_credentials"}
    if options.scope:
        form["scope"] = options.scope
    form.update(options.parameters)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    secret = options.client_secret.get_secret_value()
    if options.send == "basic":
        pair = f"{quote(options.client_id, '')}:{quote(secret, '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    else:
        form |= {"client_id": options.client_id, "client_secret": secret}
    return headers, urlencode(form)
