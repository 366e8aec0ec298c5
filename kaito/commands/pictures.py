"""What a command may draw to."""

from __future__ import annotations

from pathlib import Path

from kaito.problems import Problem

SUFFIXES = (".png", ".svg")


def require_suffix(file: str) -> None:
    """Refuse a file that is no picture before any work is done for it."""
    if Path(file).suffix.lower() not in SUFFIXES:
        raise Problem(f"{file}: expected a file that ends in {' or '.join(SUFFIXES)}")
