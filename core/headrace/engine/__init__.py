"""The engine: sources → stream → rules → stream → sinks, with every event settled once."""

from headrace.engine.pipeline import Pipeline
from headrace.engine.plan import Plan

__all__ = ["Pipeline", "Plan"]
