"""Text from journals on somebody's terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    """Return the text on one line, without characters that a terminal would obey."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
