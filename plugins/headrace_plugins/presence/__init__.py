"""Who is online: changes of each device, without flaps, with silences, over restarts."""

from __future__ import annotations

from headrace import hookimpl
from headrace_plugins.presence.transform import Presence


@hookimpl
def register_transforms() -> list[type[Presence]]:
    return [Presence]
