"""A request's body as the payloads of events."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Format", "format_of", "payloads"]

Format = Literal["json", "ndjson", "raw"]
_NDJSON = frozenset(("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"))

_value = msgspec.json.Decoder(msgspec.Raw).decode  # checks the syntax and keeps the text
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def format_of(content_type: str) -> Format:
    """What a media type says of the body."""
    if content_type == "application/json" or content_type.endswith("+json"):
        return "json"
    return "ndjson" if content_type in _NDJSON else "raw"


def payloads(body: bytes, format: Format, split: bool) -> list[str | bytes]:
    """The payloads, one an event, none of them changed. ValueError says what is wrong; then nothing is taken."""
    if format == "raw":
        try:
            return [body.decode()]
        except UnicodeDecodeError:
            return [body]
    if format == "ndjson":
        return [_text(line, f"line {n}") for n, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    text = _text(body, "the body")
    if split and text.startswith("["):
        return [bytes(part).decode() for part in _array(body)]
    return [text]


def _text(json: bytes, where: str) -> str:
    try:
        return bytes(_value(json)).decode()
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
