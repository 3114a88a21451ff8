"""Errors raised by the package.

* WeirError
    * ConfigError             (also ValueError)   the user can fix it now
    * StoreError
        * KeyCollision                            the database takes two metric keys for one
        * StoreUnavailable    retryable           database locked, network away
            * CompactedElsewhere                  another process took the same rows first
            * RunNotThereYet                      perhaps another journal has yet to create it
            * PositionMismatch                    the journal was applied up to elsewhere
        * SchemaMismatch                          database older or newer than this code
        * ChunkCorrupt                            stored points fail their checksum
    * JournalError                                the local journal cannot do what was asked
        * JournalFull         retryable           no space left, or the quota is spent
        * JournalCorrupt                          what is no torn tail fails its checksum
    * LeaseLost               retryable           another process owns or delivers this journal now
    * NotPermitted                                the caller may not do that

A torn tail is not an error: it is what a crash leaves, and ``Journal.adopt`` cuts it off.

MLflow's callers see only ``MlflowException``; ``store/mlflow_private.py`` translates in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class WeirError(Exception):
    """Base class.

    Attributes:
        retryable: The same call may succeed later without anyone's help.
        hint: One sentence for the person who reads the message, or ``""``.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.hint = hint


class ConfigError(WeirError, ValueError):
    """A setting, an argument or a URI has a value that cannot work."""


class StoreError(WeirError):
    """The tracking database refused or failed an operation."""


class KeyCollision(StoreError):
    """The database's collation takes two metric keys of a run for one.

    Attributes:
        keys: Those that were refused.
    """

    def __init__(self, message: str, *, hint: str = "", keys: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.keys = tuple(keys)


class StoreUnavailable(StoreError):
    """The database could not be reached or stayed locked past the deadline."""

    retryable = True


class CompactedElsewhere(StoreUnavailable):
    """Another process compacted the same rows; this transaction changed nothing."""


class PositionMismatch(StoreUnavailable):
    """A journal's records were not applied: the database is at another position of it.

    Attributes:
        position: Where to read the journal from, in bytes.
    """

    def __init__(self, journal_id: str, position: int) -> None:
        super().__init__(f"journal {journal_id}: applied up to byte {position}")
        self.position = position


class RunNotThereYet(StoreUnavailable):
    """A record names a run that does not exist; nothing was applied.

    Attributes:
        run_id: The first such run.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} does not exist yet")
        self.run_id = run_id


class SchemaMismatch(StoreError):
    """The database schema is not the one this version reads and writes."""


class ChunkCorrupt(StoreError):
    """Bytes that had been made durable do not match their checksum.

    Attributes:
        what: The table and row, such as ``weir_chunk 17``.
        reason: What is wrong with it.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what}: {reason}",
            hint="run `weir db check URI` for the full list; restore the rows from a back-up",
        )
        self.what, self.reason = what, reason


class JournalError(WeirError):
    """The local journal could not do what was asked."""


class JournalFull(JournalError):
    """There is no room for all records; those without wait in memory or were counted."""

    retryable = True


class JournalCorrupt(JournalError):
    """Bytes of a journal that are no torn tail do not match their checksum.

    Attributes:
        path: The segment file.
        offset: Where in the file the first bad record starts, in bytes.
    """

    def __init__(self, path: str, offset: int) -> None:
        super().__init__(
            f"{path}: bad checksum at byte {offset}",
            hint="run `weir journal salvage` to keep the records around it",
        )
        self.path, self.offset = path, offset


class LeaseLost(WeirError):
    """Another process holds the lock or the lease under which this one worked."""

    retryable = True


class NotPermitted(WeirError):
    """The caller is not the one who may do that."""


class TooMuchAsked(WeirError):
    """A request needs more than a server gives to one; the message says of what and how much."""
