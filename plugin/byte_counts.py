"""Numbers of bytes as people read them."""

from __future__ import annotations


def byte_count(n_bytes: int) -> str:
    """Return a number of bytes in the largest unit of which there is one: ``1.5 MiB``."""
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
