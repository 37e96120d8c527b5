"""The engine: sources → stream → rules → stream → sinks, with every event settled once."""

from headrace.engine.pipeline import Pipeline

__all__ = ["Pipeline"]
