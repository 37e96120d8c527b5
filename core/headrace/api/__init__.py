"""The HTTP API: health, metrics, and everything under /api/v1. No logic of its own."""

from headrace.api.app import serve

__all__ = ["serve"]
