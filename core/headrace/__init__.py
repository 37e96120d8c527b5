"""headrace: MQTT in, SQL in the middle, HTTP out, and nothing lost.

These are the names a plugin needs; everything else is the engine's own.
"""

from headrace.components import (
    ComponentConfig,
    Connector,
    Context,
    Done,
    Form,
    Guard,
    Inputs,
    JoiningSink,
    Offer,
    Output,
    Piece,
    PipelineInfo,
    Receipt,
    Remark,
    Sink,
    Source,
    TestStep,
    Transform,
)
from headrace.errors import Backoff, DeliveryError, EndOfInput, HeadraceError, NotConnected
from headrace.events import UNDEFINED, Ack, Batch, Event, json_bytes, new_id, now_ms, traceparent
from headrace.hookspecs import hookimpl
from headrace.units import Duration, Size

__version__ = "0.1.0"

__all__ = [
    "UNDEFINED",
    "Ack",
    "Backoff",
    "Batch",
    "ComponentConfig",
    "Connector",
    "Context",
    "DeliveryError",
    "Done",
    "Duration",
    "EndOfInput",
    "Event",
    "Form",
    "Guard",
    "HeadraceError",
    "Inputs",
    "JoiningSink",
    "NotConnected",
    "Offer",
    "Output",
    "Piece",
    "PipelineInfo",
    "Receipt",
    "Remark",
    "Sink",
    "Size",
    "Source",
    "TestStep",
    "Transform",
    "__version__",
    "hookimpl",
    "json_bytes",
    "new_id",
    "now_ms",
    "traceparent",
]
