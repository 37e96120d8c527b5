"""Texts that do harm."""

from __future__ import annotations

ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
"""YAML of nine lines that stands for a hundred million values."""
