"""Sessions: what outlives a connection. They live in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace_plugins._mqtt.intake import Chunk
    from headrace_plugins.mqtt_server.connection import Connection

_NONE: frozenset[str] = frozenset()


class Session:
    """One client id: its connection, if it is there, and the QoS 2 messages it has not released.

    ``received``: packet id → the chunk that is not settled yet, or None once the message is taken.
    ``subscriptions``: the topic filters that were granted, for which nothing is ever sent.
    """

    __slots__ = ("clientid", "conn", "expires_at", "expiry", "received", "subscriptions")

    def __init__(self, clientid: str) -> None:
        self.clientid = clientid
        self.conn: Connection | None = None
        self.expiry = 0.0
        self.expires_at = 0.0
        self.received: dict[bytes, Chunk | None] = {}
        self.subscriptions: frozenset[str] = _NONE


class Sessions:
    """All sessions by client id; of those that are away, at most ``max_away``, with ``max_wills`` bytes of wills."""

    def __init__(self, max_away: int, max_wills: int, clock: Callable[[], float]) -> None:
        self._all: dict[str, Session] = {}
        self._away: dict[str, Session] = {}  # in the order they left
        self._wills: dict[Session, tuple[float, int, Callable[[], None]]] = {}
        self._room = max_wills
        self._max_away = max_away
        self._clock = clock

    def get(self, clientid: str) -> Session | None:
        return self._all.get(clientid)

    def enter(self, clientid: str, clean: bool) -> tuple[Session, bool]:
        """The session for a connection, and whether it was there before."""
        session = self._all.get(clientid)
        if session is not None and not clean:
            self._away.pop(clientid, None)
            self._take_will(session)
            return session, True
        if session is not None:
            self._end(session)
        session = self._all[clientid] = Session(clientid)
        return session, False

    def leave(self, session: Session) -> None:
        """Its connection has gone."""
        session.conn = None
        if self._all.get(session.clientid) is not session:
            return
        session.expires_at = self._clock() + session.expiry
        if session.expiry > 0:
            self._away[session.clientid] = session
        else:
            self._end(session)
        while len(self._away) > self._max_away:
            self._end(next(iter(self._away.values())))

    def will(self, session: Session, delay: float, size: int, publish: Callable[[], None]) -> None:
        """Call ``publish`` after ``delay`` seconds, unless the session goes on before; when it ends, if sooner.

        At once if there is no room to keep a will of that ``size``.
        """
        if delay > 0 and size <= self._room:
            self._room -= size
            self._wills[session] = self._clock() + delay, size, publish
        else:
            publish()

    def _take_will(self, session: Session) -> Callable[[], None] | None:
        if session not in self._wills:
            return None
        _, size, publish = self._wills.pop(session)
        self._room += size
        return publish

    def sweep(self) -> None:
        """Publish the wills that are due; end the sessions that were away too long."""
        now = self._clock()
        for session in [session for session, (due, *_) in self._wills.items() if due <= now]:
            self._publish(session)
        for session in [session for session in self._away.values() if session.expires_at <= now]:
            self._end(session)

    def _end(self, session: Session) -> None:
        self._all.pop(session.clientid, None)
        self._away.pop(session.clientid, None)
        self._publish(session)

    def _publish(self, session: Session) -> None:
        publish = self._take_will(session)
        if publish is not None:
            publish()
