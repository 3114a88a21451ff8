"""The git command, run so that it only reads and ends in time.

With an argument list, without hooks, pagers, prompts, locks, external diff or text conversion,
without the caller's ``GIT_*`` variables, and never longer than its deadline. Filters for large
files (LFS) are switched off, which is what lets others freeze.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from mlflow_weir import settings
from mlflow_weir.processes import is_readable

_OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotepath=off",
    "core.pager=cat",
    "diff.external=",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.renames=true",
    "diff.context=3",  # a patch without context does not apply
    "diff.interHunkContext=0",
    "diff.relative=false",
    "diff.orderFile=/dev/null",
    "filter.lfs.clean=",
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
)
_GIT_KEPT = frozenset(
    ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES")
)
_LONGEST_OUTPUT = 64 << 20
_MAX_COMPLAINT_BYTES = 2_000
_MAX_SAID = 200  # characters of it in a fault
_READ_BYTES = 1 << 16


class GitFault(Exception):
    """Git could not say something; the text is for a person.

    Attributes:
        complaint: What git itself wrote about it, or "".
        is_late: It took too long.
    """

    def __init__(self, text: str, complaint: str = "", *, is_late: bool = False) -> None:
        super().__init__(text)
        self.complaint, self.is_late = complaint, is_late


class Git:
    """Runs git in one folder until a deadline.

    Attributes:
        deadline_s: On the monotonic clock.
    """

    def __init__(
        self, folder: Path, deadline_s: float, variables: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.deadline_s = folder, deadline_s
        self._variables = dict(variables or {})

    def text(self, *words: str) -> str:
        """Return what git says, without the line's end.

        Raises:
            GitFault: It fails.
        """
        return self.raw(*words).decode("utf-8", "replace").strip()

    def names(self, *words: str) -> list[str]:
        """Return a list of names that end with NUL."""
        return [
            one.decode("utf-8", "surrogateescape") for one in self.raw(*words).split(b"\0") if one
        ]

    def raw(self, *words: str, stdin: bytes = b"", most: int = _LONGEST_OUTPUT) -> bytes:
        """Return what git writes to its standard output.

        Args:
            words: The command and its arguments.
            stdin: What it reads.
            most: Bytes; more is a fault.

        Raises:
            GitFault: It fails, says too much, or takes too long.
        """
        if time.monotonic() >= self.deadline_s:
            raise GitFault(f"git {words[0]}: no time left", is_late=True)
        options = [word for option in _OPTIONS for word in ("-c", option)]
        try:
            # Files, for a pipe may be full before git reads it, or before it is read.
            with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as said:
                file.write(stdin)
                file.seek(0)
                process = subprocess.Popen(
                    ["git", "--no-optional-locks", *options, *words],
                    cwd=self.folder,
                    env={**_environment(), **self._variables},
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    start_new_session=True,  # to end its filters with it
                )
                found = self._wait(process, most)
                said.seek(0)
                complaint = said.read(_MAX_COMPLAINT_BYTES).decode("utf-8", "replace")
        except OSError as exc:
            raise GitFault(f"git: {exc.strerror}") from exc
        if found is None:
            text = f"git {words[0]}: took longer than it may, or says too much"
            raise GitFault(text, is_late=True)
        if process.returncode:
            fault = f"git {words[0]}: ended with code {process.returncode}"
            last = complaint.strip().rpartition("\n")[2][:_MAX_SAID]
            raise GitFault(f"{fault}: {last}" if last else fault, complaint.strip())
        return found

    def _wait(self, process: subprocess.Popen[bytes], most: int) -> bytes | None:
        with process:
            try:
                assert process.stdout is not None
                found = _read(process.stdout, most, self.deadline_s)
                process.wait(0.0 if found is None else self.left_s())
            except subprocess.TimeoutExpired:
                found = None
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        return found

    def left_s(self) -> float:
        """Return the seconds until the deadline."""
        return max(self.deadline_s - time.monotonic(), 0.0)

    def with_half_the_time(self) -> Git:
        """Return one that gives up half way to the deadline."""
        return Git(self.folder, self.deadline_s - self.left_s() / 2, self._variables)


def _read(pipe: IO[bytes], most: int, deadline_s: float) -> bytes | None:
    parts: list[bytes] = []
    n = 0
    while True:
        if not is_readable(pipe, max(deadline_s - time.monotonic(), 0.0)):
            return None
        part = pipe.read1(_READ_BYTES)  # type: ignore[attr-defined]
        if not part:
            return b"".join(parts)
        parts.append(part)
        n += len(part)
        if n > most:
            return None


def _environment() -> dict[str, str]:
    """Return the variables for git: none that points it at another repository or program."""
    mine = settings.child_environment()
    kept = {name: mine[name] for name in mine if not name.startswith("GIT_") or name in _GIT_KEPT}
    # What a partial clone has not fetched is not fetched now.
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
