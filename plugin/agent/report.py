"""What there is to say about a spool, its agent and its journals: what ``weir status`` prints.

Read from the files alone, so that it is there with the target away and no agent running. Records
that wait are counted by reading them, up to a limit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.agent import lease, liveness, refusals
from mlflow_weir.plugin.agent.drain import (
    dropped_artifacts,
    dropped_points,
    dropped_traces,
    end_of,
)
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import Header, JournalFolder, Spool
from mlflow_weir.plugin.uri import without_secrets
from mlflow_weir.store.delivery.records import Operation, RecordError, decode

MAX_COUNTED_BYTES = 64 << 20
_OWN_RUN = b'O["own_run"'


@dataclass(frozen=True)
class AgentReport:
    """The agent that serves a spool.

    Attributes:
        since_ms: When it took the lease, wall time.
        memory_bytes: Resident; 0 where unknown.
    """

    pid: int
    since_ms: int
    version: str
    memory_bytes: int


@dataclass(frozen=True)
class JournalReport:
    """One journal.

    Attributes:
        target: Where it goes, without user, password and query.
        is_alive: The process that writes it lives.
        waiting_bytes: Not delivered yet; ``waiting_records`` of them, at least that many where
            ``is_more``.
        waiting_since_ms: Since when something waits, wall time; 0 if nothing does.
        file_bytes: Artifacts and traces that wait, of ``n_files`` calls; ``n_traces`` of them are
            parts of traces.
        file_error: Why they are not uploaded; "" where nothing is wrong.
        open_runs: Runs its process answers for, and how.
    """

    path: str
    journal_id: str
    target: str
    program: str
    host: str
    node: str
    pid: int
    created_ms: int
    is_alive: bool
    waiting_bytes: int
    waiting_records: int
    is_more: bool
    waiting_since_ms: int
    file_bytes: int
    n_files: int
    n_traces: int
    file_error: str
    file_error_at_ms: int
    n_records: int
    n_points: int
    n_dropped: int
    n_traces_dropped: int
    n_artifacts_dropped: int
    n_rejected: int
    rejected: list[dict[str, str]]
    error: str
    error_at_ms: int
    open_runs: dict[str, str]


@dataclass(frozen=True)
class Report:
    """A spool.

    Attributes:
        agent: None when none runs.
        unreadable: Folders that are no journals of this version, with the reason.
        refused: What stores did not take of journals that are gone.
    """

    spool: str
    size_bytes: int
    agent: AgentReport | None
    journals: list[JournalReport] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    refused: list[refusals.Refused] = field(default_factory=list)


def report(spool: Spool) -> Report:
    """Look at a spool."""
    journals, unreadable = [], {}
    for folder in sorted(spool.journals(), key=lambda one: one.path):
        try:
            journals.append(report_journal(folder))
        except JournalError as exc:
            unreadable[str(folder.path)] = str(exc)
    journals.sort(key=lambda one: one.created_ms)
    found = Report(str(spool.root), spool.usage_bytes(), report_agent(spool))
    return dataclasses.replace(
        found, journals=journals, unreadable=unreadable, refused=refusals.listed(spool.root)
    )


def report_agent(spool: Spool) -> AgentReport | None:
    """Say who serves a spool; None when nobody does."""
    holder = lease.holder_of(AgentFiles(spool.root))
    if not holder:
        return None
    pid, started_ms = holder.get("pid"), holder.get("started_ms")
    if not isinstance(pid, int) or not isinstance(started_ms, int):
        return None
    return AgentReport(pid, started_ms, str(holder.get("version", "")), _memory_bytes(pid))


def report_journal(folder: JournalFolder) -> JournalReport:
    """Look at one journal.

    Raises:
        JournalError: It is none, or its files cannot be read.
    """
    header, delivered = folder.header(), folder.delivered()
    end = end_of(folder)
    waiting = max(end - delivered.position, 0)
    counted = _count(folder, delivered.position)
    error = delivered.error or counted.error
    waiting_files, problem = files.list_waiting(folder.files), files.read_problem(folder.files)
    return JournalReport(
        path=str(folder.path),
        journal_id=header.journal_id,
        target=without_secrets(header.target.uri),
        program=header.program,
        host=header.host,
        node=header.node,
        pid=header.pid,
        created_ms=header.created_ms,
        is_alive=not folder.owner_is_gone(),
        waiting_bytes=waiting,
        waiting_records=counted.n_records,
        is_more=counted.is_more,
        waiting_since_ms=(delivered.at_ms or header.created_ms) if waiting else 0,
        file_bytes=sum(one.size_bytes() for one in waiting_files),
        n_files=len(waiting_files),
        n_traces=sum(one.is_trace for one in waiting_files),
        file_error=problem.error if waiting_files else "",
        file_error_at_ms=problem.at_ms,
        n_records=delivered.n_records,
        n_points=delivered.n_points,
        n_dropped=delivered.n_dropped + counted.n_dropped,
        n_traces_dropped=delivered.n_traces_dropped + counted.n_traces_dropped,
        n_artifacts_dropped=delivered.n_artifacts_dropped + counted.n_artifacts_dropped,
        n_rejected=delivered.n_rejected,
        rejected=delivered.rejected,
        error=error,
        error_at_ms=delivered.error_at_ms,
        open_runs={**delivered.open_runs, **counted.owned},
    )


def find_process(spool: Spool, run_id: str) -> Header | None:
    """Return the living process of this machine that answers for a run; None if none does.

    Of several the main one: that which logged first, of those that called ``mlflow.start_run``.
    """
    claims = []
    for folder in spool.journals():
        try:
            header, delivered = folder.header(), folder.delivered()
            # By the lock alone it is not: the agent has that, while it writes the end of a run.
            if folder.owner_is_gone() or not _lives(header):
                continue
            owned = {**delivered.open_runs, **_count(folder, delivered.position).owned}
            if (how := owned.get(run_id)) is not None:
                claims.append((how != "fluent", header.created_ms, header))
        except JournalError:
            continue
    return min(claims, key=lambda one: one[:2])[-1] if claims else None


def _lives(header: Header) -> bool:
    watch = liveness.try_watch(header.pid, header.pid_start_ticks)
    if watch is None:
        return False
    try:
        return not watch.has_ended()
    finally:
        watch.close()


@dataclass
class _Counted:
    n_records: int = 0
    n_dropped: int = 0
    n_traces_dropped: int = 0
    n_artifacts_dropped: int = 0
    is_more: bool = False
    error: str = ""
    owned: dict[str, str] = field(default_factory=dict)


def _count(folder: JournalFolder, position: int) -> _Counted:
    """Read what waits, up to a limit."""
    counted = _Counted()
    try:
        with JournalReader(folder.path, position) as reader:
            while (records := reader.read(1 << 20)).payloads:
                counted.n_records += len(records.payloads)
                counted.n_dropped += sum(map(dropped_points, records.payloads))
                counted.n_traces_dropped += sum(map(dropped_traces, records.payloads))
                counted.n_artifacts_dropped += sum(map(dropped_artifacts, records.payloads))
                for payload in records.payloads:
                    if payload.startswith(_OWN_RUN):
                        counted.owned.update(_owned(payload))
                if records.end - position > MAX_COUNTED_BYTES:
                    counted.is_more = not reader.is_at_end()
                    break
    except JournalError as exc:
        counted.error = str(exc)
    return counted


def _owned(payload: bytes) -> dict[str, str]:
    try:
        found = decode(payload)
    except RecordError:
        return {}
    fields = found.fields if isinstance(found, Operation) else {}
    run_id, how = fields.get("run_id"), fields.get("how")
    return {run_id: how} if isinstance(run_id, str) and isinstance(how, str) else {}


def _memory_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0
