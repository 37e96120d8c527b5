"""Everything headrace raises on purpose, grouped by who has to react.

HeadraceError
├── ConfigError          the user: the configuration is wrong (exit code 78)
├── PluginError          the plugin's author: a plugin broke its contract
├── StreamError          the engine: the stream could not take or give a batch
│   └── StreamFull       the engine: the topic's ``max_bytes`` or the disk's floor is reached
├── NotConnected         the engine: call ``open`` again, with back-off
├── EndOfInput           the engine: this source has nothing more to give, ever
├── Backoff              the engine: leave this sink alone for a while
└── DeliveryError        the engine: one event was not delivered, and why
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "Backoff",
    "ConfigError",
    "DeliveryError",
    "EndOfInput",
    "HeadraceError",
    "NotConnected",
    "PluginError",
    "StreamError",
    "StreamFull",
]


class HeadraceError(Exception):
    """Base of all errors below."""


class ConfigError(HeadraceError):
    """The configuration is wrong; the text is complete and ready to print."""


class PluginError(HeadraceError):
    """A plugin broke its contract: wrong type, taken name, misspelt hook."""


class StreamError(HeadraceError):
    """The stream could not store or read a batch; nothing of it was acknowledged."""


class StreamFull(StreamError):
    """The topic holds as many unsettled bytes as it may, or the disk is at its floor."""


class NotConnected(HeadraceError):
    """The peer is away. The engine calls ``open`` again after a back-off."""


class EndOfInput(HeadraceError):
    """Raised by ``Source.read``: there is nothing more to come. The source is closed, the pipeline goes on."""


class Backoff(HeadraceError):
    """Raised or reported by a sink: send nothing for ``seconds``. The event counts as not delivered."""

    def __init__(self, seconds: float, reason: str = "the peer asked to wait") -> None:
        super().__init__(reason)
        self.seconds = seconds


Kind = Literal["network", "timeout", "status", "invalid", "error"]


class DeliveryError(HeadraceError):
    """Why one event was not delivered; what the engine's retry policy looks at.

    ``kind``: ``network`` (no connection, or it broke), ``timeout``, ``status`` (the peer answered; ``status`` is
    its code), ``invalid`` (this event can never be sent: it is not retried), ``error`` (anything else).
    ``retry_after``: seconds the peer asked to wait. ``answer``: the first bytes of what it said.
    ``request``: what was sent, without credentials, for the dead letter: ``method``, ``url``, ``body_hash``.
    """

    def __init__(
        self,
        reason: str,
        *,
        kind: Kind = "error",
        status: int | None = None,
        retry_after: float | None = None,
        answer: bytes = b"",
        request: dict[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.answer = answer[:512]
        self.request = request or {}
