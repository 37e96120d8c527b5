"""What tests of pipelines and plugins need.

The contract classes are in ``headrace.testing.contracts``, which needs pytest and pytest-asyncio; nothing else here
does. A third-party plugin tests itself against the very classes the built-in plugins pass.
"""

from headrace.testing.conservation import check_conservation
from headrace.testing.context import make_context, make_event
from headrace.testing.doubles import Feed, ListSource, MapTransform, Recorder, RecordingSink

__all__ = [
    "Feed",
    "ListSource",
    "MapTransform",
    "Recorder",
    "RecordingSink",
    "check_conservation",
    "make_context",
    "make_event",
]
