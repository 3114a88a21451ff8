"""Making a journal's folder: a new one, and one that somebody has removed under its writer.

It is put together out of everybody's sight and appears whole. What a writer has written to its
last segment is still in the file that it has open, whether that has a name or not; so it goes
into the new folder, at the same positions, and what the target has of it already is not taken
twice.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.format import segment_name
from mlflow_weir.plugin.journal.owner import (
    LOCK_NAME,
    above_standard,
    create_lock,
    release_lock,
)
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool, read_object, write_private

SEGMENT_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
RESERVE = "reserve"
_RESERVE_BYTES = 8 << 10
_COPY_BYTES = 1 << 20
_PUT_BACK = "put-back.json"


class Built(NamedTuple):
    """A journal that this process owns.

    Attributes:
        folder: Among the journals of its spool.
        lock_file: Descriptor of the lock that says so.
        file: Descriptor of the last segment.
    """

    folder: Path
    lock_file: int
    file: int


class Last(NamedTuple):
    """A last segment that has lost its place.

    Attributes:
        file: Descriptor.
        start: Position of its first record.
        size: Bytes of whole records.
    """

    file: int
    start: int
    size: int


def build(
    spool: Spool,
    journal_id: str,
    private: Mapping[str, Mapping[str, Any]],
    last: Last | None = None,
) -> Built:
    """Make a journal's folder and take its lock.

    Args:
        spool: Holds it.
        journal_id: 32 hex digits.
        private: JSON files that only this user may read, by name.
        last: What it is to hold where it was removed; what is left in its place goes along.

    Raises:
        OSError: It cannot be made; nothing of it is left then.
    """
    new, lock_file, file = spool.new_path(journal_id), -1, -1
    try:
        new.mkdir(mode=0o700)
        lock_file = create_lock(new)
        for name, record in private.items():
            write_private(new / name, record)
        _set_aside(new / RESERVE)
        start = 0 if last is None else last.start
        file = above_standard(os.open(new / segment_name(start), SEGMENT_FLAGS, 0o600))
        if last is not None:
            _copy(last, file)
            write_private(new / _PUT_BACK, {"from": start})
            _bring_along(spool, journal_id, new)
        with contextlib.suppress(FileExistsError):
            (new / "files").mkdir(mode=0o700)
        return Built(spool.publish(new, journal_id), lock_file, file)
    except OSError:
        if file >= 0:
            os.close(file)
        if lock_file >= 0:
            release_lock(lock_file)
        with contextlib.suppress(JournalError):
            JournalFolder(new).remove()
        raise


def is_in_place(folder: Path, start: int, file: int, lock_file: int) -> bool:
    """Say whether a journal's last segment and lock are the files that its writer has open."""
    for path, ours in ((folder / segment_name(start), file), (folder / LOCK_NAME, lock_file)):
        try:
            there = os.stat(path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            continue  # nobody can say at this moment
        if not os.path.samestat(there, os.fstat(ours)):
            return False
    return True


def put_back_from(folder: Path) -> int | None:
    """Return the position from which on a journal was put back; None where it never was gone.

    Raises:
        JournalError: What says so cannot be read.
    """
    found = read_object(folder / _PUT_BACK)
    start = None if found is None else found.get("from")
    return start if isinstance(start, int) else None


def _copy(last: Last, file: int) -> None:
    at = 0
    while at < last.size:
        data = os.pread(last.file, min(_COPY_BYTES, last.size - at), at)
        if not data:
            raise OSError("the segment is shorter than what was written")
        at += os.write(file, data)


def _bring_along(spool: Spool, journal_id: str, new: Path) -> None:
    """Take what the one who removed the journal has left of it, and make room for the new."""
    old = spool.path_of(journal_id)
    with contextlib.suppress(OSError):
        for name in os.listdir(old):
            if not (new / name).exists():
                os.rename(old / name, new / name)
    with contextlib.suppress(FileNotFoundError):
        gone = old.with_name(f".gone-{journal_id}-{secrets.token_hex(4)}")
        os.rename(old, gone)
        shutil.rmtree(gone, ignore_errors=True)


def _set_aside(path: Path) -> None:
    """Take a little of the disk for how its runs end, which has to be said on a full one too."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, bytes(_RESERVE_BYTES))
    finally:
        os.close(file)
