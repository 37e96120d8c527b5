"""Functions that need a package which is not installed with us."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["needs"]


def needs(package: str, extra: str) -> Any:
    """The package. ValueError says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ValueError(f"this needs the package {package}: pip install 'headrace[{extra}]'") from None
