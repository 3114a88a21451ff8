"""A tracking server as a target: Weir's protocol where it runs Weir, MLflow's REST API elsewhere.

What a server is shows on delivery, and may change between two deliveries. A journal that has once
gone by REST goes on that way to its end (``rest_state.py`` remembers it), since a server that
comes to run Weir in the middle knows nothing of what it has. Something that is neither, such as a
proxy's page, gets nothing: the journal is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_weir.plugin import servers
from mlflow_weir.plugin.agent.http_target import HttpTarget, NotWeir
from mlflow_weir.plugin.agent.rest_target import RestTarget
from mlflow_weir.plugin.agent.server_session import REFUSED_PAUSE_S, ServerSession
from mlflow_weir.plugin.agent.targets import Address

if TYPE_CHECKING:
    from mlflow_weir.store.delivery.apply import Outcome
    from mlflow_weir.store.delivery.positions import JournalState


class ServerTarget:
    """Delivers to a server, whatever it is."""

    def __init__(self, address: Address, spool: Path) -> None:
        """Read the address; nothing is connected.

        Args:
            address: Of the server, with the headers of its requests.
            spool: Where servers that run Weir are remembered, and journals' ways.
        """
        self._address, self._spool = address, spool
        self._session = ServerSession(address)
        self._weir = HttpTarget(self._session)
        self._rest = RestTarget(self._session, spool)

    def state(self, journal_id: str) -> JournalState | None:
        """Say how far a journal is delivered."""
        if not self._rest.has(journal_id):
            try:
                return self._weir.state(journal_id)
            except NotWeir:
                self._require_stock()
                self._rest.begin(journal_id)
        return self._rest.state(journal_id)

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
        """Deliver records."""
        if not self._rest.has(journal_id):
            try:
                return self._weir.apply(
                    journal_id, fencing, start, end, payloads, is_patient=is_patient
                )
            except NotWeir:
                self._require_stock()
                self._rest.begin(journal_id, start)
        return self._rest.apply(journal_id, fencing, start, end, payloads, is_patient=is_patient)

    def beat(
        self, journal_id: str, host: str, run_ids: Sequence[str], at_ms: int
    ) -> Sequence[str]:
        """Say that runs are alive, where that can be said; return those to stop."""
        if not self._rest.has(journal_id):
            try:
                return self._weir.beat(journal_id, host, run_ids, at_ms)
            except NotWeir:
                pass  # the next delivery finds out what it is
        return []

    def compact(self, run_id: str, *, is_final: bool) -> bool:
        """Nothing to do: the server keeps its own house."""
        return False

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _require_stock(self) -> None:
        """Forget that the server ran Weir, if it did.

        Raises:
            StoreUnavailable: It is no MLflow server either, or does not answer.
        """
        if not self._rest.is_stock():
            raise self._session.unavailable(
                "this is neither an MLflow server nor one that runs Weir, but another page: the "
                "journal is kept until it is",
                REFUSED_PAUSE_S,
            )
        servers.forget(self._spool, self._address.uri)
