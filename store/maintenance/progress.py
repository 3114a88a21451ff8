"""How long work tells whoever started it how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each piece of work as it is done; the command line draws a bar from it."""

    def start(self, what: str, total: int) -> None:
        """Begin a piece of work of ``total`` units; the one before it is complete."""

    def advance(self, n: int) -> None:
        """Count ``n`` more units of the current piece as done."""


class Silent:
    """A ``Progress`` that tells nobody."""

    def start(self, what: str, total: int) -> None:
        """Say nothing."""

    def advance(self, n: int) -> None:
        """Say nothing."""
