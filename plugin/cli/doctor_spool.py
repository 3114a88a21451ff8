"""What ``weir doctor`` says of the background process, the spool and the servers.

Read from the files of the spool; nothing is made or started. Servers are asked for a few seconds.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from pathlib import Path
from shutil import disk_usage
from typing import NamedTuple

from mlflow_weir import __version__, settings
from mlflow_weir.capture_policy import known_classes
from mlflow_weir.errors import WeirError
from mlflow_weir.filesystems import NETWORK_FILE_SYSTEMS, file_system_of
from mlflow_weir.plugin import servers
from mlflow_weir.plugin.agent.client import SET_ASIDE
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.agent.report import AgentReport, Report, report
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.plugin.uri import without_secrets

MIN_FREE_BYTES = 1 << 30
MAX_SKEW_S = 60.0
_ASK_S = 3.0
_MAX_ASKED = 5
_NEARLY_FULL = 0.9


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        check: What was looked at, one or two words.
        ok: Nothing to do here.
        detail: What is there.
        hint: What to do when it is not ok, else ``""``.
    """

    check: str
    ok: bool
    detail: str
    hint: str = ""


def examine_spool() -> list[Finding]:
    """Check the spool of this user, if there is one, and who serves it."""
    try:
        spool = Spool.look()
    except WeirError as exc:
        return [Finding("spool", False, str(exc), exc.hint)]
    place = check_place(spool)
    if spool is None:
        return [place]
    found = report(spool)
    return [place, check_quota(found), check_agent(spool.root, found.agent), check_waiting(found)]


def check_place(spool: Spool | None) -> Finding:
    """Is the spool on a local disk with room?"""
    named = settings.SPOOL.get()
    kind = file_system_of(Path(named).expanduser()) if named else ""
    if kind in NETWORK_FILE_SYSTEMS:
        used = "made on first use" if spool is None else spool.root
        return Finding(
            "spool",
            False,
            f"WEIR_SPOOL={named} is on a network file system ({kind}); used instead: {used}",
            "Name a folder on a local disk, or unset WEIR_SPOOL.",
        )
    if spool is None:
        return Finding("spool", True, "not there yet, made when something is logged")
    free = disk_usage(spool.root).free
    kind = file_system_of(spool.root) or "unknown file system"
    detail = f"{spool.root} ({kind}), {free / (1 << 30):.1f} GiB free"
    if free < MIN_FREE_BYTES:
        return Finding("spool", False, detail, "Free at least 1 GiB, or set WEIR_SPOOL elsewhere.")
    return Finding("spool", True, detail)


def check_quota(found: Report) -> Finding:
    """Is there room below the limit that the spool has?"""
    limit = settings.SPOOL_MAX_BYTES.get()
    detail = f"{found.size_bytes / (1 << 20):.1f} of {limit / (1 << 20):,.0f} MiB used"
    if found.size_bytes > _NEARLY_FULL * limit:
        return Finding(
            "quota",
            False,
            detail,
            "See `weir status` for what waits, or raise WEIR_SPOOL_MAX_BYTES.",
        )
    return Finding("quota", True, detail)


def check_agent(root: Path, agent: AgentReport | None) -> Finding:
    """Does the background process run, in the version that is installed?"""
    log = AgentFiles(root).log
    if agent is None:
        return Finding("agent", True, f"none runs, started when something is logged; log: {log}")
    minutes = max(time.time() - agent.since_ms / 1000, 0.0) / 60
    detail = f"process {agent.pid}, version {agent.version}, for {minutes:.0f} min; log: {log}"
    if agent.version != __version__:
        return Finding(
            "agent", False, detail, f"Run `weir agent stop`: the next one is {__version__}."
        )
    return Finding("agent", True, detail)


def check_waiting(found: Report) -> Finding:
    """Is what was logged on its way, and can all of it be delivered?"""
    aside = len(found.unreadable)
    aside += sum(one.error.startswith(SET_ASIDE) for one in found.journals)
    waiting = [one for one in found.journals if one.waiting_bytes or one.n_files]
    n_bytes = sum(one.waiting_bytes + one.file_bytes for one in waiting)
    detail = f"{len(waiting)} wait with {n_bytes / (1 << 20):.1f} MiB, {aside} set aside"
    errors = sorted({one.error or one.file_error for one in waiting} - {""})
    if aside:
        return Finding(
            "journals", False, detail, "`weir status` names them; see `weir journal salvage`."
        )
    if errors:
        return Finding(
            "journals",
            False,
            plain(f"{detail}: {'; '.join(errors)[:300]}"),
            "It is tried again by itself; `weir sync` tries now, `weir status` says more.",
        )
    refused = sum(one.n_rejected for one in found.journals)
    refused += sum(one.n_rejected for one in found.refused)
    if refused:
        return Finding(
            "journals",
            False,
            f"{detail}, {refused:,} records refused",
            "`weir status` says which and why.",
        )
    return Finding("journals", True, detail)


def examine_servers(target_uri: str | None) -> list[Finding]:
    """Ask the servers that are remembered as running Weir, the newest of them, and the target.

    Args:
        target_uri: The server that the command was given, or None; it alone has to answer.
    """
    addresses = servers.known()[:_MAX_ASKED]
    target = None if target_uri is None else servers.address_of(target_uri)
    if target is not None and target not in addresses:
        addresses.insert(0, target)
    findings: list[Finding] = []
    for address in addresses:
        findings += _ask(address, is_target=address == target)
    return findings


def _ask(address: str, *, is_target: bool) -> list[Finding]:
    shown = plain(without_secrets(address))
    before = time.time()
    try:
        with urllib.request.urlopen(f"{address}{servers.ROUTES}/info", timeout=_ASK_S) as answer:
            headers, status = answer.headers, answer.status
    except urllib.error.HTTPError as exc:
        headers, status = exc.headers, exc.code
        exc.close()
    except (OSError, ValueError) as exc:
        reason = plain(str(getattr(exc, "reason", exc)))[:200]
        hint = "What is logged waits on this machine; check the address and the network."
        if is_target:
            return [Finding("server", False, f"{shown} does not answer: {reason}", hint)]
        return [Finding("server", True, f"{shown} does not answer now: {reason}")]
    runs_weir = servers.API_HEADER in headers and status != 404
    kind = "runs Weir" if runs_weir else "is a server without Weir"
    return [
        Finding("server", True, f"{shown} {kind}"),
        *check_clock(shown, headers.get("Date"), (before + time.time()) / 2),
    ]


def allowed_captures(uri: str) -> frozenset[str]:
    """Return the classes of capture that a server allows: as it says now, or else said last."""
    address = f"{servers.address_of(uri)}{servers.ROUTES}/info"
    try:
        with urllib.request.urlopen(address, timeout=_ASK_S) as answer:
            if servers.API_HEADER in answer.headers:
                return known_classes(json.load(answer).get("capture"))
    except (OSError, ValueError, AttributeError):  # away, or it wants a password
        pass
    return servers.allowed_captures(uri)


def check_clock(shown: str, date: str | None, now_s: float) -> list[Finding]:
    """Do this machine's clock and the server's agree?

    Args:
        shown: The server's address.
        date: What its answer says, to the second; None where it does not.
        now_s: The time here, seconds since 1970.
    """
    try:
        skew_s = now_s - parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        return []
    if abs(skew_s) <= MAX_SKEW_S:
        return [Finding("clock", True, f"agrees with {shown}")]
    way = "ahead of" if skew_s > 0 else "behind"
    return [
        Finding(
            "clock",
            False,
            f"{abs(skew_s):,.0f} s {way} {shown}",
            "Set the clocks (NTP): points carry the time of the machine that logs them.",
        )
    ]
