"""A stock MLflow server as a target, through its public REST API alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_weir.errors import LeaseLost, PositionMismatch
from mlflow_weir.plugin.agent.server_session import ServerSession
from mlflow_weir.plugin.agent.stock_server import Failed, StockServer

if TYPE_CHECKING:  # numpy and SQLAlchemy come with them
    from mlflow_weir.plugin.agent.rest_state import RestState, RestStates
    from mlflow_weir.store.delivery.apply import Outcome
    from mlflow_weir.store.delivery.positions import JournalState

_PATIENCE = 5
"""How often one request may make MLflow stumble before the record is taken to be the reason."""


class RestTarget:
    """Delivers to a stock server.

    On the wire records go at least once, in effect exactly once: whatever is sent again after a
    crash finds what was there, and changes nothing (``rest_delivery.py``).
    """

    def __init__(self, session: ServerSession, spool: Path) -> None:
        """Deliver over a session; nothing is asked yet.

        Args:
            session: With the server.
            spool: Where it is kept how far journals are.
        """
        self._server = StockServer(session)
        self._base, self._spool = session.base, spool
        self._known: RestStates | None = None
        self._loaded: set[str] = set()  # journals whose state nobody else has changed since
        self._runs: set[str] = set()
        self._failures: dict[tuple[str, int, int], int] = {}

    def is_stock(self) -> bool:
        """Say whether an MLflow server answers."""
        return self._server.is_stock()

    def has(self, journal_id: str) -> bool:
        """Say whether a journal goes this way."""
        return self._states.load(journal_id) is not None

    def begin(self, journal_id: str, position: int | None = None) -> None:
        """Let a journal go this way from now on; see ``RestStates.begin``."""
        self._states.begin(journal_id, position)

    def state(self, journal_id: str) -> JournalState | None:
        """Return how far a journal is delivered."""
        return self._states.load(journal_id)

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
        """Send records, one after the other; what is done of them is kept when one cannot be."""
        from mlflow_weir.plugin.agent.rest_delivery import RestDelivery
        from mlflow_weir.plugin.agent.rest_state import Part
        from mlflow_weir.store.delivery.apply import Outcome

        with self._states.held(journal_id):
            state = self._claimed(journal_id, fencing, start, end)
            if state.position >= end:
                return _said(Outcome(was_applied=True, position=state.position), state)
            if state.part is None or state.part.start != start:
                state.part = Part(start)
            part = state.part
            state.fencing = max(state.fencing, fencing or 0)
            failed = (journal_id, start, part.n_done)
            delivery = RestDelivery(
                self._server,
                state,
                part,
                self._runs,
                lambda: self._states.save(journal_id, state),
                is_patient=is_patient,
                is_repeat=journal_id not in self._loaded,
                is_last_try=self._failures.get(failed, 0) >= _PATIENCE,
            )
            try:
                delivery.run(payloads)
            except BaseException as exc:
                self._loaded.discard(journal_id)
                if isinstance(exc, Failed):
                    place = (journal_id, start, part.n_done)
                    self._failures = {place: self._failures.get(place, 0) + 1}
                self._states.save(journal_id, state)
                raise
            self._loaded.add(journal_id)
            state.part, state.position = None, end
            state.n_records += len(payloads)
            state.n_points += part.n_points
            state.n_rejected += len(delivery.rejected)
            state.rejected += delivery.rejected
            self._states.save(journal_id, state)
            outcome = Outcome(
                was_applied=False,
                position=end,
                n_records=len(payloads),
                n_points=part.n_points,
                rejected=delivery.rejected,
            )
            return _said(outcome, state)

    @property
    def _states(self) -> RestStates:
        if self._known is None:
            from mlflow_weir.plugin.agent.rest_state import RestStates

            self._known = RestStates(self._spool, self._base)
        return self._known

    def _claimed(self, journal_id: str, fencing: int | None, start: int, end: int) -> RestState:
        """Return the state of a journal whose records from start to end are to be sent.

        Raises:
            LeaseLost: Somebody with a higher fencing number has been here.
            PositionMismatch: It is at neither.
        """
        from mlflow_weir.plugin.agent.rest_state import RestState

        state = self._states.load(journal_id) or RestState()
        if fencing is not None and state.fencing > fencing:
            raise LeaseLost(
                f"journal {journal_id}: delivered under fencing number {state.fencing} by another "
                f"process, ours is {fencing}"
            )
        if state.position < end and state.position != start:
            raise PositionMismatch(journal_id, state.position)
        return state


def _said(outcome: Outcome, state: RestState) -> Outcome:
    outcome.aliases = dict(state.aliases)
    outcome.open_runs = dict(state.open_runs)
    outcome.provisional = dict(state.provisional)
    return outcome
