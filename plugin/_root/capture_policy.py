"""Which classes of capture a server allows: what it announces, obeys nobody else's wish against.

``WEIR_SERVER_CAPTURE`` on the server is ``on``, ``off``, or some of the classes. ``GET info`` says
it; clients capture nothing of the other classes, and an ingest drops what of them it can tell.
"""

from __future__ import annotations

from collections.abc import Iterable

CLASSES = frozenset(
    ("console", "environment", "files", "git", "gradients", "hardware", "notebook")
)
_TAGS = {
    "weir.exit_traceback": "console",
    "weir.git.": "git",
    "weir.host": "environment",
    "weir.python": "environment",
    "weir.gpu": "hardware",
    "weir.hardware": "hardware",
}


def parse_classes(text: str) -> frozenset[str]:
    """Parse ``on``, ``off``, or classes separated by commas or blanks.

    Raises:
        ValueError: It names something else.
    """
    words = text.replace(",", " ").lower().split()
    if words == ["on"]:
        return CLASSES
    if words == ["off"]:
        return frozenset()
    unknown = sorted(set(words) - CLASSES)
    if unknown or not words:
        raise ValueError(f"expected on, off, or some of {', '.join(sorted(CLASSES))}")
    return frozenset(words)


def known_classes(said: object) -> frozenset[str]:
    """Return what a server's announcement allows; a server that says nothing allows all."""
    if not isinstance(said, Iterable) or isinstance(said, str):
        return CLASSES
    return CLASSES & {one for one in said if isinstance(one, str)}


def class_of_tag(key: str) -> str | None:
    """Return the class of capture that a run's tag comes from; None for any other tag."""
    return next((name for start, name in _TAGS.items() if key.startswith(start)), None)
