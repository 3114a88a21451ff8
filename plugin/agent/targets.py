"""Where journals are delivered to, and what an agent asks of such a place.

A target is opened by the agent from what a journal's header and credentials name; journals with
the same address and credentials share one. ``SqlTarget`` is a database, ``ServerTarget`` a server.
All methods are called from one thread.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.journal.spool import Credentials, JournalFolder, Target
from mlflow_weir.plugin.uri import without_secrets

if TYPE_CHECKING:  # SQLAlchemy comes with it, 40 MB that an idle agent does without
    from mlflow_weir.store.delivery.apply import Outcome
    from mlflow_weir.store.delivery.positions import JournalState

_USERINFO = re.compile(r"://([^/@]*)@")
_MIN_BARE = 4  # shorter names and passwords are taken out where they are quoted, not inside words


@dataclass(frozen=True)
class Address:
    """What tells targets apart, with all that is needed to open one.

    Attributes:
        kind: ``sql`` or ``http``.
        uri: Whole, secrets included.
        environment: Variables that the owner's MLflow would use, sorted.
        headers: Of the owner's requests to a server, sorted.
    """

    kind: str
    uri: str = field(repr=False)
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """The URI for a message."""
        return without_secrets(self.uri)

    def redacted(self, text: str) -> str:
        """Take the URI's user and password out of a driver's message, on one line."""
        text = " ".join(text.split())
        found = _USERINFO.search(self.uri)
        for secret in found[1].split(":", 1) if found else []:
            for form in {secret, unquote(secret)} - {""}:
                pattern = re.escape(form)
                if len(form) < _MIN_BARE:
                    pattern = rf"(?<=[\"'`:/ ]){pattern}(?=[\"'`:@ ]|$)"
                text = re.sub(pattern, "…", text)
        return text


def address_of(folder: JournalFolder) -> Address:
    """Return where a journal of this machine wants to go.

    Raises:
        JournalError: The header or the credentials cannot be read.
    """
    return address_with(folder.header().target, folder.credentials())


def address_with(target: Target, credentials: Credentials | None) -> Address:
    """Return the address of a target, with what delivery needs beside it."""
    if credentials is None:
        return Address(target.kind, target.uri)
    environment = tuple(sorted(credentials.environment.items()))
    headers = tuple(sorted(credentials.headers.items()))
    return Address(target.kind, credentials.uri, environment, headers)


class DeliveryTarget(Protocol):
    """A place that takes records, each exactly once."""

    def state(self, journal_id: str) -> JournalState | None:
        """Return what it knows of a journal; None for one it has never heard of.

        Raises:
            StoreUnavailable: It does not answer.
        """

    def apply(
        self,
        journal_id: str,
        fencing: int | None,
        start: int,
        end: int,
        payloads: Sequence[bytes],
        *,
        is_patient: bool,
    ) -> Outcome:
        """Apply consecutive records of a journal, all or none.

        Raises:
            RunNotThereYet: They name a run that does not exist, and ``is_patient``.
            StoreUnavailable: Nothing was applied; try again later.
            PositionMismatch: They do not begin where the target is.
            LeaseLost: Somebody with a larger fencing number delivers this journal.
        """

    def beat(
        self, journal_id: str, host: str, run_ids: Sequence[str], at_ms: int
    ) -> Sequence[str]:
        """Say that runs are alive.

        Returns:
            Runs that somebody asked to stop: their process is to be interrupted, once.

        Raises:
            StoreUnavailable: It was not said.
        """

    def compact(self, run_id: str, *, is_final: bool) -> bool:
        """Do a step of a run's housekeeping; False when nothing is left to do for now.

        Raises:
            StoreUnavailable: Try again later.
        """

    def close(self) -> None:
        """Give back connections and children; a later call opens them again."""


def open_target(address: Address, spool: Path) -> DeliveryTarget:
    """Open a target; nothing is connected yet.

    Args:
        address: Where.
        spool: The folder of this user's journals, where servers that run Weir are remembered.

    Raises:
        ConfigError: The address is not one that this version delivers to.
    """
    if address.kind == "sql":
        from mlflow_weir.plugin.agent.sql_target import SqlTarget

        return SqlTarget(address)
    if address.kind == "http":
        from mlflow_weir.plugin.agent.server_target import ServerTarget

        return ServerTarget(address, spool)
    raise ConfigError(f"{address.shown}: this version does not deliver to {address.kind!r}")
