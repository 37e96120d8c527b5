"""Who may do what: users and tokens, sessions, roles, and requests that other sites make in somebody's name.

Without users and tokens, which only a loopback address allows, everybody who can connect may do everything; then the
name in the address must be one of this machine, so that no page elsewhere can reach the API under a name of its own.
"""

from __future__ import annotations

import hmac
import logging
from base64 import b64decode
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web

from headrace.addresses import is_loopback
from headrace.api.answers import Handler, Refused, answer, options
from headrace.api.described import STRING, says, sent
from headrace.api.sessions import Failures, Sessions
from headrace.config.model import ApiOptions
from headrace.live import Live
from headrace.users import Users

__all__ = ["Access", "Who"]

Role = Literal["viewer", "admin"]
COOKIE = "headrace"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/", "/icon.svg", "/healthz", "/readyz", "/api/v1/login", "/api/v1/logout"})
LOOKING = frozenset({"/api/v1/rules/test", "/api/v1/login", "/api/v1/logout"})
"""Methods that change things, on addresses where they change nothing."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


@dataclass(frozen=True)
class Who:
    """Whoever makes a request."""

    name: str
    role: Role


_WHO: ContextVar[Who] = ContextVar("who")
"""Of the request that is being answered."""


class Access:
    """The gate of one API. OSError or ValueError, when made, if the file of users cannot be used."""

    def __init__(self, options: ApiOptions, live: Live, log: logging.Logger) -> None:
        self._options = options
        self._live = live
        self._log = log.getChild("audit")
        self._users = Users(options.users) if options.users else None
        self._tokens = [
            (token.token.get_secret_value().encode(), Who(f"token {name}", token.role))
            for name, token in options.tokens.items()
        ]
        self._open = not self._users and not self._tokens
        self._sessions = Sessions()
        self._failures = Failures()

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.post("/api/v1/login", self._login),
            web.post("/api/v1/logout", self._logout),
            web.get("/api/v1/me", self._me),
        ]

    async def on_cleanup(self, _app: web.Application) -> None:
        if self._users:
            self._users.close()

    # -- every request -------------------------------------------------------------------------------------------

    @web.middleware
    async def gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets a request through to its handler, or refuses it."""
        path = request.path.removeprefix(self._options.prefix)
        changes = request.method not in SAFE
        self._own_name(request)
        if changes:
            _own_page(request)
        if path not in OPEN_PATHS and not path.startswith("/assets/"):
            who = await self._who(request)
            if who is None:
                raise Refused("UNAUTHORIZED", "say who you are: sign in, or send a token", 401)
            _WHO.set(who)
            if changes and who.role != "admin" and not _looks(path):
                self._tell(request, who.name, "refused: not an admin")
                raise Refused("FORBIDDEN", f"{who.name} may look, and only an admin may change things", 403)
        if not changes or _looks(path):
            return await handler(request)
        outcome = "not done"
        try:
            response = await handler(request)
            outcome = str(response.status)
        finally:
            self._tell(request, _WHO.get().name, outcome)
        return response

    async def on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Headers of every answer."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if "/api/" in request.path:
            response.headers.setdefault("Cache-Control", "no-store")
        if response.status == 401:
            response.headers.setdefault("WWW-Authenticate", 'Bearer realm="headrace"')

    def _own_name(self, request: web.Request) -> None:
        if not self._open:
            return  # a stranger's name brings no session along
        try:
            host = urlsplit(f"//{request.host}").hostname or ""
        except ValueError:
            host = request.host
        if not is_loopback(host) and host not in self._options.hosts:
            raise Refused("MISDIRECTED", f"{host!r} is no name of this API: add it to api.hosts if it should be", 421)

    def _tell(self, request: web.Request, name: str, outcome: str) -> None:
        self._log.info(
            "%s %s by %s from %s: %s", request.method, request.rel_url.raw_path, name, request.remote, outcome
        )

    # -- who it is -----------------------------------------------------------------------------------------------

    async def _who(self, request: web.Request) -> Who | None:
        if self._open:
            return Who("local", "admin")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._token(request, given.strip())
        if scheme.lower() == "basic":
            return await self._basic(request, given.strip())
        name = self._sessions.find(request.cookies.get(COOKIE, ""))
        return self._user(name) if name and self._knows(name) else None

    def _token(self, request: web.Request, given: str) -> Who:
        self._failures.check(request.remote)
        found = None
        for token, who in self._tokens:  # all of them, so that the time tells nothing
            if hmac.compare_digest(token, given.encode("utf-8", "surrogateescape")):
                found = who
        if found is None:
            self._failures.add(request.remote)
            self._tell(request, "a token", "refused: unknown")
            raise Refused("UNAUTHORIZED", "this is no token of ours", 401)
        return found

    async def _basic(self, request: web.Request, given: str) -> Who:
        try:
            name, _, password = b64decode(given, validate=True).decode().partition(":")
        except ValueError:
            name = password = ""
        return await self._checked(request, name, password)

    async def _checked(self, request: web.Request, name: str, password: str) -> Who:
        """The user, if the password is right. Refused if not, or after too many that were not."""
        self._failures.check(request.remote)
        if self._users and name:
            self._refresh(self._users)
            right = self._users.check(name, password.encode("utf-8", "surrogatepass"))
            if right is True:
                return self._user(name)
            self._failures.add(request.remote)  # before it is known: many at once must not get more tries
            if right and await right:
                self._failures.forgive(request.remote)
                return self._user(name)
        else:
            self._failures.add(request.remote)
        self._tell(request, repr(name[:80]), "refused: wrong user or password")
        raise Refused("UNAUTHORIZED", "wrong user or password", 401)

    def _user(self, name: str) -> Who:
        return Who(name, "admin" if name in self._options.admins else "viewer")

    def _knows(self, name: str) -> bool:
        if self._users is None:
            return False
        self._refresh(self._users)
        return self._users.knows(name)

    def _refresh(self, users: Users) -> None:
        try:
            users.refresh()
        except (OSError, ValueError) as exc:
            self._log.error("the users stay as they were: %s", exc)

    # -- signing in ----------------------------------------------------------------------------------------------

    @says(body=sent("username", "password", username=STRING, password=STRING))
    async def _login(self, request: web.Request) -> web.Response:
        """With a name and a password; the session is in a cookie that scripts do not see."""
        given = await options(request)
        who = await self._checked(request, str(given.get("username", "")), str(given.get("password", "")))
        response = answer({"name": who.name, "role": who.role})
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            COOKIE,
            self._sessions.begin(who.name),
            path=self._options.prefix or "/",
            httponly=True,
            samesite="Strict",
            secure=secure,
            max_age=int(self._sessions.LIFE),
        )
        self._tell(request, who.name, "signed in")
        return response

    @says(status=204, gives=None)
    async def _logout(self, request: web.Request) -> web.Response:
        """End the session."""
        self._sessions.end(request.cookies.get(COOKIE, ""))
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path=self._options.prefix or "/")
        return response

    @says()
    async def _me(self, request: web.Request) -> web.Response:
        """Who asks, and what they may do."""
        who = _WHO.get()
        return answer({"name": who.name, "role": who.role, "read_only": self._live.read_only, "open": self._open})


def _looks(path: str) -> bool:
    return path in LOOKING or (path.startswith("/api/v1/rules/") and path.endswith("/explain"))


def _own_page(request: web.Request) -> None:
    """Refuse what a browser was made to send by a page of somebody else. Programs send neither header."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is None and (origin := request.headers.get("Origin")) is not None:
        site = "same-origin" if origin.partition("://")[2] == request.host else "cross-site"
    if site not in (None, "same-origin", "none"):
        raise Refused("CROSS_SITE", "a page of another site asked for this", 403)
