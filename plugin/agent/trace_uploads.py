"""Delivery of traces to MLflow's own store, in the process that uploads (``uploads.py``).

Spans and traces may arrive again, and do after a crash: a store that keeps spans writes a span, by
its id, in place of itself, and a trace likewise. Spans of a batch go together, before the traces
that they belong to, as MLflow sends them itself, and what links traces to runs comes last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.files import Upload, Waiting

_ID_ATTRIBUTES = ("mlflow.experimentId",)
_ID_METADATA = ("mlflow.sourceRun", "mlflow.modelId")


class NoSpans(Exception):
    """The server did not say which version it is, or keeps no spans."""


class TraceSender:
    """Sends what waits of traces to one store."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient
        from mlflow.tracing.client import TracingClient

        self._client, self._linker = TracingClient(uri), MlflowClient(uri)

    def send(
        self,
        batch: Mapping[str, tuple[Waiting, Upload]],
        aliases: Mapping[str, str],
        is_away: Callable[[BaseException], bool],
    ) -> tuple[list[str], dict[str, BaseException]]:
        """Send a batch, in the order of the calls.

        Args:
            batch: By name.
            aliases: The ids that the store gave what was begun while it was away.
            is_away: Says whether an error has nothing to do with what was sent.

        Returns:
            The names of what arrived, and the errors of what did not. What comes after one that
            says that the store is away is in neither.
        """
        done: list[str] = []
        failed: dict[str, BaseException] = {}
        spans: dict[tuple[str, str], dict[str, list[Any]]] = {}
        infos: dict[str, Any] = {}
        links: dict[str, dict[str, Any]] = {}
        for name, (one, upload) in batch.items():
            try:
                document = _read(one, upload)
                if "info" in document:
                    infos[name] = _info_of(document["info"], aliases)
                elif "link" in document:
                    links[name] = document["link"]
                else:
                    location, resource, found = _spans_of(document, aliases)
                    spans.setdefault((location, resource), {})[name] = found
            except FileNotFoundError:
                continue  # sent by somebody else meanwhile
            except Exception as exc:  # noqa: BLE001 - told to whoever asked
                failed[name] = exc
        for (location, _), by_name in spans.items():
            try:
                self._log_spans(location, [one for found in by_name.values() for one in found])
                done += by_name
            except Exception as exc:  # noqa: BLE001
                if is_away(exc):
                    failed.update(dict.fromkeys(by_name, exc))
                    return done, failed
                self._log_alone(location, by_name, done, failed)
        for name, info in infos.items():
            try:
                self._client.start_trace(info)
                done.append(name)
            except Exception as exc:  # noqa: BLE001
                failed[name] = exc
                if is_away(exc):
                    return done, failed
        for name, link in links.items():  # after the traces
            run_id = str(link["run_id"])
            try:
                self._linker.link_traces_to_run(link["trace_ids"], aliases.get(run_id, run_id))
                done.append(name)
            except Exception as exc:  # noqa: BLE001
                failed[name] = exc
                if is_away(exc):
                    break
        return done, failed

    def _log_alone(
        self,
        location: str,
        by_name: dict[str, list[Any]],
        done: list[str],
        failed: dict[str, BaseException],
    ) -> None:
        """Find out which of them the store does not take."""
        for name, found in by_name.items():
            try:
                self._log_spans(location, found)
                done.append(name)
            except Exception as exc:  # noqa: BLE001
                failed[name] = exc

    def _log_spans(self, location: str, spans: list[Any]) -> None:
        from mlflow_weir.plugin import mlflow_private

        try:
            self._client.log_spans(location, spans)
        except NotImplementedError as exc:
            # What a RestStore says of a server that is away, too, and remembers.
            mlflow_private.forget_server_versions()
            raise NoSpans(str(exc) or "the store keeps no spans") from exc


def _read(one: Waiting, upload: Upload) -> dict[str, Any]:
    text = (one.data / upload.name).read_bytes()
    if len(text) != upload.size:
        raise JournalError("a trace is not as it was written: did the machine crash?")
    document = json.loads(text)
    if not isinstance(document, dict):
        raise JournalError("a trace is not what this version writes")
    return document


def _info_of(fields: dict[str, Any], aliases: Mapping[str, str]) -> Any:
    from mlflow.entities.trace_info import TraceInfo

    info = TraceInfo.from_dict(fields)
    if info.experiment_id is not None:
        info.experiment_id = aliases.get(info.experiment_id, info.experiment_id)
    for key in _ID_METADATA:
        found = info.trace_metadata.get(key)
        if found is not None:
            info.trace_metadata[key] = aliases.get(found, found)
    return info


def _spans_of(document: dict[str, Any], aliases: Mapping[str, str]) -> tuple[str, str, list[Any]]:
    """Return where spans belong, what they have in common, and the spans."""
    from mlflow_weir.plugin import mlflow_private

    for fields in document["spans"]:
        for key in _ID_ATTRIBUTES:
            found = fields["attributes"].get(key)
            if isinstance(found, str) and found.strip('"') in aliases:
                fields["attributes"][key] = json.dumps(aliases[found.strip('"')])
    resource = document.get("resource") or {}
    spans = [mlflow_private.span_of(fields, resource) for fields in document["spans"]]
    location = str(document["location"])
    return aliases.get(location, location), json.dumps(resource, sort_keys=True), spans
