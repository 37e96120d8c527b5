"""Hashes, as lower-case hexadecimal."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from headrace_plugins.sql.functions.arguments import choice, octets, one_of
from headrace_plugins.sql.functions.base import function
from headrace_plugins.sql.values import describe, to_bytes

_ALGORITHMS: Final = {
    "sha": "sha1",
    **{name: name for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s")},
    **{name: name for name in ("sha3_224", "sha3_256", "sha3_384", "sha3_512")},
}


@function("hash", kind="str", check=one_of(0, *_ALGORITHMS))
def hash_(algorithm: Any, value: Any) -> str:
    """The digest by an algorithm's name."""
    name = _ALGORITHMS[choice(algorithm, *_ALGORITHMS)]
    return hashlib.new(name, to_bytes(octets(value)), usedforsecurity=False).hexdigest()


def _digest(algorithm: str, value: Any) -> str:
    if not isinstance(value, str | bytes):
        raise ValueError(f"expected a string, not {describe(value)}")
    return hash_(algorithm, value)


@function(kind="str")
def md5(value: Any) -> str:
    """The MD5 digest, in hexadecimal."""
    return _digest("md5", value)


@function(kind="str")
def sha(value: Any) -> str:
    """The SHA-1 digest, in hexadecimal."""
    return _digest("sha1", value)


@function(kind="str")
def sha256(value: Any) -> str:
    """The SHA-256 digest, in hexadecimal."""
    return _digest("sha256", value)
