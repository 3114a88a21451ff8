"""A tracking server that runs Weir, as a target.

Requests carry what the owner's own would: its headers, its certificates, its proxies, none of
which is in the agent's environment. What a server says to the contrary is put in words a person
understands, and nothing that a request carried is in them. A server that asks for patience
(``Retry-After``) or refuses the credentials is left alone for that long, whoever is in a hurry.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import requests

from mlflow_weir.errors import LeaseLost, PositionMismatch, RunNotThereYet, StoreUnavailable
from mlflow_weir.frames import frame, void
from mlflow_weir.plugin import servers
from mlflow_weir.plugin.agent.targets import Address

if TYPE_CHECKING:
    from mlflow_weir.store.delivery.apply import Outcome
    from mlflow_weir.store.delivery.positions import JournalState, Rejected

T = TypeVar("T")

TIMEOUTS_S = (5.0, 60.0)
"""To connect, and for an answer."""

_REFUSED_PAUSE_S = 30.0
_MAX_PAUSE_S = 600.0
_MAX_TOLD_CHARACTERS = 300
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")


class HttpTarget:
    """Delivers to a server."""

    def __init__(self, address: Address, spool: Path) -> None:
        """Read the address; nothing is connected.

        Args:
            address: Of the server, with the headers of its requests.
            spool: Where servers that run Weir are remembered.
        """
        self._address, self._spool = address, spool
        self._base = servers.address_of(address.uri)
        self._session: requests.Session | None = None
        self._is_fresh = True
        self._pause: tuple[float, str] = (0.0, "")

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

    def beat(self, journal_id: str, host: str, run_ids: Sequence[str], at_ms: int) -> None:
        """Say that runs are alive; by the server's clock."""
        runs = [run_id for run_id in run_ids if _RUN_ID.match(run_id)]
        said = {"journal": journal_id, "runs": runs, "host": host}
        headers = {"Content-Type": "application/json"}
        self._require(self._ask("POST", "/heartbeat", json.dumps(said).encode(), headers))

    def compact(self, run_id: str, *, is_final: bool) -> bool:
        """Nothing to do: the server keeps its own house."""
        return False

    def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._session.close()
            self._session = None

    # Requests

    def _open(self) -> requests.Session:
        """Return a session that owes nothing to the agent's own environment."""
        session = requests.Session()
        environment = dict(self._address.environment)
        session.trust_env = False
        session.headers.update(self._address.headers)
        session.proxies.update(_proxies(self._base, environment))
        if environment.get("MLFLOW_TRACKING_INSECURE_TLS"):
            session.verify = False
            # The owner chose so, and MLflow has warned about it.
            requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined]
        else:
            bundles = map(
                environment.get,
                ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
            )
            session.verify = next(filter(None, bundles), True)
        session.cert = environment.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
        self._is_fresh = True
        return session

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request; return an answer that was meant for us.

        Raises:
            StoreUnavailable: There was none, or it is not to be asked yet.
        """
        if time.monotonic() < self._pause[0]:
            raise StoreUnavailable(self._pause[1])
        while True:
            if self._session is None:
                self._session = self._open()
            is_fresh, self._is_fresh = self._is_fresh, False
            try:
                return self._session.request(
                    method,
                    f"{self._base}{servers.ROUTES}{path}",
                    data=body,
                    headers=headers,
                    timeout=TIMEOUTS_S,
                )
            except requests.RequestException as exc:
                self.close()
                if not is_fresh and isinstance(exc, requests.ConnectionError):
                    continue  # the server had closed a connection that was idle
                raise StoreUnavailable(f"{self._base}: {_in_words(exc)}") from None
            except OSError as exc:  # a certificate's file that is not there
                self.close()
                raise StoreUnavailable(f"{self._base}: {exc}") from None

    def _require(self, answer: requests.Response) -> None:
        """Let a good answer pass, and say what is wrong with another.

        Raises:
            StoreUnavailable: It is not good.
        """
        status = answer.status_code
        is_weirs = servers.API_HEADER in answer.headers
        if status == 200 and is_weirs:
            return
        if status in {200, 404, 405} and not answer.history:
            servers.forget(self._spool, self._address.uri)
            fault = (
                "this is a stock MLflow server (or another page) and does not run Weir: the "
                "journal is kept until it does; WEIR_CLIENT=off logs to it directly"
            )
            self._leave_alone(_REFUSED_PAUSE_S, fault)
        elif status in {401, 403}:
            fault = (
                "the server does not accept the user name, password or token (401)"
                if status == 401
                else f"the server does not permit it (403): {self._error_of(answer)}"
            )
            self._leave_alone(_REFUSED_PAUSE_S, fault)
        elif status in {429, 503}:
            asked_s = _seconds(answer.headers.get("Retry-After", ""))
            fault = f"the server asks for patience ({status}): {self._error_of(answer)}"
            self._leave_alone(asked_s, fault)
        elif status >= 500:
            fault = f"the server or a proxy before it fails ({status}): {self._error_of(answer)}"
        elif answer.history:
            fault = f"the server redirects to {servers.address_of(answer.url)}: use its address"
        else:
            fault = f"the server answers {status}: {self._error_of(answer)}"
            self._leave_alone(_REFUSED_PAUSE_S, fault)
        raise StoreUnavailable(f"{self._base}: {fault}")

    def _leave_alone(self, seconds: float, fault: str) -> None:
        until_s = time.monotonic() + min(seconds, _MAX_PAUSE_S)
        self._pause = (until_s, f"{self._base}: {fault}")

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


def _proxies(base: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that the owner's ``requests`` would have used."""

    def named(name: str) -> str | None:
        return environment.get(name) or environment.get(name.upper())

    if requests.utils.should_bypass_proxies(base, no_proxy=named("no_proxy") or ""):
        return {}
    scheme = base.partition(":")[0]
    proxy = named(f"{scheme}_proxy") or named("all_proxy")
    return {scheme: proxy} if proxy else {}


def _seconds(retry_after: str) -> float:
    """Read a ``Retry-After``; one that is a date, or nothing, as the shortest pause."""
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        return 0.0


def _in_words(error: requests.RequestException) -> str:
    """Say what kept a request from its answer; an exception's own words may hold a proxy's URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"its certificate is not accepted: {_innermost(error)}"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let the request through"
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {TIMEOUTS_S[0]:g} s"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUTS_S[1]:g} s"
    inner = _innermost(error)
    if isinstance(inner, ConnectionRefusedError):
        return "connection refused"
    if isinstance(inner, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    if isinstance(error, requests.ConnectionError):
        return "the connection was closed before an answer"
    return type(error).__name__


def _innermost(error: BaseException) -> BaseException:
    """Follow the causes of an error down, through urllib3's ``reason`` and ``args`` too."""
    for _ in range(10):
        inside = [
            getattr(error, "reason", None),
            error.__cause__,
            error.__context__,
            *error.args[::-1],
        ]
        found = next((one for one in inside if isinstance(one, BaseException)), None)
        if found is None or found is error:
            break
        error = found
    return error
