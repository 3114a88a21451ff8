"""Which runs are let go, and whose points move away, in words: those of `weir db` are a server's.

A server's setting holds what follows the URI in the command: what was tried with the command,
which says first what would happen, is copied into the setting as it is. Unlike there an age is
needed: nobody looks before a server does it.
"""

from __future__ import annotations

import argparse
import re
import shlex
from typing import NamedTuple, NoReturn

STATUSES = ("FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED")
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([dhm])\Z")
_UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000}


class RetentionWords(NamedTuple):
    """One policy of ``weir db retain``.

    Attributes:
        text: As it was written.
        older_than_ms: Since the end of a run.
        statuses: Empty for those of ended runs.
        tags: Each a key and the value it has; None for any value.
        experiments: Names or ids; empty for all.
        mark_only: Mark the runs as deleted and remove nothing.
        with_models: Mark the models that they logged as well.
    """

    text: str
    older_than_ms: int
    statuses: tuple[str, ...]
    tags: tuple[tuple[str, str | None], ...]
    experiments: tuple[str, ...]
    mark_only: bool
    with_models: bool


class ArchiveWords(NamedTuple):
    """What ``weir db archive`` is told; ``address`` is empty where ``WEIR_COLD_STORE`` says it."""

    older_than_ms: int
    address: str


def age_ms(text: str) -> int:
    """Read an age such as ``90d``, in ms.

    Raises:
        ValueError: It is none.
    """
    found = _AGE.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no age: expected a number and d, h or m, such as 90d")
    return int(float(found[1]) * _UNIT_MS[found[2]])


def tag(text: str) -> tuple[str, str | None]:
    """Read a tag's key, and the value where one is given.

    Raises:
        ValueError: There is no key.
    """
    key, equals, value = text.partition("=")
    if not key:
        raise ValueError(f"{text!r} is no tag: expected KEY or KEY=VALUE")
    return key, value if equals else None


def retention_policies(text: str) -> tuple[RetentionWords, ...]:
    """Parse policies of ``weir db retain``, one a line.

    Raises:
        ValueError: One of them says what the command does not know, or no age.
    """
    words = _Words()
    words.add_argument("--status", action="append", default=[], type=str.upper, choices=STATUSES)
    words.add_argument("--tag", action="append", default=[])
    words.add_argument("--experiment", action="append", default=[])
    words.add_argument("--mark-only", action="store_true")
    words.add_argument("--with-models", action="store_true")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        read = words.parse_args(shlex.split(line))
        found.append(
            RetentionWords(
                line,
                age_ms(read.older_than),
                tuple(read.status),
                tuple(map(tag, read.tag)),
                tuple(read.experiment),
                read.mark_only,
                read.with_models,
            )
        )
    return tuple(found)


def archive_words(text: str) -> ArchiveWords:
    """Parse what ``weir db archive`` is told.

    Raises:
        ValueError: It says what the command does not know, or no age.
    """
    words = _Words()
    words.add_argument("--to", default="")
    read = words.parse_args(shlex.split(text))
    return ArchiveWords(age_ms(read.older_than), read.to)


class _Words(argparse.ArgumentParser):
    """A parser that tells errors to its caller, and nothing to standard error."""

    def __init__(self) -> None:
        super().__init__(prog="", add_help=False, allow_abbrev=False)
        self.add_argument("--older-than", required=True)

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)
