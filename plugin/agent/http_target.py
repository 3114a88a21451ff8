"""Weir's own protocol for delivery to a tracking server, as ``docs/server.md`` has it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mlflow_weir.errors import LeaseLost, PositionMismatch, RunNotThereYet, StoreUnavailable
from mlflow_weir.frames import frame, void
from mlflow_weir.plugin import servers
from mlflow_weir.plugin.agent.server_session import ServerSession

if TYPE_CHECKING:
    import requests

    from mlflow_weir.store.delivery.apply import Outcome
    from mlflow_weir.store.delivery.positions import JournalState, Rejected

T = TypeVar("T")

_MAX_TOLD_CHARACTERS = 300
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")


class NotWeir(Exception):
    """The answer is none of Weir's: a stock server's, or another page."""


class HttpTarget:
    """Delivers to a server that runs Weir; every method raises ``NotWeir`` where it does not."""

    def __init__(self, session: ServerSession) -> None:
        """Deliver over a session; nothing is asked yet."""
        self._session = session
        self._base = session.base

    def state(self, journal_id: str) -> JournalState | None:
        """Ask how far a journal is delivered."""
        from mlflow_weir.store.delivery.positions import JournalState

        answer = self._ask("GET", f"/journals/{journal_id}")
        self._require(answer)
        said = self._said(answer)
        if said.get("position") is None:
            return None
        return self._read(
            lambda: JournalState(
                position=int(said["position"]),
                fencing=int(said["fencing"]),
                n_records=int(said["n_records"]),
                n_points=int(said["n_points"]),
                n_rejected=int(said["n_rejected"]),
                rejected=_rejected(said),
                aliases=_texts(said, "aliases"),
                open_runs=_texts(said, "open_runs"),
                provisional=_texts(said, "provisional"),
            )
        )

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
        """Send records; the server applies them in one transaction.

        Where a proxy on the way takes no request of that size, in several.
        """
        body = b"".join(map(frame, payloads))
        if len(body) < end - start:  # what salvage made void is not among the records
            body += void(end - start - len(body))
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "gzip",
            "X-Weir-Journal": journal_id,
            "X-Weir-Start": str(start),
            "X-Weir-End": str(end),
        }
        if fencing is not None:
            headers["X-Weir-Fencing"] = str(fencing)
        if is_patient:
            headers["X-Weir-Patient"] = "1"
        answer = self._ask("POST", "/ingest", gzip.compress(body, 1), headers)
        if answer.status_code == 413 and len(payloads) > 1:
            half = len(payloads) // 2
            middle = start + sum(len(frame(payload)) for payload in payloads[:half])
            first = self.apply(
                journal_id, fencing, start, middle, payloads[:half], is_patient=is_patient
            )
            rest = self.apply(
                journal_id, fencing, middle, end, payloads[half:], is_patient=is_patient
            )
            return _both(first, rest)
        if answer.status_code == 409:
            said = self._said(answer)
            raise PositionMismatch(journal_id, self._read(lambda: int(said["position"])))
        if answer.status_code == 423:
            raise LeaseLost(self._error_of(answer))
        if answer.status_code == 425:
            raise RunNotThereYet(str(self._said(answer).get("run")))
        self._require(answer)
        return self._outcome(self._said(answer))

    def beat(
        self, journal_id: str, host: str, run_ids: Sequence[str], at_ms: int
    ) -> Sequence[str]:
        """Say that runs are alive, by the server's clock; return those to stop."""
        runs = [run_id for run_id in run_ids if _RUN_ID.match(run_id)]
        said = {"journal": journal_id, "runs": runs, "host": host}
        headers = {"Content-Type": "application/json"}
        answer = self._ask("POST", "/heartbeat", json.dumps(said).encode(), headers)
        self._require(answer)
        stops = self._said(answer).get("stops")  # a server of an earlier version says nothing
        return [one for one in stops if one in runs] if isinstance(stops, list) else []

    def compact(self, run_id: str, *, is_final: bool) -> bool:
        """Nothing to do: the server keeps its own house."""
        return False

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        return self._session.ask(method, f"{servers.ROUTES}{path}", body, headers)

    def _require(self, answer: requests.Response) -> None:
        """Let a good answer pass, and say what is wrong with another.

        Raises:
            NotWeir: It is not one of Weir's.
            StoreUnavailable: It is not good.
        """
        status = answer.status_code
        if status == 200 and servers.API_HEADER in answer.headers:
            return
        if status in {200, 404, 405} and not answer.history:
            raise NotWeir
        self._session.refuse(answer, self._error_of(answer))

    def _said(self, answer: requests.Response) -> dict[str, Any]:
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise StoreUnavailable(f"{self._base}: the answer is not one of Weir's")
        return said

    def _error_of(self, answer: requests.Response) -> str:
        """Return the server's own words, where it is Weir that speaks."""
        if servers.API_HEADER not in answer.headers:
            return answer.reason or "no reason given"
        try:
            return str(answer.json()["error"])[:_MAX_TOLD_CHARACTERS]
        except (ValueError, KeyError, TypeError):
            return answer.reason or "no reason given"

    def _outcome(self, said: Mapping[str, Any]) -> Outcome:
        from mlflow_weir.store.delivery.apply import Outcome

        return self._read(
            lambda: Outcome(
                was_applied=bool(said["was_applied"]),
                position=int(said["position"]),
                n_records=int(said["n_records"]),
                n_points=int(said["n_points"]),
                rejected=_rejected(said),
                aliases=_texts(said, "aliases"),
                open_runs=_texts(said, "open_runs"),
                provisional=_texts(said, "provisional"),
            )
        )

    def _read(self, build: Callable[[], T]) -> T:
        try:
            return build()
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise StoreUnavailable(f"{self._base}: the answer is not one of Weir's") from exc


def _rejected(said: Mapping[str, Any]) -> list[Rejected]:
    from mlflow_weir.store.delivery.positions import Rejected

    return [Rejected(str(one["what"]), str(one["reason"])) for one in said["rejected"]]


def _texts(said: Mapping[str, Any], name: str) -> dict[str, str]:
    return {str(key): str(value) for key, value in said[name].items()}


def _both(first: Outcome, rest: Outcome) -> Outcome:
    """Return what became of two deliveries, one after the other."""
    rest.n_records += first.n_records
    rest.n_points += first.n_points
    rest.rejected = [*first.rejected, *rest.rejected]
    return rest
