"""Sparkplug B: nodes and devices are born and die; a death is matched to its birth by ``bdSeq``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from headrace_plugins._protobuf import fields
from headrace_plugins.mqtt.events.base import Made

__all__ = ["FILTERS", "Births"]

FILTERS = ("spBv1.0/+/NBIRTH/+", "spBv1.0/+/NDEATH/+", "spBv1.0/+/DBIRTH/+/+", "spBv1.0/+/DDEATH/+/+")
MAX_NODES = 10_000
_METRIC, _NAME, _VALUES = 2, 1, (10, 11)  # fields of the payload and of a metric


class Births:
    """The last birth of each node. The will of an older connection, which comes late, is no death."""

    def __init__(self) -> None:
        self._born: OrderedDict[str, int | None] = OrderedDict()

    def read(self, topic: str, payload: bytes) -> Iterator[Made]:
        levels = topic.split("/")
        if len(levels) not in (4, 5) or levels[0] != "spBv1.0":
            return
        kind, clientid = levels[2], "/".join((levels[1], *levels[3:]))
        if kind == "NBIRTH":
            self._born[clientid] = _birth_number(payload)
            self._born.move_to_end(clientid)
            if len(self._born) > MAX_NODES:
                self._born.popitem(last=False)
        elif kind == "NDEATH":
            born = self._born.get(clientid)
            if born is not None and _birth_number(payload) not in (born, None):
                return
        if kind in ("NBIRTH", "DBIRTH"):
            yield Made("client.connected", {"clientid": clientid, "reason": "birth"})
        elif kind in ("NDEATH", "DDEATH"):
            yield Made("client.disconnected", {"clientid": clientid, "reason": "will" if kind == "NDEATH" else "death"})


def _birth_number(payload: bytes) -> int | None:
    """The metric ``bdSeq``; None if there is none."""
    try:
        for number, metric in fields(payload):
            if number == _METRIC and isinstance(metric, bytes):
                found = dict(fields(metric))
                if found.get(_NAME) == b"bdSeq":
                    values = [found[each] for each in _VALUES if each in found]
                    return values[0] if values and isinstance(values[0], int) else None
    except ValueError:
        return None
    return None
