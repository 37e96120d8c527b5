"""A connector's state: what connecting and probing say, as one."""

from __future__ import annotations

from headrace import Context

__all__ = ["Health"]


class Health:
    """Degraded while either its connections or its probe have something to complain of."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._connections = self._probe = ""

    def of_connections(self, reason: str) -> None:
        """A connection is up, or none can be made."""
        self._connections = reason
        self._show()

    def of_probe(self, reason: str) -> None:
        """The probe had the answer it wants, or has something to complain of."""
        self._probe = reason
        self._show()

    def _show(self) -> None:
        reason = self._probe or self._connections
        if self._ctx.status.set("degraded" if reason else "running", reason):
            if reason:
                self._ctx.log.warning("cannot be used: %s", reason)
            else:
                self._ctx.log.info("can be used again")
