"""HTTP out: the ``http`` connector and sink."""

from headrace import hookimpl
from headrace_plugins.http.connector import HttpConnector
from headrace_plugins.http.sink import HttpSink

__all__ = ["HttpConnector", "HttpSink"]


@hookimpl
def register_connectors() -> list[type[HttpConnector]]:
    return [HttpConnector]


@hookimpl
def register_sinks() -> list[type[HttpSink]]:
    return [HttpSink]
