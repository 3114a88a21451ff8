"""``POST series``, ``keys`` and ``changes`` of a real server, against MLflow's client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flask
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import RunStatus

from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from mlflow_weir.store.metrics import curves
from mlflow_weir.store.runs.changes import Standing
from mlflow_weir.store.tracking_store import WeirStore
from mlflow_weir.ui_extensions import api, mlflow_private, sights
from senders import ROUTES, call, new_id
from series_answers import Line, ask, ask_bytes, check_line, in_drawn_order, read_parts
from workspace_data import Sweep, append_points, compact_run, curve, seed_sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),  # MLflow warns about itself
]
N_POINTS = 1_500


class Served(NamedTuple):
    """A server on a sweep, and both ways to its data."""

    server: ServerProcess
    store: WeirStore
    client: MlflowClient
    sweep: Sweep


@pytest.fixture(scope="module")
def served(
    sqlite_folder: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    url = sqlite_folder.new_mlflow_database()
    store = WeirStore(url, str(folder / "artifacts"))
    sweep = seed_sweep(store, n_points=N_POINTS)
    spec = ServerSpec(
        ["server", "--backend-store-uri", url.replace("sqlite:", "sqlite+weir:")],
        folder,
        (("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),),
    )
    with start_servers(spec) as (server,):
        yield Served(server, store, MlflowClient(server.address), sweep)


def question(run_ids: list[str], *keys: str, **more: Any) -> dict[str, Any]:
    return {
        "runs": run_ids,
        "parts": [{"key": key} for key in keys],
        "x": "step",
        "buckets": 64,
        "want": ["count", "mean"],
        **more,
    }


def check(served: Served, run_id: str, key: str, line: Line) -> None:
    history = list(served.client.get_metric_history(run_id, key))
    points = in_drawn_order(history, is_by_step=True)
    check_line(line, points, x=[m.step for m in points])
    assert line.total == len(history)


def test_all_runs_and_metrics_of_a_screen_come_in_one_answer(served: Served) -> None:
    keys = ["train/loss", "val/loss", "train/accuracy", "no/such"]
    parts = ask(served.server, question(served.sweep.run_ids, *keys))
    assert [part.header["key"] for part in parts] == keys
    assert parts[3].header["n_points"] == 0
    for part in parts[:3]:
        lines = part.lines()
        assert len(lines) == 59  # one run died before it logged anything
        for at in (0, 12, 25, 33, 50, 59):
            run_id = served.sweep.run_ids[at]
            check(served, run_id, part.header["key"], lines[at])
    spiked, step = served.sweep.spiked
    line = parts[0].lines()[served.sweep.run_ids.index(spiked)]
    assert line.columns["high"].max() == 40.0
    assert line.columns["x"][line.columns["high"].argmax()] >= step


def test_a_range_and_a_finer_level_show_the_same_points(served: Served) -> None:
    run_id = served.sweep.run_ids[12]
    (part,) = ask(served.server, question([run_id], "train/loss", range=[400, 600], buckets=500))
    history = served.client.get_metric_history(run_id, "train/loss")
    inside = [m for m in history if 400 <= m.step <= 600]
    line = part.lines()[0]
    assert line.columns["count"].tolist() == [1] * 201
    check_line(line, inside, x=[m.step for m in inside])
    (exact,) = ask(served.server, question([run_id], "train/loss", buckets=5_000, want=["exact"]))
    assert exact.lines()[0].columns["last"].tolist() == [m.value for m in history]


@pytest.mark.parametrize("axis", ["wall", "relative"])
def test_time_axes(served: Served, axis: str) -> None:
    run_ids = served.sweep.run_ids[:5]
    (part,) = ask(served.server, question(run_ids, "val/loss", x=axis))
    for at, run_id in enumerate(run_ids):
        points = served.client.get_metric_history(run_id, "val/loss")
        keys = served.client.get_run(run_id).data.metrics
        first = min(served.client.get_metric_history(run_id, key)[0].timestamp for key in keys)
        origin = first if axis == "relative" else 0
        check_line(part.lines()[at], points, x=[m.timestamp - origin for m in points])


def test_x_by_another_metric(served: Served) -> None:
    run_id = served.sweep.run_ids[3]
    (part,) = ask(served.server, question([run_id], "val/loss", x="m:train/lr"))
    lr = {m.step: m.value for m in served.client.get_metric_history(run_id, "train/lr")}
    points = served.client.get_metric_history(run_id, "val/loss")
    assert part.lines()[0].columns["x"].tolist() == [lr[m.step] for m in points]


def test_at_a_moment_charts_and_list_have_what_there_was(served: Served) -> None:
    key, running, ended = "val/loss", served.sweep.running, served.sweep.run_ids[3]
    history = list(served.client.get_metric_history(running, key))
    at_ms = history[len(history) // 2].timestamp
    by_then = [m for m in history if m.timestamp <= at_ms]
    (part,) = ask(served.server, question([running, ended], key, at=at_ms))
    line = part.lines()[0]
    assert line.total == len(by_then) < len(history)
    check_line(line, by_then, x=[m.step for m in by_then])
    check(served, ended, key, part.lines()[1])
    columns = [f"metrics.{key}", f"metrics.{key}:min", "attributes.end_time", "params.lr"]

    def rows(**asked: Any) -> list[dict[str, Any]]:
        body = {"experiments": [served.sweep.experiment_id], "columns": columns}
        body |= {"run_ids": [running, ended], **asked}
        found: list[dict[str, Any]] = call(served.server, "POST", f"{ROUTES}/runs", body).body[
            "rows"
        ]
        return found

    now, then = rows(), rows(at=at_ms)
    smallest = min(m.value for m in by_then)
    assert then[0]["cells"] == [by_then[-1].value, smallest, None, now[0]["cells"][3]]
    assert then[1] == now[1]
    # One that ended since was running then.
    was = rows(at=now[1]["end"] - 1)[1]
    assert (was["status"], was["end"], was["cells"][2]) == ("RUNNING", None, None)


def test_a_growing_run_is_continued_without_what_is_there(served: Served) -> None:
    run_id, key = served.sweep.running, "train/loss"
    (part,) = ask(served.server, question([run_id], key, buckets=32))
    held, level = part.lines()[0].columns, part.header["level"]
    client = served.client
    for turn in range(4):
        last = client.get_metric_history(run_id, key)[-1]
        random = np.random.default_rng(turn)
        more = curve(
            random,
            40,
            first_step=last.step + 1,
            first_ms=last.timestamp + 1 - 120 * (last.step + 1),
            ms_a_step=120,
        )
        append_points(served.store, run_id, {key: more})
        if turn == 2:
            compact_run(served.store, run_id)
        since = float(held["x"][-2]) + 1
        have = int(held["count"][:-1].sum())
        asked = question([run_id], buckets=32)
        asked["parts"] = [{"key": key, "level": level, "from": [since], "have": [have]}]
        (part,) = ask(served.server, asked)
        line = part.lines()[0]
        assert not line.is_whole
        assert line.columns["count"].sum() < 140, "more than the end was sent"
        kept = {name: column[:-1] for name, column in held.items() if name in line.columns}
        held = {name: np.append(kept[name], line.columns[name]) for name in kept}
        check(served, run_id, key, Line(line.total, True, True, held))
    # A point that comes late, before what is there: the line is told whole.
    late = curve(np.random.default_rng(9), 1, first_step=3, first_ms=int(last.timestamp))
    append_points(served.store, run_id, {key: late})
    (part,) = ask(served.server, asked)
    line = part.lines()[0]
    assert line.is_whole
    check(served, run_id, key, line)


def aggregated(values: Any, centre: str, band: str) -> tuple[Any, Any, Any]:
    """Return centre and band over runs, by NumPy."""
    middle = getattr(np, centre)(values, axis=0)
    if band == "minmax":
        return middle, values.min(0), values.max(0)
    if band == "p10p90":
        return middle, np.quantile(values, 0.1, axis=0), np.quantile(values, 0.9, axis=0)
    if band == "none":
        return middle, np.full_like(middle, np.nan), np.full_like(middle, np.nan)
    spread = values.std(0, ddof=1) / (np.sqrt(len(values)) if band == "se" else 1.0)
    return middle, middle - spread, middle + spread


def test_groups_are_of_all_members_each_counted_once(served: Served) -> None:
    run_ids = served.sweep.run_ids[:10]
    groups = [[0, 1, 2, 3, 4], [5, 6, 7]]
    histories = [served.client.get_metric_history(run_id, "val/loss") for run_id in run_ids]
    for centre, band in (
        ("mean", "minmax"),
        ("median", "p10p90"),
        ("mean", "sd"),
        ("max", "se"),
        ("min", "none"),
    ):
        (part,) = ask(
            served.server,
            question(run_ids, "val/loss", groups=groups, centre=centre, band=band, buckets=2_000),
        )
        columns = part.columns
        assert part.header["kind"] == "groups"
        assert columns["group"].tolist() == [0, 1]
        for at, members in enumerate(groups):
            rows = slice(columns["start"][at], columns["start"][at + 1])
            values = np.array([[m.value for m in histories[member]] for member in members])
            assert columns["n"][rows].tolist() == [len(members)] * values.shape[1]
            assert columns["x"][rows].tolist() == [m.step for m in histories[members[0]]]
            expected = aggregated(values, centre, band)
            for name, column in zip(("centre", "low", "high"), expected, strict=True):
                np.testing.assert_allclose(columns[name][rows], column, rtol=1e-12)


def test_groups_over_another_metric_meet_at_its_values(served: Served) -> None:
    run_ids, n_buckets = served.sweep.run_ids[:8], 20
    groups = [[0, 1, 2, 3, 4], [5, 6, 7]]
    asked = question(run_ids, "val/loss", x="m:train/lr", groups=groups, band="minmax")
    (part,) = ask(served.server, {**asked, "buckets": n_buckets})
    points = []
    for run_id in run_ids:
        lr = {m.step: m.value for m in served.client.get_metric_history(run_id, "train/lr")}
        history = served.client.get_metric_history(run_id, "val/loss")
        points.append([(lr[m.step], m.value) for m in history])
    first = min(x for run in points for x, _ in run)
    width = (max(x for run in points for x, _ in run) - first) / n_buckets
    columns = part.columns
    assert columns["group"].tolist() == [0, 1]
    for at, members in enumerate(groups):
        cells: dict[int, list[tuple[float, float]]] = {}
        for member in members:
            inside: dict[int, list[tuple[float, float]]] = {}
            for x, value in points[member]:
                # What lies on a bound is in the cell that it begins.
                inside.setdefault(int((x - first) / width + 1e-7), []).append((x, value))
            for cell, own in inside.items():
                mean = float(np.mean([value for _, value in own]))
                cells.setdefault(cell, []).append((max(x for x, _ in own), mean))
        expected = [cells[cell] for cell in sorted(cells)]
        rows = slice(columns["start"][at], columns["start"][at + 1])
        assert columns["n"][rows].tolist() == [len(own) for own in expected]
        for name, of in (
            ("x", [max(x for x, _ in own) for own in expected]),
            ("centre", [float(np.mean([value for _, value in own])) for own in expected]),
            ("high", [max(v for _, v in own) if len(own) > 1 else np.nan for own in expected]),
        ):
            np.testing.assert_allclose(columns[name][rows], of, rtol=1e-6, atol=1e-12)


def test_keys_with_how_many_runs_have_them(served: Served) -> None:
    counts: dict[str, int] = {}
    for run in served.client.search_runs([served.sweep.experiment_id], max_results=100):
        for key in run.data.metrics:
            counts[key] = counts.get(key, 0) + 1
    path = f"{ROUTES}/keys"
    answer = call(served.server, "POST", path, {"experiments": [served.sweep.experiment_id]})
    assert {one["key"]: one["n_runs"] for one in answer.body["keys"]} == counts
    assert (answer.body["n_runs"], answer.body["is_partial"]) == (60, False)
    answer = call(served.server, "POST", path, {"runs": served.sweep.run_ids})
    assert {one["key"]: one["n_runs"] for one in answer.body["keys"]} == counts


def test_changes_name_the_runs_that_grew_and_no_others(served: Served) -> None:
    def changed(**asked: Any) -> dict[str, Any]:
        answer = call(
            served.server,
            "POST",
            f"{ROUTES}/changes",
            {"experiments": [served.sweep.experiment_id], **asked},
        )
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.body
        return found

    quiet, running = served.sweep.run_ids[0], served.sweep.running
    before = changed(runs=[quiet, running])
    assert before["n_runs"] == 60
    assert before["statuses"][running] == ["RUNNING", None]
    again = changed(runs=[quiet, running], since=before["watermark"])
    assert {run: again["runs"][run] for run in before["runs"]} == before["runs"]
    last = served.client.get_metric_history(running, "train/accuracy")[-1]
    append_points(
        served.store,
        running,
        {"train/accuracy": curve(np.random.default_rng(1), 3, first_step=last.step + 1)},
    )
    after = changed(since=before["watermark"])
    assert after["runs"][running] != before["runs"][running]
    assert after["runs"].get(quiet, before["runs"][quiet]) == before["runs"][quiet]
    served.store.update_run_info(running, RunStatus.FINISHED, 2_000_000_000_000, None)
    ended = changed(runs=[running])
    assert ended["statuses"][running][0] == "FINISHED"
    assert ended["n_running"] == before["n_running"] - 1
    # The run list says the same of itself, which is how a page knows that its list is old.
    asked = {"experiments": [served.sweep.experiment_id]}
    standing = call(served.server, "POST", f"{ROUTES}/runs", asked).body["standing"]
    assert standing == {name: ended[name] for name in Standing._fields}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"runs": []}, 400, "no runs"),
        ({"runs": ["x"]}, 400, "32 hexadecimal"),
        ({"runs": "x"}, 400, "not a list"),
        ({"parts": [{}]}, 400, "'key'"),
        ({"parts": []}, 400, "no parts"),
        ({"x": "sideways"}, 400, "x: expected"),
        ({"buckets": 0}, 400, "buckets"),
        ({"buckets": 1e9}, 400, "whole number"),
        ({"buckets": 1 << 40}, 400, "buckets"),
        ({"want": ["everything"]}, 400, "want"),
        ({"range": [5, 1]}, 400, "range"),
        ({"range": [float("nan"), 1]}, 400, "not a number"),
        ({"range": [None, 1]}, 400, "not a number"),
        ({"groups": [[0, 0]]}, 400, "groups"),
        ({"groups": [[7]]}, 400, "groups"),
        ({"groups": [[0]], "band": "wide"}, 400, "band"),
        ({"parts": [{"key": "m", "from": [1], "have": []}]}, 400, "one number a run"),
        ({"parts": [{"key": "m", "level": 64}]}, 400, "level"),
        ({"parts": [{"key": "m"}] * 61}, 413, "at most 60"),
        ({"runs": [f"{at:032x}" for at in range(5_001)]}, 413, "at most 5,000"),
        (
            {"runs": [f"{at:032x}" for at in range(3_000)], "buckets": 2_500},
            413,
            "7,500,000 buckets in all",
        ),
    ],
)
def test_what_is_no_question_or_too_much_is_refused_in_words(
    served: Served, change: dict[str, Any], status: int, words: str
) -> None:
    asked = {**question([served.sweep.run_ids[0]], "m"), **change}
    found, body = ask_bytes(served.server, asked)
    assert found == status, body
    assert words in body.decode()


def test_more_points_than_memory_allows_are_refused_in_words(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "MAX_RAW_POINTS", 10)
    monkeypatch.setattr(mlflow_private, "tracking_store", lambda: served.store)
    monkeypatch.setattr(sights.Member, "readable_runs", lambda self, ids: ids)
    app = flask.Flask("in process")
    app.register_blueprint(api.blueprint())
    run_id = served.sweep.run_ids[0]
    asked = question([run_id], "val/loss", "epoch")
    answer = app.test_client().post(f"{ROUTES}/series", json=asked)
    assert answer.status_code == 413
    assert "30 points of 'val/loss'" in answer.get_json()["error"]
    asked["parts"].insert(0, {"key": "no/such"})
    answer = app.test_client().post(f"{ROUTES}/series", json=asked)
    assert answer.status_code == 200
    parts = read_parts(answer.data)
    assert "30 points" in parts[1].header["error"]
    assert len(parts) == 2


def test_odd_numbers_and_keys_are_answered(served: Served) -> None:
    run_id = served.sweep.run_ids[0]
    for key in ("", "__proto__", "'; --", "\ud800", "k" * 5_000, "\x00"):
        (part,) = ask(served.server, question([run_id, new_id()], key))
        assert part.header["n_points"] == 0
    for edge in (1e300, -1e300, 2**64):
        status, body = ask_bytes(
            served.server,
            question([run_id], "val/loss", range=sorted([0, edge])),
        )
        assert status == 200, body
        read_parts(body)
