"""Which files of a folder match patterns, have changed, and have rested since.

A pattern is relative to the folder: ``*``, ``?`` and ``[…]`` match within a name, ``**`` any
number of folders, a folder's name all that is below it. What begins with a dot is matched only by
what does. Links to folders are not followed, links to files only where they stay within it.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlflow_weir.plugin.capture.git_patch import is_secret

MAX_FILES = 10_000
BYTES_PER_S = 1_000_000
"""Of one file whose versions are taken, on average: a log that grows for ever is not sent whole
every few seconds. The last version is always taken."""

_WILD = re.compile(r"[*?\[]")
_NEVER = frozenset(
    (".git", ".venv", "venv", "node_modules", "__pycache__", "mlruns", "mlartifacts",
     "weir-artifacts")
)  # fmt: skip

Version = tuple[int, int, int]
"""Of a file: times of change of its contents and of itself, in nanoseconds, and size in bytes."""


class Pattern:
    """One pattern.

    Args:
        text: The pattern.
        folder: What it is relative to; absolute ones have to lie within.

    Attributes:
        base: The folder, relative, that all matches are below; "" for the whole.

    Raises:
        ValueError: It leads out of the folder, or is none.
    """

    def __init__(self, text: str, folder: Path) -> None:
        relative = os.path.relpath(text, folder) if os.path.isabs(text) else os.path.normpath(text)
        parts = relative.replace(os.sep, "/").split("/")
        if not text or ".." in parts or parts == ["."]:
            raise ValueError("leads out of the working folder, or is all of it")
        if parts[-1] == "**":
            parts.append("*")
        elif (folder / relative).is_dir():
            parts += ["**", "*"]
        n_plain = next((i for i, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
        self.base = "/".join(parts[:n_plain])
        self._is_deep = "**" in parts
        self._depth = len(parts)
        self._pattern = re.compile("".join(_as_expression(part) for part in parts)[:-1] + r"\Z")

    def matches(self, name: str) -> bool:
        """Say whether it matches a file's path below the folder."""
        return self._pattern.match(name) is not None

    def goes_into(self, name: str) -> bool:
        """Say whether it may match files in a folder of this path."""
        return self._is_deep or name.count("/") + 2 <= self._depth


def _as_expression(part: str) -> str:
    """Return a regular expression for one part of a pattern, and the slash behind it."""
    if part == "**":
        return r"(?:(?!\.)[^/]+/)*"
    found = "" if part.startswith(".") else r"(?!\.)"
    at = 0
    while at < len(part):
        letter, end = part[at], part.find("]", at + 2)
        if letter == "*":
            found += "[^/]*"
        elif letter == "?":
            found += "[^/]"
        elif letter == "[" and end > 0:
            inside = part[at + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            found += f"[{'^' + inside[1:] if inside.startswith('!') else inside}]"
            at = end
        else:
            found += re.escape(letter)
        at += 1
    return found + "/"


class Follower:
    """Looks again and again at the files that patterns match.

    Args:
        folder: The training's working folder.
        take: Keeps a version of a file, given its path and its name below the folder; returns ""
            or why it could not. It is tried again then.
        not_below: A folder that is not looked into: where the versions go.
        max_bytes: Of one file.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        folder: Path,
        take: Callable[[str, str], str],
        *,
        not_below: str = "",
        max_bytes: int = 1 << 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._take, self._max_bytes = take, max_bytes
        self._not_below = os.path.realpath(not_below) if not_below else ""
        self._patterns: list[tuple[Pattern, int]] = []
        self._seen: dict[str, Version] = {}
        self._taken: dict[str, Version] = {}
        self._clock = clock
        self._not_before_s: dict[str, float] = {}
        self.n_versions = 0
        self.left_out: dict[str, str] = {}

    @property
    def n_files(self) -> int:
        """How many files were taken so far."""
        return len(self._taken)

    def add(self, pattern: str, since_ns: int) -> None:
        """Follow one more pattern.

        Args:
            pattern: Relative to the folder.
            since_ns: Of the wall clock; files that have not changed since are not taken. 0 takes
                all that are there.
        """
        try:
            self._patterns.append((Pattern(pattern, self.folder), since_ns))
        except (ValueError, re.error) as exc:
            self.left_out[pattern] = str(exc)

    def look(self, *, is_last: bool = False) -> None:
        """Take what has changed and rested since the look before; at the last one, all changed."""
        for name, path in self._matches():
            version = self._version(name, path)
            if version is None or version == self._taken.get(name):
                continue
            has_rested = self._seen.get(name) == version
            self._seen[name] = version
            is_due = has_rested and self._clock() >= self._not_before_s.get(name, 0.0)
            if not is_due and not is_last:
                continue
            reason = self._take(path, name)
            if reason:
                self.left_out[name] = reason
                continue
            self.left_out.pop(name, None)
            self._taken[name] = version
            self._not_before_s[name] = self._clock() + version[2] / BYTES_PER_S
            self.n_versions += 1

    def _version(self, name: str, path: str) -> Version | None:
        """Return what tells this version from others; None where the file is not to be taken."""
        try:
            if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(
                self.folder
            ):
                self.left_out[name] = "a link that leads out of the working folder"
                return None
            status = os.stat(path)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        if is_secret(name):
            self.left_out[name] = "its name says that it holds secrets"
        elif status.st_size > self._max_bytes:
            self.left_out[name] = f"larger than {self._max_bytes:,} bytes"
        elif name not in self._seen and len(self._seen) >= MAX_FILES:
            self.left_out["…"] = f"more than {MAX_FILES:,} files"
        else:
            return status.st_mtime_ns, status.st_ctime_ns, status.st_size
        return None

    def _matches(self) -> Iterator[tuple[str, str]]:
        """Give the files that match, each once: its name below the folder, and its path."""
        given: set[str] = set()
        for pattern, since_ns in self._patterns:
            for name, path in self._files(pattern):
                if name not in given and pattern.matches(name) and _is_new(path, since_ns):
                    given.add(name)
                    yield name, path

    def _files(self, pattern: Pattern) -> Iterator[tuple[str, str]]:
        start = os.path.join(self.folder, pattern.base)
        if not Path(os.path.realpath(start)).is_relative_to(self.folder):
            self.left_out[pattern.base] = "a link that leads out of the working folder"
            return
        for folder, folders, names in os.walk(start):
            below = os.path.relpath(folder, self.folder).replace(os.sep, "/")
            lead = "" if below == "." else f"{below}/"
            folders[:] = [
                one
                for one in folders
                if one not in _NEVER
                and pattern.goes_into(f"{lead}{one}")
                and os.path.join(folder, one) != self._not_below
            ]
            for name in names:
                yield f"{lead}{name}", os.path.join(folder, name)


def _is_new(path: str, since_ns: int) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return max(status.st_mtime_ns, status.st_ctime_ns) >= since_ns


def count_matches(patterns: Sequence[str], folder: Path) -> tuple[int, list[str]]:
    """Return how many files patterns match here and now, and the patterns that cannot be."""
    found = Follower(folder, lambda path, name: "")
    for pattern in patterns:
        found.add(pattern, 0)
    bad = list(found.left_out)
    found.look(is_last=True)
    return found.n_files, bad
