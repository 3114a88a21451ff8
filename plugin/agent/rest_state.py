"""How far a journal is delivered by REST: a private file, for which a stock server has no place.

    JOURNAL/rest-SERVER.json       of a journal of this machine, SERVER a hash of the address
    SPOOL/rest/ID-SERVER.json      of a copy from elsewhere, into whose folder nothing is written

The file is replaced whole and synced, at the latest a second after what it tells; so a kill may
leave it behind the server, and what follows is sent again, which changes nothing
(``rest_delivery.py``). That the file is there says which way the journal goes. A lock beside it
lets one process deliver at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlflow_weir.errors import JournalError, LeaseLost, StoreUnavailable, WeirError
from mlflow_weir.plugin import servers
from mlflow_weir.plugin.journal.format import list_segments
from mlflow_weir.plugin.journal.spool import JournalFolder, read_object, write_private
from mlflow_weir.store.delivery.positions import KEPT_REJECTIONS, JournalState, Rejected

_FORMAT = 1
_LOCK_WAIT_S = 0.5


@dataclass
class Part:
    """The records of a delivery that is not at its end.

    Attributes:
        start: Position of the first.
        n_done: How many of them the server has.
        n_points: Of those, points it has.
        rejected: Of those, what it has not.
        drops: By the number of a record that counts dropped points: the total that goes to the
            server, which must be the same when it is sent again.
    """

    start: int
    n_done: int = 0
    n_points: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)


@dataclass
class RestState(JournalState):
    """What is known of a journal; ``aliases`` are ids of its experiments, runs and models.

    Attributes:
        part: The delivery in hand; None between two.
    """

    part: Part | None = None


class RestStates:
    """The states of the journals of one server."""

    def __init__(self, spool: Path, server: str) -> None:
        """Look at nothing.

        Args:
            spool: The folder of this user's journals. Where it is no folder, states are kept in
                memory alone.
            server: Its address.
        """
        self._spool, self._server = spool, server
        self._name = hashlib.sha256(server.encode()).hexdigest()[:12]
        self._kept: dict[str, RestState] | None = None if spool.is_dir() else {}

    def load(self, journal_id: str) -> RestState | None:
        """Return what is known of a journal; None for one that does not go by REST.

        Raises:
            JournalError: The file cannot be read.
        """
        if self._kept is not None:
            return self._kept.get(journal_id)
        path = self._path(journal_id)
        found = read_object(path, is_private=True)
        if found is None:
            return None
        try:
            if found.pop("format") != _FORMAT:
                raise ValueError("written by another version")
            found["rejected"] = [Rejected(*one) for one in found["rejected"]]
            part = found.pop("part")
            state = RestState(**found, part=None if part is None else Part(**part))
            if not isinstance(found["position"], int) or not isinstance(found["aliases"], dict):
                raise ValueError("not what this version writes")
        except (KeyError, TypeError, ValueError) as exc:
            raise JournalError(f"{path}: {exc}") from exc
        return state

    def begin(self, journal_id: str, position: int | None) -> None:
        """Note that a journal goes by REST, from where a server that ran Weir had it.

        Args:
            journal_id: The journal's.
            position: How far that was; as this machine has it, where None.
        """
        state = RestState()
        folder = JournalFolder(self._spool / "journals" / journal_id)
        with contextlib.suppress(OSError, WeirError):
            if servers.address_of(folder.header().target.uri) == self._server:
                noted = folder.delivered()
                first = min(list_segments(folder.path), default=0)
                state = RestState(
                    position=max(noted.position, first),
                    n_records=noted.n_records,
                    n_points=noted.n_points,
                    n_rejected=noted.n_rejected,
                    aliases=noted.aliases,
                    open_runs=noted.open_runs,
                    rejected=[Rejected(one["what"], one["reason"]) for one in noted.rejected],
                )
        if position is not None:
            state.position = position
        self.save(journal_id, state)

    def save(self, journal_id: str, state: RestState) -> None:
        """Replace what is known of a journal.

        Raises:
            StoreUnavailable: It cannot be written, so that nothing more may be sent.
        """
        if self._kept is not None:
            self._kept[journal_id] = state
            return
        path = self._path(journal_id)
        new = path.with_name(f"{path.name}.new-{os.getpid()}")
        record = {**_shown(state), "format": _FORMAT}
        try:
            write_private(new, record)
            _sync(new)
            os.replace(new, path)
            _sync(path.parent)
        except FileNotFoundError:  # delivered elsewhere and removed
            raise
        except OSError as exc:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise StoreUnavailable(f"{path}: {exc.strerror}") from exc

    @contextlib.contextmanager
    def held(self, journal_id: str) -> Iterator[None]:
        """Keep other processes from delivering a journal.

        Raises:
            LeaseLost: One is at it.
        """
        if self._kept is not None:
            yield
            return
        path = self._path(journal_id).with_suffix(".lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            deadline_s = time.monotonic() + _LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as exc:
                    if time.monotonic() > deadline_s:
                        raise LeaseLost(
                            f"journal {journal_id}: another process delivers it at this moment"
                        ) from exc
                    time.sleep(0.02)
            yield

    def _path(self, journal_id: str) -> Path:
        folder = self._spool / "journals" / journal_id
        if folder.is_dir():
            return folder / f"rest-{self._name}.json"
        copies = self._spool / "rest"
        copies.mkdir(mode=0o700, exist_ok=True)
        return copies / f"{journal_id}-{self._name}.json"


def _shown(state: RestState) -> dict[str, Any]:
    record = asdict(state)
    record["rejected"] = [one[:2] for one in state.rejected[-KEPT_REJECTIONS:]]
    del record["last"], record["principal"]
    return record


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
