"""Published pages: from a folder and a static server, in S3, and taken away again."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import http.server
import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from browser import PHONE, Site, axe_violations
from databases import DatabaseServer
from mlflow_weir.plugin.cli import main
from mlflow_weir.store.tracking_store import WeirStore
from mlflow_weir.ui_extensions.publishing import series_pieces
from mlflow_weir.ui_extensions.publishing.s3 import S3Options, S3Prefix
from reports import ask, panel, paragraph, png, write_report
from run_data import N_LINES, XSS
from s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from senders import call
from workspace_data import FIRST_START_MS, SeededRun, curve, write_runs

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

MANIFEST = "weir-publish.json"
PIECE = re.compile(r'weirData\("([0-9a-f]{32})","([A-Za-z0-9+/=]*)"\)\n\Z')
LAST_X = """([key, id, x]) => {
    const chart = window.__weirCharts(true).charts.find((one) => one.name === key)
    const line = chart && chart.lines.find((line) => line.runId === id)
    return line && line.x.at(-1) === x
}"""
LAST_NEAR = """([key, id, x, most]) => {
    const chart = window.__weirCharts(true).charts.find((one) => one.name === key)
    const line = chart && chart.lines.find((line) => line.runId === id)
    return line && Math.abs(line.x.at(-1) - x) < most
}"""
EVERYTHING = (
    *("metrics", "params.lr", "params.note", "params.long", "params.__proto__", "tags.team"),
    *("notes", "code", "patch", "console", "command", "host", "git_url", "files", "media"),
    *("hardware", "histograms"),
)


def publish(site: Site, *words: str, shown: tuple[str, ...] = ("metrics",)) -> Result:
    """Publish from the site's server, as a user does."""
    shows = [word for field in shown for word in ("--show", field)]
    return CliRunner().invoke(
        main, ["publish", *words, "--uri", site.server.address, *shows], catch_exceptions=False
    )


def publish_at(uri: str, *words: str) -> Result:
    """Publish from what a URI names."""
    return CliRunner().invoke(main, ["publish", *words, "--uri", uri], catch_exceptions=False)


def published(site: Site, *words: str, shown: tuple[str, ...] = ("metrics",)) -> dict[str, Any]:
    """Publish; return what was done."""
    done = publish(site, *words, "--json", shown=shown)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def contents(files: dict[str, bytes]) -> str:
    """Return all that can be read in published files, the pages' own script left out."""
    found = []
    for name, content in files.items():
        if name.startswith("data/"):
            piece = PIECE.match(content.decode("ascii"))
            assert piece is not None, name
            inside = zlib.decompress(base64.b64decode(piece[2]))
            assert name == f"data/{hashlib.sha256(inside).hexdigest()[:32]}.js"
            found.append(inside.decode("utf-8", "replace"))
        elif not name.startswith("assets/"):
            found.append(content.decode("utf-8"))
    text = "\n".join(found)
    return text + text.encode().decode("unicode_escape", "replace")


@pytest.fixture
def static_server(tmp_path: Path) -> Iterator[str]:
    """Serve the test's folder as any static host does; return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def drawn(page: Any, key: str, run_id: str) -> dict[str, Any]:
    """Return a run's line as the chart of a metric has drawn it."""
    found: dict[str, Any] = page.wait_for_function(
        """([key, id]) => {
            const charts = window.__weirCharts ? window.__weirCharts(true).charts : []
            const chart = charts.find((one) => one.name === key)
            if (!chart || !chart.isComplete) return false
            return chart.lines.find((line) => line.runId === id && line.x.length > 0)
        }""",
        arg=[key, run_id],
    ).json_value()
    return found


def test_a_sweep_opens_from_a_folder_and_from_a_static_host(
    site: Site,
    tmp_path: Path,
    static_server: str,
    open_page: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    title = "<b>A</b> sweep & \u2028</title><script>window.wasRun=1</script>"
    done = published(
        site,
        *(site.sweep.name, "--to", str(tmp_path / "out"), "--title", title),
        shown=("metrics", "params.lr"),
    )
    assert done["address"] == (tmp_path / "out" / "index.html").as_uri()
    assert done["n_runs"] == len(site.sweep.run_ids)
    monkeypatch.setenv("WEIR_CLIENT", "off")
    run_id = site.sweep.run_ids[0]
    history = MlflowClient(site.server.address).get_metric_history(run_id, "train/loss")
    finite = [point.value for point in history if abs(point.value) < 1e300]
    for address in (done["address"], f"{static_server}/out/"):
        page = open_page(color_scheme="light")
        seen: list[str] = []
        page.on("request", lambda request, seen=seen: seen.append(request.url))
        page.goto(address)
        assert page.title() == title.replace("\u2028", "\\u{2028}")
        line = drawn(page, "train/loss", run_id)
        assert line["total"] == len(history)
        assert max(line["high"]) == pytest.approx(max(finite), rel=1e-6)
        assert min(line["low"]) == pytest.approx(min(finite), rel=1e-6)
        assert line["x"][0] == history[0].step
        base = address.removesuffix("index.html")
        assert [url for url in seen if not url.startswith((base, "data:", "blob:"))] == []
        assert page.context.cookies() == []
        assert page.evaluate("window.wasRun === undefined")
    # Time since the beginning, in all its points, and by the clock.
    axis = page.get_by_role("group", name="Settings of all charts").locator("select").first
    axis.select_option("rel")
    client = MlflowClient(site.server.address)
    start_ms = min(
        point.timestamp
        for key in client.get_run(run_id).data.metrics
        for point in client.get_metric_history(run_id, key)
    )
    last_ms = max(point.timestamp for point in history)
    page.wait_for_function(LAST_X, arg=["train/loss", run_id, last_ms - start_ms])
    axis.select_option("wall")
    page.wait_for_function(LAST_X, arg=["train/loss", run_id, last_ms])
    # Without the pause of a run that was resumed, as the server counts it, to a bucket.
    resumed = {"runs": [site.sweep.resumed], "parts": [{"key": "train/loss"}], "buckets": 2_500}
    last = {}
    for x in ("relative", "process"):
        ((_, columns),) = series_pieces.read_parts(post(site, "series", {**resumed, "x": x}))
        last[x] = np.frombuffer(columns["x"])[-1]
    assert last["process"] < last["relative"]
    axis.select_option("relp")
    page.wait_for_function(
        LAST_NEAR, arg=["train/loss", site.sweep.resumed, last["process"], last["process"] / 100]
    )
    # Over another metric, as the server draws it.
    question = {"runs": [run_id], "parts": [{"key": "train/loss"}], "x": "m:val/loss"}
    body = post(site, "series", {**question, "buckets": 2_500})
    ((_, columns),) = series_pieces.read_parts(body)
    axis.select_option("m:val/loss")
    page.wait_for_function(LAST_X, arg=["train/loss", run_id, np.frombuffer(columns["x"])[-1]])
    # Panels that compare runs, of what is ticked.
    page.get_by_role("button", name=re.compile("^Compare runs")).click()
    found = [client.get_run(one).data for one in site.sweep.run_ids]
    n = sum("val/loss" in one.metrics and "lr" in one.params for one in found)
    dots = "() => document.querySelectorAll('[data-kind=scatter] circle').length"
    page.wait_for_function(f"({dots})() === {n}")
    assert page.locator("[data-kind=importance] tbody th").all_inner_texts() == ["lr"]
    # What only a server can do is not offered; what is offered works, as the server does it.
    assert page.get_by_role("button", name="Share", exact=True).count() == 0
    page.get_by_role("button", name="Filter", exact=True).click()
    text = page.get_by_role("textbox", name="As text")
    text.fill("params.lr > 0.01 and not status = 'FINISHED' or min(metrics.train/loss) < 0.2")
    question = {"experiments": [site.sweep.experiment_id], "filter": text.input_value()}
    wanted = json.loads(post(site, "runs", {**question, "columns": [], "limit": 1}))["matching"]
    assert 0 < wanted < len(site.sweep.run_ids)
    page.get_by_role("status").filter(
        has_text=f"{wanted} of {len(site.sweep.run_ids)} runs"
    ).wait_for()
    text.fill("params.optimizer = 'adam'")
    page.get_by_text("this page does not show that field").wait_for()
    text.fill("status in (")
    page.get_by_role("alert").filter(has_text="expected a value").wait_for()
    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_role("button", name="Condition").click()
    page.get_by_role("status").filter(has_text=re.compile("^(?!60 )[0-9]+ of 60 runs")).wait_for()
    page.get_by_role("button", name="Clear", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name="Search runs").fill("adamw-lr0.1-s4")
    page.wait_for_function("() => document.querySelectorAll('.w-runs .w-run-name').length === 1")
    assert axe_violations(page) == []


def test_a_report_is_published_with_its_panels_as_of_then(
    site: Site, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    experiment_id, run_ids = site.sweep.experiment_id, site.sweep.run_ids
    early_ms = FIRST_START_MS + 2_600_000
    cards = [{"id": "c", "keys": ["train/loss"]}]
    title = "Results <b>of</b> the sweep </script>"
    report_id, _ = write_report(
        site.server,
        experiment_id,
        title,
        paragraph(XSS),
        {"type": "mathBlock", "attrs": {"tex": "\\frac{a}{b}"}},
        panel(experiment_id, title="Live", cards=cards, runs={"ids": run_ids[:3]}),
        panel(experiment_id, title="Early", cards=cards, runs={"at": early_ms, "most": 3}),
        panel(
            experiment_id,
            "runs",
            title="Then",
            columns=["metrics.train/loss:latest"],
            runs={"at": early_ms, "most": 3},
        ),
        panel(
            experiment_id,
            "compare",
            title="Then beside",
            parts=["run"],
            runs={"at": early_ms, "most": 2},
        ),
        panel(experiment_id, title="Groups", cards=cards, runs={"groupBy": ["params.optimizer"]}),
        panel(
            experiment_id,
            "runs",
            title="Table",
            columns=["params.lr", "metrics.train/loss:min"],
            runs={"order": ["-metrics.train/loss:min"], "most": 4},
        ),
        panel(experiment_id, "compare", title="Beside", parts=["params"], runs={"most": 2}),
        # Of one run, among more than can be frozen with their files.
        panel(experiment_id, "media", title="Media", runs={"ids": run_ids[:1]}),
        picture=png(24, 24),
    )
    ask(site.server, "/comments", {"id": report_id, "action": "add", "text": "never shown"})
    member = open_page(color_scheme="light")
    member.goto(site.pages(f"/reports/{report_id}"))
    then = {name: words_of(member, name) for name in ("Then", "Then beside")}
    folder = tmp_path / "out"
    address = f"{site.server.address}/weir/reports/{report_id}?w=x"
    done = published(site, address, "--to", str(folder), shown=("panels",))
    delete_report(site, report_id)  # what is published stays; others find no report
    everything = contents(files_of(folder))
    for hidden in ("never shown", report_id, "val/loss", site.server.address):
        assert hidden not in everything
    assert "frac{a}{b}" in everything
    page = open_page(color_scheme="dark", viewport=PHONE)
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(done["address"])
    assert page.title() == title
    # All that the report's own page shows, drawn by the same parts.
    page.locator(".w-report-math math").wait_for()
    page.locator(".w-report-picture img").wait_for()
    groups = groups_of(site, experiment_id, run_ids)
    inside = rows_of_panel(site, experiment_id, early_ms)
    early = {one: n for one in inside if (n := points_of(site, one, early_ms))}
    assert any(n < points_of(site, one, None) for one, n in early.items())
    for name, n_lines in (("Live", 3), ("Early", len(early)), ("Groups", len(groups))):
        chart = page.get_by_role("group", name=name, exact=True)
        chart.scroll_into_view_if_needed()
        chart.locator(f"[data-painted='{n_lines}']").wait_for()
    for name, n_rows in (("Table", 4), ("Beside", 1)):
        table = page.get_by_role("group", name=name, exact=True)
        table.scroll_into_view_if_needed()
        table.locator("tbody tr").nth(n_rows - 1).wait_for()
    # What had not ended then is running, with what it had logged by then, as members see it.
    assert {name: words_of(page, name) for name in then} == then
    page.get_by_text("params and tags as they were when this was shared").first.wait_for()
    media = page.get_by_role("group", name="Media", exact=True)
    media.scroll_into_view_if_needed()
    media.locator(".w-panel-head").wait_for()
    heads = page.locator(".w-panel-head").all_inner_texts()
    assert len(heads) == 8
    assert all("frozen at" in one and "live" not in one for one in heads)
    live = {run_id: points_of(site, run_id, None) for run_id in run_ids[:3]}
    charts = charts_of(page, 3)
    points = [{line["runId"]: len(line["x"]) for line in one["lines"]} for one in charts]
    assert early in points
    assert live in points
    # A group's band is the server's.
    question = {
        "runs": run_ids,
        "parts": [{"key": "train/loss"}],
        "x": "step",
        "buckets": 256,  # as many as a chart of that width
        "groups": groups,
    }
    ((_, columns),) = series_pieces.read_parts(post(site, "series", question))
    (bands,) = [one["lines"] for one in charts if one["lines"][0]["runId"].startswith("group:")]
    assert [x for line in bands for x in line["x"]] == np.frombuffer(columns["x"]).tolist()
    assert [value for line in bands for value in line["last"]] == pytest.approx(
        np.frombuffer(columns["centre"]).tolist(), rel=1e-6, nan_ok=True
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate("window.wasRun === undefined && window.__hostile === undefined")
    assert [url for url in seen if not url.startswith(("file://", "blob:", "data:"))] == []
    # A run of it has its page, with what is shown; and all of it is taken away again.
    page.get_by_role("group", name="Table").locator("tbody a").first.click()
    page.get_by_role("link", name="To the report").wait_for()
    page.get_by_role("link", name="To the report").click()
    page.locator(".w-report-math math").wait_for()
    assert publish(site, "--to", str(folder), "--unpublish", shown=()).exit_code == 0
    assert files_of(folder) == {}
    # Words alone are a report too.
    words, _ = write_report(site.server, experiment_id, "Words", paragraph("nothing but words"))
    one_file = published(site, f"report:{words}", "--to", str(folder), "--single-file", shown=())
    delete_report(site, words)
    page.goto(one_file["address"])
    page.get_by_text("nothing but words").wait_for()


def words_of(page: Any, name: str) -> list[str]:
    """Return the cells of a panel's table."""
    panel = page.get_by_role("group", name=name, exact=True)
    panel.scroll_into_view_if_needed()
    cells = panel.locator("tbody th, tbody td")
    cells.nth(1).wait_for()
    return [str(one) for one in cells.all_inner_texts()]


def delete_report(site: Site, report_id: str) -> None:
    """Take a report away."""
    answer = ask(site.server, "/change", {"id": report_id, "action": "delete"})
    assert answer.status == 200, answer


def post(site: Site, name: str, question: dict[str, Any]) -> bytes:
    """Ask the server itself."""
    request = urllib.request.Request(
        f"{site.server.address}/ajax-api/3.0/weir/{name}",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        found: bytes = answer.read()
    return found


def rows_of_panel(site: Site, experiment_id: str, at_ms: int) -> list[str]:
    """Return the three newest runs that had begun at a moment."""
    asked = {"experiments": [experiment_id], "columns": [], "limit": 3}
    body = post(site, "runs", {**asked, "filter": f"start_time <= {at_ms}", "at": at_ms})
    return [row["id"] for row in json.loads(body)["rows"]]


def points_of(site: Site, run_id: str, at_ms: int | None) -> int:
    """Return how many points of its loss a run had at a moment."""
    question = {"runs": [run_id], "parts": [{"key": "train/loss"}], "x": "step", "buckets": 2_500}
    at = {} if at_ms is None else {"at": at_ms}
    ((header, _),) = series_pieces.read_parts(post(site, "series", {**question, **at}))
    return int(header["n_points"])


def groups_of(site: Site, experiment_id: str, run_ids: list[str]) -> list[list[int]]:
    """Return the places of each optimizer's runs."""
    question = {"experiments": [experiment_id], "by": ["params.optimizer"], "columns": []}
    groups = json.loads(post(site, "groups", question))["groups"]
    ids = [base64.b64decode(group["ids"]).hex() for group in groups]
    return [[run_ids.index(one[at : at + 32]) for at in range(0, len(one), 32)] for one in ids]


def charts_of(page: Any, n: int) -> list[dict[str, Any]]:
    """Return what the charts have drawn, once so many have drawn all of it."""
    found: list[dict[str, Any]] = page.wait_for_function(
        """(n) => {
            const { charts } = window.__weirCharts(true)
            return charts.length === n && charts.every((one) => one.isComplete) && charts
        }""",
        arg=n,
    ).json_value()
    return found


def test_every_tab_of_a_hostile_run_is_harmless_on_a_phone(
    site: Site, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    folder = tmp_path / "one file"
    done = published(
        site, site.rich.run_id, "--to", str(folder), "--single-file", shown=EVERYTHING
    )
    assert sorted(files_of(folder)) == ["index.html", MANIFEST]
    page = open_page(color_scheme="dark", viewport=PHONE)
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(done["address"])
    panel = page.get_by_role("tabpanel")
    panel.get_by_role("region", name="Notes").locator("h3", has_text="What this was").wait_for()
    assert "gpu-node-7" in panel.get_by_role("region", name="About").inner_text()
    tabs = {
        "Charts": panel.locator("article.w-card canvas").first,
        "Hardware": panel.locator("figure canvas").first,
        "Console": panel.get_by_text(f"{N_LINES:,} lines"),
        "Code": panel.get_by_role("heading", name="Changes since the commit"),
        "Gradients": panel.get_by_role("heading", name="Norm of each layer"),
        "Media": panel.locator("img").first,
        "Files": panel.get_by_role("button", name="config.json"),
    }
    for name, found in tabs.items():
        page.get_by_role("tab", name=name).click()
        found.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
    panel.get_by_role("button", name="config.json").click()
    panel.get_by_text('"lr"').first.wait_for()
    assert page.evaluate("window.wasRun === undefined && window.__hostile === undefined")
    assert [url for url in seen if not url.startswith(("file://", "blob:", "data:"))] == []


def test_a_saved_view_is_published_with_its_runs_and_no_others(site: Site, tmp_path: Path) -> None:
    chosen, others = site.sweep.run_ids[3:6], site.sweep.run_ids[6:]
    name = "Three <of them>"
    view = {
        "version": 1,
        "filter": f"run_id in ({', '.join(map(repr, chosen))}, '{site.sweep.crashed}')",
        "hidesCrashed": True,
        "groupBy": ["params.lr"],
    }
    saved = {"experiments": [site.sweep.experiment_id], "name": name, "document": json.dumps(view)}
    view_id = json.loads(post(site, "views/save", saved))["id"]
    folder = tmp_path / "out"
    words = (site.sweep.name, "--view", name, "--to", str(folder))
    done = published(site, *words, shown=("metrics.train/loss", "params.lr"))
    refused = publish(site, site.sweep.name, "--view", "Four", "--to", str(folder))
    post(site, "views/delete", {"id": view_id})  # others find none
    assert done["n_runs"] == len(chosen)
    everything = contents(files_of(folder))
    assert [run_id for run_id in chosen if run_id not in everything] == []
    assert [run_id for run_id in others if run_id in everything] == []
    assert '"groupBy":["params.lr"]' in everything.replace(" ", "")
    assert f"<title>{html.escape(f'{site.sweep.name}: {name}')}</title>" in everything
    assert refused.exit_code == 1
    assert "has no view 'Four'" in refused.output


def test_what_is_not_ticked_is_in_no_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    published(
        site, site.rich.run_id, "--numbered", "--to", str(folder), shown=("metrics.train/loss",)
    )
    files = files_of(folder)
    everything = contents(files)
    assert "train/loss" in everything
    monkeypatch.setenv("WEIR_CLIENT", "off")
    run = MlflowClient(site.server.address).get_run(site.rich.run_id)
    kept_back = {
        *("gpu-node-7", "val/", "resnet50", "slipper", "warm-up", "train.py", "out of memory"),
        *("system/", "gradients/", "layer", "token: [redacted]", "config.json", "onerror"),
        *("Third", "rich runs", site.server.address, str(tmp_path.parent), "mlflow-artifacts"),
        *(value for value in run.data.params.values() if len(value) > 5),
        *(value for key, value in run.data.tags.items() if len(value) > 5 and "onerror" in value),
        run.data.tags["weir.git.commit"],
    }
    assert [word for word in kept_back if word in everything] == []
    for name, content in files.items():
        if not name.startswith("assets/"):
            assert b"</script>\n<script>" not in content
    page = files["index.html"].decode()
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0])
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert 'name="robots" content="noindex, nofollow"' in page
    # What is shown is as hostile as it likes: it is in no file as it stands.
    published(site, site.rich.run_id, "--to", str(folder), shown=EVERYTHING)
    assert XSS in contents(files_of(folder))
    assert all(XSS.encode() not in one for one in files_of(folder).values())


def test_a_database_is_published_without_a_server(
    pages_are_built: None, sqlite_folder: DatabaseServer, tmp_path: Path
) -> None:
    database = sqlite_folder.new_mlflow_database()
    store = WeirStore(database, str(tmp_path / "artifacts"))
    experiment_id = store.create_experiment("local")
    points = curve(np.random.default_rng(1), 50)
    (run_id,) = write_runs(store, experiment_id, [SeededRun("one", {"loss": points})])
    store.engine.dispose()
    uri = database.replace("sqlite:", "sqlite+weir:")
    folder = tmp_path / "out"
    words = ["weir", "publish", "local", "--uri", uri, "--to", str(folder), "--show", "metrics"]
    code = f"import sys; sys.argv = {words!r}; from mlflow_weir.plugin.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (folder / "index.html").as_uri()
    assert "1 run, 50 points" in done.stdout
    everything = contents(files_of(folder))
    assert run_id in everything
    assert database.removeprefix("sqlite:///") not in everything
    missing = publish_at(f"sqlite+weir:///{tmp_path}/none.db", "local", "--to", str(folder))
    assert "there is no database" in missing.output
    assert not (tmp_path / "none.db").exists()
    assert "named by its id" in publish_at(uri, "report:1", "--to", "x").output
    alone = publish_at(uri, f"report:{run_id}", run_id, "--to", "x")
    assert "a report is published alone" in alone.output
    assert "no such report" in publish_at(uri, f"report:{run_id}", "--to", "x").output


def test_a_place_is_its_owners_alone(site: Site, tmp_path: Path) -> None:
    folder, runs = tmp_path / "out", (site.rich.run_id, site.rich.other_id)
    first = published(site, *runs, "--to", str(folder))
    before = files_of(folder)
    listed = json.loads(before[MANIFEST])["files"]
    assert sorted(listed) == sorted(before.keys() - {MANIFEST}) == sorted(first["written"])
    assert all(
        one == {"sha256": hashlib.sha256(before[name]).hexdigest(), "size": len(before[name])}
        for name, one in listed.items()
    )
    # One run changes: its own piece, the first one and the page; the others stay as they are.
    body = {"run_ids": [site.rich.other_id], "action": "tag", "key": "k", "value": "new"}
    answer = call(site.server, "POST", "/ajax-api/3.0/weir/runs/act", body)
    assert answer.status == 200, answer
    (folder / "notes.txt").write_text("mine")
    second = published(site, *runs, "--to", str(folder), shown=("metrics", "tags.k"))
    assert len(second["written"]) <= 4
    assert "index.html" in second["written"]
    assert len(second["removed"]) == len(second["written"]) - 1
    assert files_of(folder).keys() == {
        *json.loads((folder / MANIFEST).read_bytes())["files"],
        "notes.txt",
        MANIFEST,
    }
    # Taken away is what was written, and is as it was written.
    asset = next((folder / "assets").glob("*.css"))
    asset.write_text("changed by somebody")
    done = publish(site, "--to", str(folder), "--unpublish", shown=())
    assert done.exit_code == 0, done.output
    assert files_of(folder).keys() == {"notes.txt", f"assets/{asset.name}"}
    # And where there are files of somebody's, nothing is published, nor taken away.
    refused = publish(site, site.rich.other_id, "--to", str(folder))
    assert "holds files that Weir did not publish" in refused.output
    assert "nothing was published at" in publish(site, "--to", str(folder), "--unpublish").output
    outside = tmp_path / "outside.js"
    outside.write_text("mine")
    for name in ("../outside.js", "data/../../outside.js", str(outside), "notes.txt", "data"):
        manifest = {"weir_publish": 1, "files": {name: {"sha256": "0" * 64, "size": 4}}}
        (folder / MANIFEST).write_text(json.dumps(manifest))
        refused = publish(site, "--to", str(folder), "--unpublish", shown=())
        assert refused.exit_code == 1
        assert "no file of Weir's" in refused.output
    # A folder that has become a link leads nowhere.
    linked = tmp_path / "linked"
    published(site, site.rich.other_id, "--to", str(linked))
    (linked / "data").rename(tmp_path / "data")
    (linked / "data").symlink_to(tmp_path / "data")
    kept = files_of(tmp_path / "data")
    refused = publish(site, "--to", str(linked), "--unpublish", shown=())
    assert refused.exit_code == 1 or "removed" in refused.output
    assert files_of(tmp_path / "data") == kept


def test_pages_go_to_a_bucket_and_are_taken_away_again(
    site: Site,
    s3: S3Server,
    tmp_path: Path,
    open_page: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = s3.new_bucket("pages")
    s3.client.put_object(Bucket=bucket, Key="other/x.txt", Body=b"mine")
    to = ("--to", f"s3://{bucket}/team/sweep", "--endpoint-url", s3.address)
    runs = (site.rich.run_id, site.rich.other_id)
    first = published(site, *runs, *to, "--checksums", "when_required")
    assert first["address"] == f"{s3.address}/{bucket}/team/sweep/index.html"

    def objects() -> dict[str, str]:
        found = s3.client.list_objects_v2(Bucket=bucket)["Contents"]
        return {one["Key"]: str(one["LastModified"]) + one["ETag"] for one in found}

    there = objects()
    assert {name.removeprefix("team/sweep/") for name in there} == {
        *first["written"],
        MANIFEST,
        "other/x.txt",
    }
    data = next(name for name in first["written"] if name.startswith("data/"))
    for name, kind, cached in (
        ("index.html", "text/html; charset=utf-8", "no-cache"),
        (data, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
    ):
        head = s3.client.head_object(Bucket=bucket, Key=f"team/sweep/{name}")
        assert head["ContentType"] == kind
        assert head["CacheControl"] == cached
    second = published(site, *runs, *to)
    assert len(second["written"]) == 2  # the moment is another one: the first piece, the page
    assert len(objects()) == len(there)
    same = set(there.items()) & set(objects().items())
    assert len(same) >= len(there) - 3
    # A bucket that is open to readers serves the pages as any static host does.
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{bucket}/team/*",
            }
        ],
    }
    s3.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    page = open_page(color_scheme="dark")
    page.goto(second["address"])
    drawn(page, "train/loss", site.rich.run_id)
    gone = publish(site, *to, "--unpublish", shown=())
    assert gone.exit_code == 0, gone.output
    assert list(objects()) == ["other/x.txt"]
    refused = publish(site, *runs, "--to", f"s3://{bucket}/other", "--endpoint-url", s3.address)
    assert "holds files that Weir did not publish" in refused.output
    # A link that lets anybody read for a while is one file: what is beside it would not be signed.
    s3.client.delete_bucket_policy(Bucket=bucket)
    link = published(site, *runs, *to, "--presign", "2h")["address"]
    page = open_page(color_scheme="light")
    page.goto(link)
    drawn(page, "train/loss", site.rich.run_id)
    signature = re.search(r"X-Amz-Signature=([0-9a-f]+)", link)
    assert signature is not None
    assert "X-Amz-Expires=7200" in link
    for other in (
        link.replace(signature[1], signature[1][::-1]),
        link.replace("X-Amz-Expires=7200", "X-Amz-Expires=72000"),
        link.partition("?")[0],
    ):
        assert status_of(other) == 403
    short = S3Prefix(to[1], S3Options(s3.address, None, None, False)).presigned(1)
    deadline = time.monotonic() + 120
    while (found := status_of(short)) != 403 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == 403
    # Keys and address are those of a profile of the AWS configuration.
    named = tmp_path / "aws config"
    named.write_text(
        f"[profile lab]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        f"endpoint_url = {s3.address}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(named))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    elsewhere = ("--to", f"s3://{bucket}/by-profile", "--region", "us-east-1")
    assert "credentials" in publish(site, *runs, *elsewhere).output
    done = published(site, *runs, *elsewhere, "--profile", "lab")
    assert done["address"] == f"{s3.address}/{bucket}/by-profile/index.html"
    assert "no_such" in publish(site, *runs, *elsewhere, "--profile", "no_such").output


@pytest.mark.long
@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_a_large_file_goes_to_a_bucket_in_parts(
    site: Site, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checksums: str
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    client = MlflowClient(site.server.address)
    experiment_id = client.create_experiment(f"large {checksums}")
    run_id = client.create_run(experiment_id).info.run_id
    large = tmp_path / "weights.bin"
    # Noise as large as a file may be: what it becomes in the page is larger than a part.
    large.write_bytes(np.random.default_rng(1).bytes(16 << 20))
    client.log_artifact(run_id, str(large))
    bucket = s3.new_bucket(checksums.replace("_", "-"))
    to = ("--to", f"s3://{bucket}/large", "--endpoint-url", s3.address, "--checksums", checksums)
    published(site, run_id, *to, shown=("files",))
    found = s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    (piece,) = [one for one in found if one["Size"] > 16 << 20]
    assert piece["ETag"].strip('"').endswith("-2")  # of two parts
    content = s3.client.get_object(Bucket=bucket, Key=piece["Key"])["Body"].read()
    told = PIECE.match(content.decode("ascii"))
    assert told is not None
    assert zlib.decompress(base64.b64decode(told[2])) == large.read_bytes()
    again = published(site, run_id, *to, shown=("files",))
    assert piece["Key"].removeprefix("large/") not in again["written"]
    assert publish(site, *to, "--unpublish", shown=()).exit_code == 0
    assert "Contents" not in s3.client.list_objects_v2(Bucket=bucket)


def status_of(address: str) -> int:
    """Return the status with which an address answers anybody."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code
