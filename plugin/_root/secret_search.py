"""Where in a block of text the redactor has to look: searches that C does over all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

# Every token has so many of its characters in a row.
_RUN = b"a" * 20
_TOKEN_CHARACTERS = bytes(
    97 if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_-+/=.~%") else 32
    for byte in range(256)
)


class Runs(NamedTuple):
    """The long runs of a token's characters in a block.

    Attributes:
        texts: Each once.
        lines: Start and end of the lines they are in.
    """

    texts: set[bytes]
    lines: dict[int, int]


def sub_at(
    pattern: re.Pattern[bytes],
    starts: Iterable[int],
    replace: Callable[[re.Match[bytes]], bytes],
    block: bytes,
) -> bytes:
    """Do what ``pattern.sub`` does, for a pattern that matches nowhere but at ``starts``."""
    parts, at = [], 0
    for start in starts:
        match = pattern.match(block, start) if start >= at else None
        if match is not None:
            parts += [block[at:start], replace(match)]
            at = match.end()
    return b"".join([*parts, block[at:]]) if parts else block


def runs_of(block: bytes) -> Runs:
    """Return them."""
    like = block.translate(_TOKEN_CHARACTERS)
    runs, lines = set(), {}
    at, line_end = like.find(_RUN), -1
    while at >= 0:
        end = like.find(b" ", at)
        if end < 0:
            end = len(block)
        runs.add(block[at:end])
        if at > line_end:
            line_end = block.find(b"\n", end)
            if line_end < 0:
                line_end = len(block)
            lines[block.rfind(b"\n", 0, at) + 1] = line_end
        at = like.find(_RUN, end)
    return Runs(runs, lines)


def lines_with(
    text: bytes,
    needles: Iterable[bytes],
    block: bytes,
    follows: re.Pattern[bytes] | None = None,
) -> set[int]:
    """Return where lines of ``block`` start in which ``text``, as long, has one of the needles.

    Args:
        text: The block in another writing.
        needles: What to look for.
        block: Lines.
        follows: What the needle has to begin.
    """
    found: set[int] = set()
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            if follows is not None and not follows.match(text, at):
                at = text.find(needle, at + len(needle))
                continue
            start = block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at)
            if end < 0:
                end = len(block)
            found.add(start)
            at = text.find(needle, end)
    return found
