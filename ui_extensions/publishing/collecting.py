"""Reads what a preview link shows into pieces: files that the page loads when it needs them.

Each piece is a classic script that hands over its name and its bytes, deflated and as base64: no
text of anybody's is anywhere in it as it stands, and a browser loads it from a folder too. A
piece's name is the digest of what it holds, never a word of a run's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.sharing import report_document, shared_reports
from mlflow_weir.ui_extensions.publishing import series_pieces
from mlflow_weir.ui_extensions.publishing.asking import Preview, Refused

Say = Callable[[str], None]

MAX_BUCKETS = 20_000_000
"""Of all lines along one axis; beyond, each line gets fewer."""
MAX_CELLS = 4_000_000
MAX_FILE_BYTES = 16 << 20
MAX_BYTES = 2 << 30
_BUCKETS_OF_KEY = 200_000
_BUCKETS_A_PIECE = 100_000
_FEWEST_BUCKETS = 128
_FEW_RUNS = 20
_MOST_OF_FEW, _MOST_OF_MANY = 10_000, 2_000
_ROWS = 1_000
_COLUMNS = 200
_COMPARED = 50
_LINES = 5_000
_MAX_FOLDERS = 300


_NO_COLUMNS: Mapping[str, Any] = {"params": [], "tags": [], "metrics": []}
_NO_KEYS: Mapping[str, Any] = {"keys": [], "n_runs": 0, "is_partial": False}


class Pieces:
    """The files of a page set, as they are made."""

    def __init__(self, folder: Path) -> None:
        """Take an empty folder, below which ``data/`` is written."""
        self._data = folder / "data"
        self._data.mkdir()
        self.n_bytes = 0

    def add(self, content: bytes) -> str:
        """Write a piece, and return its name.

        Raises:
            ConfigError: It is more than is published.
        """
        name = hashlib.sha256(content).hexdigest()[:32]
        path = self._data / f"{name}.js"
        if not path.exists():
            text = base64.b64encode(zlib.compress(content, 6)).decode()
            path.write_text(f'weirData("{name}","{text}")\n', encoding="ascii")
            self.n_bytes += len(text)
            if self.n_bytes > MAX_BYTES:
                raise ConfigError(
                    f"more than {MAX_BYTES >> 30} GiB to publish", hint="show fewer runs or fields"
                )
        return name

    def add_json(self, content: Any) -> str:
        """Write a piece that is JSON, and return its name."""
        return self.add(json.dumps(content, separators=(",", ":"), sort_keys=True).encode())


class Summary:
    """What was read, for whoever publishes.

    Attributes:
        start: Name of the piece that names all others.
        as_of_ms: What moment is shown.
        shown: What is shown, as the link says.
        n_runs: Runs.
        n_points: Points of metrics.
        n_buckets: Buckets that stand for them, along steps.
    """

    def __init__(self) -> None:
        """Count from nothing."""
        self.start = ""
        self.as_of_ms = 0
        self.shown: Mapping[str, Any] = {}
        self.n_runs = 0
        self.n_points = 0
        self.n_buckets = 0


def collect(link: Preview, pieces: Pieces, say: Say) -> Summary:
    """Read all that a link shows.

    Args:
        link: That shows it.
        pieces: What takes it.
        say: Told how far it is.

    Raises:
        Refused: The server does not answer with it.
        ConfigError: It is more than can be published.
    """
    summary = Summary()
    share = link.ask_json("share", {})
    experiments = share["experiments"]
    columns, keys, standing = dict(_NO_COLUMNS), dict(_NO_KEYS), None
    names: list[str] = []
    rows: list[dict[str, Any]] = []
    if experiments:  # a report without a panel has none
        columns = link.ask_json("columns", {"experiments": experiments})
        keys = link.ask_json("keys", {"experiments": experiments})
        names, rows, standing = _rows(link, experiments, columns)
    report = share["report"]
    if not rows and report is None:
        raise ConfigError("there are no such runs to publish")
    run_ids = [row["id"] for row in rows]
    summary.n_runs, summary.shown = len(rows), share["shown"]
    summary.as_of_ms = share["as_of_ms"]
    runs = {}
    for at in range(0, len(run_ids), _COMPARED):
        some = run_ids[at : at + _COMPARED]
        compared = dict(_compared(link, experiments, some))
        for run_id in some:
            content = _run(link, pieces, run_id, share["shown"])
            runs[run_id] = pieces.add_json({**content, "compared": compared[run_id]})
        say(f"{at + len(some):,} of {len(run_ids):,} runs")
    all_keys = [one["key"] for one in keys["keys"]]
    series = _series(link, pieces, run_ids, all_keys, summary, say, None)
    of_report = {}
    if report is not None:
        of_report = _of_report(link, pieces, share, all_keys, columns, rows)
    summary.start = pieces.add_json(
        {
            "share": {**share, "view": _view(share["view"])},
            "columns": columns,
            "keys": keys,
            "standing": standing,
            "names": names,
            "rows": rows,
            "runs": runs,
            **series,
            **of_report,
        }
    )
    return summary


def _of_report(
    link: Preview,
    pieces: Pieces,
    share: Mapping[str, Any],
    all_keys: Sequence[str],
    columns: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return each panel's runs, the pictures, and all as of earlier moments of panels."""
    report = share["report"]
    panels: dict[str, list[str]] = {}
    moments: dict[int, _Moment] = {}
    for number, panel in enumerate(report_document.panels(report), start=1):
        question = {"experiments": [str(number)], "columns": [], "limit": _ROWS}
        run_ids = [row["id"] for row in link.ask_json("runs", question)["rows"]]
        panels[str(number)] = run_ids
        at_ms = panel["runs"]["at"]
        if at_ms < share["as_of_ms"]:
            of_moment = moments.setdefault(at_ms, _Moment([], {}, set(), {}))
            of_moment.panels.append(str(number))
            if panel["kind"] == "charts":
                of_moment.drawn.update(dict.fromkeys(run_ids))
                of_moment.keys.update(shared_reports.fields_of(panel, "metrics", all_keys))
            if panel["kind"] == "compare":
                of_moment.compared.update(dict.fromkeys(run_ids))
    images = {}
    for image in sorted(report_document.images(report)):
        answer = link.ask("reports/image", {"image": image})
        images[image] = [pieces.add(answer.body), answer.content_type]
    last = {row["id"]: row for row in rows}
    earlier = []
    for at_ms, one in moments.items():
        keys = [key for key in all_keys if key in one.keys]
        drawn = list(one.drawn)
        curves = _series(link, pieces, drawn, keys, Summary(), lambda words: None, at_ms)
        then = [
            row for row in _rows(link, one.panels, columns, at_ms)[1] if row != last[row["id"]]
        ]
        among = [row["id"] for row in then if row["id"] in one.compared]
        compared = {
            run_id: pieces.add_json(found)
            for run_id, found in _compared(link, one.panels, among, at_ms)
        }
        earlier.append({"at": at_ms, **curves, "rows": then, "compared": compared})
    return {"panels": panels, "images": images, "moments": earlier}


class _Moment(NamedTuple):
    """What panels show as of an earlier moment.

    Attributes:
        panels: What they call their experiments.
        drawn: Runs of the charts.
        keys: Metrics of the charts.
        compared: Runs that are side by side.
    """

    panels: list[str]
    drawn: dict[str, None]
    keys: set[str]
    compared: dict[str, None]


def _compared(
    link: Preview, experiments: Sequence[str], run_ids: Sequence[str], at_ms: int | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield runs with all that is shown of them side by side."""
    for at in range(0, len(run_ids), _COMPARED):
        question = {"experiments": experiments, "run_ids": run_ids[at : at + _COMPARED]}
        for one in link.ask_json("runs/compare", _as_of(question, at_ms))["runs"]:
            yield one["id"], one


def _as_of(question: Mapping[str, Any], at_ms: int | None) -> dict[str, Any]:
    return dict(question) if at_ms is None else {**question, "at": at_ms}


def _rows(
    link: Preview,
    experiments: Sequence[str],
    columns: Mapping[str, Any],
    at_ms: int | None = None,
) -> tuple[list[str], list[dict[str, Any]], Any]:
    """Return the names of all cells, the rows with all of them, and how the runs stand."""
    names = [
        *(f"metrics.{one['key']}:{how}" for one in columns["metrics"] for how in _HOW),
        *(f"params.{one['key']}" for one in columns["params"]),
        *(f"tags.{one['key']}" for one in columns["tags"]),
    ]
    rows: dict[str, dict[str, Any]] = {}
    standing: Any = None
    for at in range(0, max(1, len(names)), _COLUMNS):
        question = {
            "experiments": experiments,
            "columns": names[at : at + _COLUMNS],
            "limit": _ROWS,
        }
        answer = link.ask_json("runs", _as_of(question, at_ms))
        standing = answer["standing"]
        if len(names) * answer["total"] > MAX_CELLS:
            raise ConfigError(
                f"{len(names):,} values of {answer['total']:,} runs each are too many for a page",
                hint="show fewer metrics, params and tags",
            )
        for row in answer["rows"]:
            rows.setdefault(row["id"], {**row, "cells": []})["cells"] += row["cells"]
    return names, list(rows.values()), standing


_HOW = ("latest", "min", "max")


def _run(link: Preview, pieces: Pieces, run_id: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's page shows."""
    question = {"run_id": run_id}
    run = link.ask_json("run", question)
    if run["end_ms"] is not None:
        run["now_ms"] = run["end_ms"]  # or the next time would look like another one
    found: dict[str, Any] = {"run": run}
    if shown["code"] or shown["patch"] or shown["command"] or shown["host"]:
        found["code"] = link.ask_json("code", question)
    paths: list[str] = []
    if shown["media"]:
        found["media"] = link.ask_json("media", question)
        for series in found["media"]["series"]:
            for item in series["items"]:
                paths += [one for one in (item["path"], item["small"]) if one]
    if shown["files"]:
        found["folders"] = _folders(link, run_id)
        paths += [
            entry["path"]
            for folder in found["folders"].values()
            for entry in folder["entries"]
            if not entry["is_folder"]
        ]
    if paths:
        found["contents"] = {
            path: _content(link, pieces, run_id, path) for path in dict.fromkeys(paths)
        }
    if shown["console"]:
        found["console"] = _console(link, pieces, run_id)
    if shown["histograms"]:
        found["histograms"] = {
            kind: _histograms(link, pieces, run_id, kind) for kind in ("gradients", "parameters")
        }
    return found


def _folders(link: Preview, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    waiting = [""]
    while waiting and len(found) < _MAX_FOLDERS:
        path = waiting.pop(0)
        found[path] = link.ask_json("files", {"run_id": run_id, "path": path})
        waiting += [one["path"] for one in found[path]["entries"] if one["is_folder"]]
    return found


def _content(link: Preview, pieces: Pieces, run_id: str, path: str) -> tuple[str | None, str]:
    answer = link.ask("file", {"run_id": run_id, "path": path, "most": MAX_FILE_BYTES})
    return None if answer.is_cut else pieces.add(answer.body), answer.content_type


def _console(link: Preview, pieces: Pieces, run_id: str) -> dict[str, Any]:
    sources = link.ask_json("console", {"run_id": run_id, "n": 1})["sources"]
    lines: dict[str, list[tuple[int, str]]] = {}
    for source in sources:
        mine = lines.setdefault(source["source"], [])
        for first in range(0, source["n_lines"], _LINES):
            question = {
                "run_id": run_id,
                "source": source["source"],
                "first": first,
                "n": _LINES,
            }
            found = link.ask_json("console", question)["lines"]
            if found:
                mine.append((first, pieces.add_json(found)))
    return {"sources": sources, "lines": lines}


def _histograms(link: Preview, pieces: Pieces, run_id: str, kind: str) -> dict[str, Any]:
    norms = link.ask_json("histograms", {"run_id": run_id, "kind": kind})
    keys = {
        key: pieces.add_json(
            link.ask_json("histograms", {"run_id": run_id, "kind": kind, "key": key})
        )
        for key in norms["keys"]
    }
    return {"norms": norms, "keys": keys}


def _series(
    link: Preview,
    pieces: Pieces,
    run_ids: Sequence[str],
    keys: Sequence[str],
    summary: Summary,
    say: Say,
    at_ms: int | None,
) -> dict[str, Any]:
    """Return the runs of each chunk, of each metric its pieces, and when each run began.

    Args:
        link: That shows them.
        pieces: What takes them.
        run_ids: Of which runs.
        keys: Of which metrics.
        summary: What is counted.
        say: Told how far it is.
        at_ms: As of which moment; None for all that the link shows.
    """
    if not run_ids:
        return {"chunks": [], "series": {}, "first_ms": {}}
    n_buckets = _buckets(len(run_ids), len(keys))
    size = max(1, _BUCKETS_A_PIECE // n_buckets)
    chunks = [run_ids[at : at + size] for at in range(0, len(run_ids), size)]
    series: dict[str, Any] = {}
    first_ms: dict[str, int] = {}
    for done, key in enumerate(keys, start=1):
        mine: dict[str, list[tuple[str, int]]] = {"step": [], "relative": []}
        for place, chunk in enumerate(chunks):
            for axis, n in (("step", n_buckets), ("relative", max(1, n_buckets // 2))):
                header, columns = _part(link, chunk, key, axis, n, at_ms)
                if not columns["run"]:
                    continue
                mine[axis].append((pieces.add(series_pieces.pack(header, columns)), place))
                if axis == "step":
                    summary.n_points += header["n_points"]
                    summary.n_buckets += _n_buckets(header)
            if any(run_id not in first_ms for run_id in chunk):
                first_ms |= _beginnings(link, chunk, key, at_ms)
        series[key] = mine
        if done % 10 == 0 or done == len(keys):
            say(f"{done:,} of {len(keys):,} metrics")
    return {"chunks": chunks, "series": series, "first_ms": first_ms}


def _buckets(n_runs: int, n_keys: int) -> int:
    most = _MOST_OF_FEW if n_runs <= _FEW_RUNS else _MOST_OF_MANY
    found = min(most, _BUCKETS_OF_KEY // n_runs, MAX_BUCKETS // max(1, n_runs * n_keys))
    if found < 1:
        raise ConfigError(
            f"{n_keys:,} metrics of {n_runs:,} runs are too many for a page",
            hint="name those to show: --show metrics.KEY",
        )
    return max(_FEWEST_BUCKETS, found)


def _part(
    link: Preview, run_ids: Sequence[str], key: str, axis: str, n_buckets: int, at_ms: int | None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    question = {
        "runs": list(run_ids),
        "parts": [{"key": key}],
        "x": axis,
        "buckets": n_buckets,
        "want": ["mean", "count"],
    }
    try:
        answer = link.ask("series", _as_of(question, at_ms))
        ((header, columns),) = series_pieces.read_parts(answer.body)
    except ValueError as exc:
        raise Refused(f"a metric cannot be read: {exc}") from exc
    return header, columns


def _n_buckets(header: Mapping[str, Any]) -> int:
    sizes = {name: n for name, _, n in header["columns"]}
    return int(sizes["low"])


def _beginnings(
    link: Preview, run_ids: Sequence[str], key: str, at_ms: int | None
) -> dict[str, int]:
    """Return when the runs that have this metric began: the same last point by both clocks."""
    last: dict[str, dict[str, float]] = {}
    for axis in ("wall", "relative"):
        header, columns = _part(link, run_ids, key, axis, 1, at_ms)
        of = dict(zip(*_line_ends(header, columns), strict=True))
        last[axis] = {run_ids[place]: x for place, x in of.items()}
    return {
        run_id: round(at_ms - last["relative"][run_id]) for run_id, at_ms in last["wall"].items()
    }


def _line_ends(
    header: Mapping[str, Any], columns: Mapping[str, bytes]
) -> tuple[list[int], list[float]]:
    """Return of each line its run's place and the x of its last point."""
    import numpy as np

    runs = np.frombuffer(columns["run"], dtype="<u4").tolist()
    start = np.frombuffer(columns["start"], dtype="<u4")
    x = np.frombuffer(columns["x"], dtype="<f8")
    if "x" in header.get("shared", ()):
        return runs, [float(x[-1])] * len(runs)
    return runs, [float(x[end - 1]) for end in start[1:]]


def _view(view: Any) -> Any:
    """Return a view without what a page without a server does not do."""
    if not isinstance(view, dict):
        return view
    return {**view, "filter": "", "showsDeleted": False}
