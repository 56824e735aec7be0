"""Bytes for people."""

from __future__ import annotations


def size_text(size: float) -> str:
    """Bytes in the unit that suits them.

    >>> size_text(0), size_text(1500), size_text(13.5e9)
    ('0 B', '1.5 kB', '13.5 GB')
    """
    for unit in ("B", "kB", "MB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
