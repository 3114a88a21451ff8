"""Errors raised by the package.

* WeirError
    * ConfigError             (also ValueError)   the user can fix it now
    * StoreError
        * KeyCollision                            the database takes two metric keys for one
        * StoreUnavailable    retryable           database locked, network away
            * CompactedElsewhere                  another process took the same rows first
        * SchemaMismatch                          database older or newer than this code
        * ChunkCorrupt                            stored points fail their checksum

MLflow's callers see only ``MlflowException``; ``store/mlflow_private.py`` translates in one place.
"""

from __future__ import annotations

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
    """The database's collation takes two metric keys of a run for one."""


class StoreUnavailable(StoreError):
    """The database could not be reached or stayed locked past the deadline."""

    retryable = True


class CompactedElsewhere(StoreUnavailable):
    """Another process compacted the same rows; this transaction changed nothing."""


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
