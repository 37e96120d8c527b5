"""How bodies are compressed."""

from __future__ import annotations

import gzip
import importlib
import sys
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator

__all__ = ["Compression", "compressor"]

_ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def _available(name: str) -> str:
    if name == "zstd":
        try:
            importlib.import_module(_ZSTD)
        except ImportError:
            raise ValueError("zstd is not installed: pip install 'headrace[zstd]'") from None
    return name


Compression = Annotated[Literal["none", "gzip", "zstd"], AfterValidator(_available)]


def compressor(name: str) -> Callable[[bytes], bytes] | None:
    """What compresses one body; None for ``none``."""
    if name == "none":
        return None
    if name == "gzip":
        return lambda body: gzip.compress(body, 6, mtime=0)
    compress: Callable[[bytes], bytes] = importlib.import_module(_ZSTD).compress
    return compress
