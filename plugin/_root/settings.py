"""Every environment variable the package reads, each as a ``Setting``.

A setting is read when it is used, never at import, so that a test or a notebook can change it.
``tests/docs/test_settings.py`` compares this list with docs/configuration.md and looks for other
places that touch ``os.environ``.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from mlflow_weir.capture_policy import CLASSES, parse_classes
from mlflow_weir.errors import ConfigError
from mlflow_weir.policy_words import (
    ArchiveWords,
    RetentionWords,
    archive_words,
    retention_policies,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One environment variable: its name, default, parser and meaning; a secret is not shown."""

    name: str
    default: T
    parse: Callable[[str], T]
    meaning: str
    is_secret: bool = False

    def get(self) -> T:
        """Return the value now in the environment.

        Raises:
            ConfigError: The variable is set to something ``parse`` does not accept.
        """
        raw = os.environ.get(self.name)
        if raw is None or raw == "":
            return self.default
        try:
            return self.parse(raw)
        except ValueError as exc:
            raise ConfigError(f"{self.name}={raw!r}: {exc}", hint=self.meaning) from None


def child_environment(**overrides: str) -> dict[str, str]:
    """Return the environment for a child process: ours, with ``overrides`` on top."""
    return {**os.environ, **overrides}


def pick_environment(names: Collection[str], prefixes: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the variables that are set, of these names or beginning with one of ``prefixes``."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in names or name.startswith(prefixes)
    }


def adopt_environment(variables: Mapping[str, str]) -> None:
    """Take over variables; only for a child of another process, a command, and a server's own."""
    os.environ.update(variables)


def foreign(name: str) -> str | None:
    """Return a variable that is not ours (MLflow's own), None where it is unset or empty."""
    return os.environ.get(name) or None


def foreign_presence(name: str) -> Callable[[], bool]:
    """Return what says whether a variable that is not ours is there, now, in 0.1 µs.

    ``os.environ`` raises and catches an exception to say that one is not: 1.0 µs. What it keeps
    inside itself is asked instead, where it has that.
    """
    environment = os.environ
    variables = getattr(environment, "_data", environment)
    key: Any = name if variables is environment else environment.encodekey(name)

    def is_there() -> bool:
        return key in variables if os.environ is environment else name in os.environ

    return is_there


def switch(text: str) -> bool:
    """Parse on/off, 1/0, true/false, yes/no."""
    lowered = text.strip().lower()
    if lowered in {"1", "on", "true", "yes"}:
        return True
    if lowered in {"0", "off", "false", "no"}:
        return False
    raise ValueError("expected on or off")


def seconds(text: str) -> float:
    """Parse a duration between 0 (exclusive) and a day."""
    value = float(text)
    if not 0 < value < 86_400:
        raise ValueError("expected seconds, more than 0 and less than 86400")
    return value


def wait(text: str) -> float:
    """Parse a time to wait, less than a day; 0 waits for nothing."""
    value = float(text)
    if not 0 <= value < 86_400:
        raise ValueError("expected seconds, 0 or more and less than 86400")
    return value


def sampling_seconds(text: str) -> float:
    """Parse a duration between half a second and a day."""
    value = float(text)
    if not 0.5 <= value < 86_400:
        raise ValueError("expected seconds between 0.5 and 86400")
    return value


def days(text: str) -> float:
    """Parse a number of days, more than 0 and at most ten years."""
    value = float(text)
    if not 0 < value <= 3_653:
        raise ValueError("expected days, more than 0 and at most 3653")
    return value


def days_or_never(text: str) -> float:
    """Parse a number of days, or ``never``, which is infinity."""
    return float("inf") if text.strip().lower() == "never" else days(text)


def hours(text: str) -> float:
    """Parse a number of hours, more than 0 and at most a year."""
    value = float(text)
    if not 0 < value <= 8_784:
        raise ValueError("expected hours, more than 0 and at most 8784")
    return value


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of one of a few words."""

    def parse(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text.strip().lower()

    return parse


def patterns(text: str) -> tuple[str, ...]:
    """Parse regular expressions, one a line."""
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    for line in found:
        try:
            is_everywhere = re.compile(line).search("") is not None
        except re.error as exc:
            raise ValueError(f"{line!r} is not a regular expression: {exc}") from None
        if is_everywhere:
            raise ValueError(f"{line!r} matches nothing at all, and so everywhere")
    return found


def origins(text: str) -> tuple[str, ...]:
    """Parse origins of web sites, such as ``https://wiki.example.com``, with spaces between."""
    found = tuple(text.split())
    for one in found:
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", one):
            raise ValueError(f"{one!r} is no origin: expected https://HOST or https://HOST:PORT")
    return found


def split_paths(text: str) -> list[str]:
    """Return paths or patterns that stand one a line or separated by ``:``."""
    return [one.strip() for one in re.split(r"[\n:]", text) if one.strip()]


_UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}


def size_bytes(text: str) -> int:
    """Parse a size: whole bytes, or a whole number of KiB, MiB, GiB or TiB."""
    number = text.strip().rstrip("KMGTibkmgtB")
    unit = text.strip()[len(number) :].lower()
    if not (number.strip().isascii() and number.strip().isdigit()) or unit not in _UNITS:
        raise ValueError("expected a size such as 500000, 64MiB or 2GiB")
    value = int(number) * _UNITS[unit]
    if not 0 < value < 1 << 60:
        raise ValueError("expected at least 1 byte and less than 1 EiB")
    return value


def state_home() -> Path | None:
    """Return the folder for programs' state, as the XDG directories say; None without a home."""
    named = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(named):
        return Path(named)
    home = os.path.expanduser("~")
    return Path(home, ".local", "state") if os.path.isabs(home) and home != "/" else None


_HOST = re.compile(r"[a-z0-9_.:-]+(/\d{1,3})?\Z")


def hosts(text: str) -> tuple[str, ...]:
    """Parse names, addresses and networks of hosts, separated by commas or white space."""
    found = tuple(one for one in re.split(r"[\s,]+", text.lower()) if one)
    for one in found:
        if not _HOST.match(one):
            raise ValueError(f"{one!r} is no host's name, address or network")
        if "/" in one:
            ipaddress.ip_network(one)
    return found


AGENT_IDLE_SECONDS = Setting(
    "WEIR_AGENT_IDLE_SECONDS",
    60.0,
    seconds,
    "Seconds without a living process or anything to deliver after which the agent ends.",
)
ALERT_HOSTS = Setting[tuple[str, ...]](
    "WEIR_ALERT_HOSTS",
    (),
    hosts,
    "On a server: hosts that alerts may be sent to though they are not public: names, addresses "
    "and networks such as `10.1.0.0/16`, separated by commas.",
)
ARCHIVE = Setting[ArchiveWords | None](
    "WEIR_ARCHIVE",
    None,
    archive_words,
    "On a server: moves the history of ended runs away on a schedule; what `weir db archive` is "
    "told, such as `--older-than 30d`.",
)
CAPTURE = Setting(
    "WEIR_CAPTURE",
    True,
    switch,
    "off captures nothing but what is logged; the master switch of all `WEIR_CAPTURE_…`.",
)
CAPTURE_CONSOLE = Setting(
    "WEIR_CAPTURE_CONSOLE",
    "auto",
    one_of("auto", "wrap", "off"),
    "off keeps what a run prints uncaptured; wrap captures `sys.stdout` and `sys.stderr` alone, "
    "without what subprocesses and C code print.",
)
CAPTURE_CONSOLE_MAX_BYTES = Setting(
    "WEIR_CAPTURE_CONSOLE_MAX_BYTES",
    16 << 20,
    size_bytes,
    "Most that is kept of what a run prints, half from its beginning and half from its end.",
)
CAPTURE_ENVIRONMENT = Setting(
    "WEIR_CAPTURE_ENVIRONMENT",
    True,
    switch,
    "off keeps command line, Python, packages and machine of a run uncaptured.",
)
CAPTURE_GIT = Setting(
    "WEIR_CAPTURE_GIT",
    True,
    switch,
    "off keeps commit, branch, remote and patch of a run uncaptured.",
)
CAPTURE_GRADIENTS = Setting(
    "WEIR_CAPTURE_GRADIENTS",
    True,
    switch,
    "off lets `mlflow_weir.watch` log nothing.",
)
CAPTURE_HARDWARE = Setting(
    "WEIR_CAPTURE_HARDWARE",
    True,
    switch,
    "off samples neither GPUs nor machine nor processes, and keeps what they are uncaptured.",
)
CAPTURE_NOTEBOOK = Setting(
    "WEIR_CAPTURE_NOTEBOOK",
    True,
    switch,
    "off keeps the cells that a notebook has run uncaptured.",
)
CAPTURE_UNTRACKED = Setting(
    "WEIR_CAPTURE_UNTRACKED",
    False,
    switch,
    "on keeps what is in files that git does not know and does not ignore, besides their names.",
)
DISABLE = Setting(
    "WEIR_DISABLE",
    False,
    switch,
    "1 keeps Weir out: its URIs are opened by MLflow's own stores, which do not see its history.",
)
CLIENT = Setting(
    "WEIR_CLIENT",
    "auto",
    one_of("auto", "on", "off"),
    "off makes log calls go straight to the store; on keeps the journal in front of a stock "
    "MLflow server too.",
)
EXIT_WAIT_SECONDS = Setting[float | None](
    "WEIR_EXIT_WAIT_SECONDS",
    None,
    wait,
    "Longest time the end of a process waits for delivery, instead of 60 s (10 s while the store "
    "does not answer, 300 s where a container ends with it); 0 waits for nothing.",
)
COLD_STORE = Setting(
    "WEIR_COLD_STORE",
    "",
    str,
    "Where `weir db archive` moves chunks: an absolute folder or `s3://bucket/prefix`.",
)
FILES = Setting(
    "WEIR_FILES",
    "",
    str,
    "Patterns of files, relative to the working folder, whose new versions become artifacts of "
    "the run while it goes on: separated by `:` or one a line, `**` for any folders.",
)
FILES_MAX_BYTES = Setting(
    "WEIR_FILES_MAX_BYTES",
    1 << 30,
    size_bytes,
    "Largest file that is followed.",
)
GIT_REPOSITORIES = Setting(
    "WEIR_GIT_REPOSITORIES",
    "",
    str,
    "Folders of further git repositories whose state is captured, separated by `:` or one a line.",
)
HARDWARE_GPUS = Setting(
    "WEIR_HARDWARE_GPUS",
    "visible",
    one_of("visible", "all"),
    "all samples also GPUs that the training may not see (`CUDA_VISIBLE_DEVICES`).",
)
HARDWARE_INTERVAL_SECONDS = Setting(
    "WEIR_HARDWARE_INTERVAL_SECONDS",
    10.0,
    sampling_seconds,
    "Seconds between two samples of GPUs, machine and processes, 0.5 at least.",
)
HEARTBEAT_TIMEOUT_SECONDS = Setting(
    "WEIR_HEARTBEAT_TIMEOUT_SECONDS",
    300.0,
    seconds,
    "Silence after which a server marks a run as failed whose process sent heartbeats.",
)
HOME = Setting(
    "WEIR_HOME", "", str, "Folder that `weir:` keeps its files in, instead of the current one."
)
JOURNAL_SYNC_SECONDS = Setting(
    "WEIR_JOURNAL_SYNC_SECONDS",
    0.2,
    seconds,
    "Longest time a record waits in the page cache before it is synced to disk.",
)
LOG_FORMAT = Setting(
    "WEIR_LOG_FORMAT",
    "text",
    one_of("text", "json"),
    "On a server: json writes each line of its log as a JSON object, with secrets taken out.",
)
MAINTENANCE_HOURS = Setting(
    "WEIR_MAINTENANCE_HOURS",
    24.0,
    hours,
    "On a server: hours from the end of one round of WEIR_RETENTION or WEIR_ARCHIVE to the next.",
)
METRICS_TOKEN = Setting(
    "WEIR_METRICS_TOKEN",
    "",
    str,
    "On a server: the token that Prometheus sends to read `/weir/metrics`; none keeps it away.",
    is_secret=True,
)
PUBLIC_LINKS = Setting(
    "WEIR_PUBLIC_LINKS",
    "on",
    one_of("off", "authenticated", "on"),
    "On a server: off lets no shared link open, authenticated only for whoever MLflow lets in.",
)
PUBLIC_LINKS_EMBED = Setting[tuple[str, ...]](
    "WEIR_PUBLIC_LINKS_EMBED",
    (),
    origins,
    "On a server: web sites whose pages may show shared links in a frame, by their origins.",
)
PUBLIC_LINKS_MAX_DAYS = Setting[float | None](
    "WEIR_PUBLIC_LINKS_MAX_DAYS",
    None,
    days_or_never,
    "On a server: days after which every shared link ends, whatever it was made with; never lets "
    "links be made without an end. Unset, a link is made for a year at most.",
)
REDACT = Setting[tuple[str, ...]](
    "WEIR_REDACT",
    (),
    patterns,
    "Further patterns to take out of what is captured: regular expressions, one a line.",
)
RETENTION = Setting[tuple[RetentionWords, ...]](
    "WEIR_RETENTION",
    (),
    retention_policies,
    "On a server: lets runs go on a schedule; what `weir db retain` is told, such as "
    "`--older-than 90d --status FAILED`, one policy a line.",
)
NODE = Setting(
    "WEIR_NODE",
    "",
    str,
    "Name of this machine among those of one job, such as `$SLURM_NODEID`; its host name when "
    "unset.",
)
SERVER_CAPTURE = Setting(
    "WEIR_SERVER_CAPTURE",
    CLASSES,
    parse_classes,
    "On a server: which captures its trainings may use: on, off, or some of console, environment, "
    "files, git, gradients, hardware, notebook.",
)
SMTP = Setting(
    "WEIR_SMTP",
    "",
    str,
    "On a server: the mail server that alerts go out by, as `host` or `host:port`.",
)
SMTP_FROM = Setting(
    "WEIR_SMTP_FROM",
    "",
    str,
    "On a server: the address that alerts by e-mail come from.",
)
SMTP_PASSWORD = Setting(
    "WEIR_SMTP_PASSWORD",
    "",
    str,
    "On a server: password of WEIR_SMTP_USER; it is shown nowhere.",
    is_secret=True,
)
SMTP_TLS = Setting(
    "WEIR_SMTP_TLS",
    "starttls",
    one_of("starttls", "tls", "off"),
    "On a server: how the connection to the mail server is encrypted; off sends no password.",
)
SMTP_USER = Setting(
    "WEIR_SMTP_USER",
    "",
    str,
    "On a server: whom to log in as at the mail server; nobody when unset.",
)
SPOOL = Setting(
    "WEIR_SPOOL",
    "",
    str,
    "Folder for what is not delivered yet; on a network file system the default is used instead.",
)
SPOOL_MAX_BYTES = Setting(
    "WEIR_SPOOL_MAX_BYTES",
    32 << 30,
    size_bytes,
    "Most that the spool may hold, such as `2GiB`; beyond it records wait in memory.",
)
SPOOL_MEMORY_BYTES = Setting(
    "WEIR_SPOOL_MEMORY_BYTES",
    64 << 20,
    size_bytes,
    "Memory for records that cannot be written; beyond it they are dropped and counted.",
)
STOCK_SAMPLING = Setting(
    "WEIR_STOCK_SAMPLING",
    False,
    switch,
    "1 makes MLflow's bulk-interval call choose the points stock MLflow would choose.",
)
STOP = Setting(
    "WEIR_STOP",
    True,
    switch,
    "off in a training: its process is not interrupted by *Stop run* on a server.",
)
UI = Setting(
    "WEIR_UI",
    True,
    switch,
    "off keeps Weir's routes and pages out of `mlflow server`.",
)
WRITE_DEADLINE_SECONDS = Setting(
    "WEIR_WRITE_DEADLINE_SECONDS",
    60.0,
    seconds,
    "Longest time a write waits for a locked database before it fails.",
)

ALL: tuple[Setting[Any], ...] = (
    AGENT_IDLE_SECONDS,
    ALERT_HOSTS,
    ARCHIVE,
    CAPTURE,
    CAPTURE_CONSOLE,
    CAPTURE_CONSOLE_MAX_BYTES,
    CAPTURE_ENVIRONMENT,
    CAPTURE_GIT,
    CAPTURE_GRADIENTS,
    CAPTURE_HARDWARE,
    CAPTURE_NOTEBOOK,
    CAPTURE_UNTRACKED,
    CLIENT,
    COLD_STORE,
    DISABLE,
    EXIT_WAIT_SECONDS,
    FILES,
    FILES_MAX_BYTES,
    GIT_REPOSITORIES,
    HARDWARE_GPUS,
    HARDWARE_INTERVAL_SECONDS,
    HEARTBEAT_TIMEOUT_SECONDS,
    HOME,
    JOURNAL_SYNC_SECONDS,
    LOG_FORMAT,
    MAINTENANCE_HOURS,
    METRICS_TOKEN,
    NODE,
    PUBLIC_LINKS,
    PUBLIC_LINKS_EMBED,
    PUBLIC_LINKS_MAX_DAYS,
    REDACT,
    RETENTION,
    SERVER_CAPTURE,
    SMTP,
    SMTP_FROM,
    SMTP_PASSWORD,
    SMTP_TLS,
    SMTP_USER,
    SPOOL,
    SPOOL_MAX_BYTES,
    SPOOL_MEMORY_BYTES,
    STOCK_SAMPLING,
    STOP,
    UI,
    WRITE_DEADLINE_SECONDS,
)
