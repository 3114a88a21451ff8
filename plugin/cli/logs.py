"""``weir logs``: what a run printed, from the store and from what of it waits on this machine."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.plugin.cli.stores import is_server, store_at
from mlflow_weir.plugin.journal.files import list_waiting
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool
from mlflow_weir.plugin.uri import strip
from mlflow_weir.store.console.document import FOLDER, NAME, missing, n_missing
from mlflow_weir.store.console.lines import STREAMS, Line, lines_of, without_styles
from mlflow_weir.store.delivery.records import Operation, RecordError, decode

_POLL_S = 0.5
_STATUS_S = 2.0
_PAGE = 10_000
_TIMEOUT_S = 30
_TEXT_S = 20.0
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")
_CONSOLE = b'O["console"'
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\\[[0-9;:]*m)")
_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})

Lines = dict[tuple[str, int], Line]
"""Lines by their source and number."""


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--uri", default="weir:", envvar="MLFLOW_TRACKING_URI", help="Store that has the run."
)
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print each line as a JSON object.")
def logs(run_id: str, uri: str, follow: bool, as_json: bool) -> None:
    """Show what RUN printed; with --follow also what it prints from now on.

    RUN is the run's id.
    """
    if not _RUN_ID.match(run_id):
        raise ConfigError(f"{run_id!r:.100} is not a run's id", hint="32 hexadecimal digits")
    show = _Output(as_json)
    place: _Database | _Server = _Server(uri) if is_server(uri) else _Database(uri)
    n_ended = 0
    while follow and n_ended < 2:  # the end may be known a moment before the last lines are
        n_ended += _has_ended(run_id, uri)
        give_up_s = time.monotonic() + _STATUS_S
        while n_ended < 2 and time.monotonic() < give_up_s:
            show.lines(_found(place, run_id), is_last=False, past_gaps=not place.is_stock)
            time.sleep(_POLL_S)
    found = _found(place, run_id)
    if place.is_stock or not found:
        text = _wait_for_text(run_id, uri) if follow else _text(run_id, uri)
        if text is not None:
            show.rest_of(text)
            return
    show.lines(found, is_last=True)


class _Output:
    """Prints each line once; one that may still move when it has come to rest."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._printed: dict[str, int] = {}  # by source, the number after the last
        self._last: dict[str, Line] = {}

    def lines(self, found: Lines, *, is_last: bool, past_gaps: bool = True) -> None:
        for source in dict.fromkeys(source for source, _ in sorted(found)):
            lines = [found[key] for key in sorted(found) if key[0] == source]
            at = self._printed.get(source, 0)
            new = [line for line in lines if line.n >= at]
            if not past_gaps:
                new = [line for line, n in zip(new, itertools.count(at)) if line.n == n]
            if new and not is_last and self._last.get(source) != new[-1]:
                self._last[source] = new.pop()
            for line in new:
                if line.n > at and not self._as_json:
                    click.echo(missing(line.n - at), nl=False)
                at = line.n + 1
                self._say(source, line)
            self._printed[source] = at

    def rest_of(self, text: str) -> None:
        """Print what of a run's text is not printed yet."""
        source = next(iter(self._printed)) if len(self._printed) == 1 else ""
        at, n = self._printed.get(source, 0), 0
        for line in text.splitlines():
            after = n + (n_missing(line) or 1)
            if after > at:
                self._say(source, Line(n, 0, 0, line))
            n = after

    def _say(self, source: str, line: Line) -> None:
        if self._as_json:
            click.echo(json.dumps({"source": source, **line.as_json()}))
            return
        text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", line.text)
        if "\x1b" in text:
            text = f"{text}\x1b[0m" if sys.stdout.isatty() else without_styles(text)
        click.echo(text, color=True)
        sys.stdout.flush()


class _Database:
    """A tracking database."""

    is_stock = False

    def __init__(self, uri: str) -> None:
        from mlflow_weir.store.delivery.connection import open_engine

        self._engine = open_engine(strip(store_at(uri).database_uri))
        self._seqs: dict[str, int] = {}
        self._found: Lines = {}

    def read(self, run_id: str) -> Lines:
        import sqlalchemy as sa

        from mlflow_weir.store.console.reading import list_sources, read_since
        from mlflow_weir.store.delivery.connection import reading

        try:
            with reading(self._engine) as connection:
                for one in list_sources(connection, run_id):
                    if self._seqs.get(one.source, -1) < one.seq:
                        for line in read_since(
                            connection, run_id, one, self._seqs.get(one.source, 0)
                        ):
                            self._found[one.source, line.n] = line
                        self._seqs[one.source] = one.seq
        except sa.exc.DatabaseError:  # no such table: a stock database
            return {}
        except WeirError:
            return dict(self._found)  # away: what this machine has is shown all the same
        return dict(self._found)


class _Server:
    """A tracking server; a stock one has no place for lines."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.is_stock = False
        self._seqs: dict[str, int] = {}
        self._n_lines: dict[str, int] = {}
        self._found: Lines = {}

    def read(self, run_id: str) -> Lines:
        said = self._ask({"run_id": run_id, "n": 1})
        for one in (said or {}).get("sources", []):
            source = str(one["source"])
            first = self._seqs.get(source)
            asked: dict[str, Any] = {"run_id": run_id, "source": source, "n": _PAGE}
            n_lines, known = int(one["n_lines"]), self._n_lines.get(source, 0)
            self._n_lines[source] = n_lines
            # "since" brings the newest of a page; what is before them is asked for by number.
            by_number = first is None or n_lines - known > _PAGE // 2
            starts: list[int | None] = [*range(known, n_lines, _PAGE)] if by_number else []
            for start in [*starts, *([] if first is None else [None])]:
                more = {"since": first} if start is None else {"first": start}
                found = self._ask({**asked, **more}) or {}
                for line in found.get("lines", []):
                    stream = STREAMS.index(line["stream"])
                    self._found[source, line["n"]] = Line(
                        line["n"], line["at_ms"], stream, line["text"]
                    )
                self._seqs[source] = int(found.get("seq", self._seqs.get(source, 0)))
        return dict(self._found)

    def _ask(self, body: dict[str, Any]) -> Any:
        from mlflow.exceptions import MlflowException
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        try:
            answer = http_request(
                get_default_host_creds(self._uri),
                "/ajax-api/3.0/weir/console",
                "POST",
                json=body,
                timeout=_TIMEOUT_S,
                max_retries=1,
                raise_on_status=False,
            )
            self.is_stock = answer.status_code in {404, 405}
            return answer.json() if answer.status_code == 200 else None
        except (MlflowException, OSError, ValueError):
            return None


def _found(place: _Database | _Server, run_id: str) -> Lines:
    """Return the lines that there are, those that are delivered meanwhile among them."""
    waiting = _waiting(run_id)  # before the store: what moves is in both, not in neither
    return place.read(run_id) | waiting


def _journals() -> list[JournalFolder]:
    try:
        spool = Spool.look()
    except WeirError:
        return []
    return [] if spool is None else spool.journals()


def _waiting(run_id: str) -> Lines:
    """Return the lines that wait on this machine for delivery."""
    found: Lines = {}
    for folder in _journals():
        try:
            for fields in _records(folder):
                if fields.get("run_id") == run_id:
                    source = str(fields["source"])
                    for line in lines_of(fields["first"], fields["at_ms"], fields["lines"]):
                        found[source, line.n] = line
        except (WeirError, OSError, KeyError, TypeError, ValueError):
            continue  # delivered and removed meanwhile, or damaged
    return found


def _records(folder: JournalFolder) -> Iterator[dict[str, Any]]:
    reader = JournalReader(folder.path, folder.delivered().position)
    try:
        while (part := reader.read()).payloads:
            for payload in part.payloads:
                if payload.startswith(_CONSOLE):
                    try:
                        record = decode(payload)
                    except RecordError:
                        continue
                    if isinstance(record, Operation):
                        yield record.fields
    finally:
        reader.close()


def _wait_for_text(run_id: str, uri: str) -> str | None:
    """Return the text of a run that has just ended, for which its process may need a moment."""
    give_up_s = time.monotonic() + _TEXT_S
    while True:
        text = _text(run_id, uri)
        if text is not None or time.monotonic() > give_up_s or not _journals():
            return text
        time.sleep(_POLL_S)


def _text(run_id: str, uri: str) -> str | None:
    """Return what a run printed as its artifact, which is all that a stock server has."""
    waiting = _waiting_text(run_id)
    if waiting is not None:
        return waiting
    settings.adopt_environment({"WEIR_CLIENT": "off"})
    from mlflow import MlflowClient
    from mlflow.artifacts import load_text
    from mlflow.exceptions import MlflowException

    try:
        root = MlflowClient(uri).get_run(run_id).info.artifact_uri
        return str(load_text(f"{root}/{FOLDER}/{NAME}"))
    except (MlflowException, OSError):
        return None


def _waiting_text(run_id: str) -> str | None:
    """Return the artifact while it waits on this machine for its upload."""
    for folder in _journals():
        for one in list_waiting(folder.files):
            try:
                upload = one.read()
                if (upload.artifact_path, upload.name) == (FOLDER, NAME) and run_id in re.split(
                    "[:/]", upload.artifact_uri
                ):
                    return (one.data / NAME).read_text("utf-8", "replace")
            except (WeirError, OSError):
                continue  # uploaded and removed meanwhile
    return None


def _has_ended(run_id: str, uri: str) -> bool:
    settings.adopt_environment({"WEIR_CLIENT": "off"})  # what it waits for is the store's to say
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient(uri).get_run(run_id).info.status in _ENDED
    except MlflowException as exc:
        raise ConfigError(f"run {run_id}: {exc.message}") from exc
