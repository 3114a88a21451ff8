"""Take the pictures of the pages that the documentation shows: ``python docs/take_images.py``.

A real server with a login on the project of ``picture_data.py``, Chromium, both themes. With names
(``workspace run-code``) only those are taken. Pictures are kept in at most 256 colours.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

_ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT / "tests" / "support"))

import numpy as np  # noqa: E402
from picture_data import Project, seed_project  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Error, sync_playwright  # noqa: E402

import browser  # noqa: E402
from databases import SqliteFolder  # noqa: E402
from mlflow_server import ServerProcess, ServerSpec, start_servers  # noqa: E402
from mlflow_weir.store.tracking_store import WeirStore  # noqa: E402
from reports import panel, paragraph, write_report  # noqa: E402
from senders import ROUTES, User, call  # noqa: E402
from sharing import Link, make_link  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

_WEIR = str(Path(sys.executable).with_name("weir"))
_IMAGES = _ROOT / "docs" / "images"
_SIZE = {"width": 1280, "height": 800}
_LOW = {"width": 1280, "height": 460}
_WIDE = {"width": 1500, "height": 950}
_ADMIN = User("admin", "an administrator's password")
_ADA = User("ada", "ada's own long password")
_OTHERS = (User("grace", "grace's own password"), User("alan", "alan's own password"))
_VIEW_NAME = "LR sweep"
_COLUMNS = {
    "metrics.val/accuracy:max": 168,
    "metrics.val/loss:min": 130,
    "metrics.train/loss:latest": 110,
    "params.model": 90,
    "params.lr": 70,
    "params.batch_size": 90,
    "params.augment": 110,
    "attributes.duration": 90,
    "attributes.user_id": 80,
}
_VIEW = {
    "version": 1,
    "order": ["-metrics.val/accuracy:max"],
    "columns": [
        {"name": name, "isPinned": name.endswith(":max"), "width": width}
        for name, width in _COLUMNS.items()
    ],
    "higherIsBetter": ["val/accuracy", "train/accuracy"],
    "colourBy": "params.lr",
    "side": {"width": 350, "isTable": False, "isClosed": False},
    "settings": {"smoothing": {"kind": "twema", "amount": 0.6, "original": False}},
}
_DRAWN = """(least) => {
    const found = window.__weirCharts ? window.__weirCharts(false).charts : []
    return found.length >= least && found.every((chart) => chart.isComplete && chart.nDrawn > 0)
}"""
_SIZES = {
    "gradients": {"width": 1280, "height": 1000},
    "media": {"width": 1280, "height": 480},
    "files": {"width": 1280, "height": 560},
}
_TABS = {
    "overview": "h2",
    "charts": ".w-chart-lines",
    "hardware": "figure canvas",
    "console": ".w-console-line, [data-line]",
    "code": "table, .w-diff",
    "gradients": "canvas",
    "media": "img",
    "files": "button",
}


@dataclass(frozen=True)
class Site:
    """What pictures are taken of.

    Attributes:
        server: With a login.
        project: What is in its store.
        view: Id and revision of a named view.
        report: Id of one that was published.
        links: Of which the first is open.
        published: The address of published pages.
        folder: For files of the moment.
    """

    server: ServerProcess
    project: Project
    view: str
    report: str
    links: list[Link]
    published: str
    folder: Path

    def pages(self, path: str) -> str:
        """Return the address of one of our pages."""
        return f"{self.server.address}/weir{path}"

    def workspace(self, query: str = "") -> str:
        """Return the address of the sweep, in the named view."""
        return self.pages(f"/e/{self.project.experiment_id}?v={self.view}{query}")


class Picture(NamedTuple):
    """One picture.

    Attributes:
        show: Brings a page to what is to be seen.
        size: Of the window.
        themes: Those it is taken in.
        user: Who looks; None for somebody without an account.
        points: The pointer stays where it was put.
    """

    show: Callable[[Page, Site], Any]
    size: dict[str, int] = _SIZE
    themes: tuple[str, ...] = ("light", "dark")
    user: User | None = _ADA
    points: bool = False


def _open_workspace(query: str = "", least: int = 3) -> Callable[[Page, Site], None]:
    def show(page: Page, site: Site) -> None:
        page.goto(site.workspace(query))
        page.wait_for_function(_DRAWN, arg=least)

    return show


_workspace = _open_workspace()


def _full(page: Page, site: Site) -> None:
    _open_workspace("&fs=" + quote("val/accuracy"), 1)(page, site)
    box = page.get_by_role("dialog").locator(".u-over").bounding_box()
    if box is not None:
        page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.16 * box["height"])


def _table(page: Page, site: Site) -> None:
    _workspace(page, site)
    page.get_by_role("button", name="Show as a table").click()


def _panels(page: Page, site: Site) -> None:
    _workspace(page, site)
    # What compares runs, alone: the other sections are closed.
    for name in ("train", "val"):
        page.get_by_role("button", name=name, exact=False).locator("visible=true").first.wait_for()
    head = page.get_by_role("button", name="Compare runs")
    head.click()
    page.get_by_role("article", name="Parallel coordinates").first.wait_for()
    head.evaluate("(one) => one.scrollIntoView({block: 'start'})")


def _compare(page: Page, site: Site) -> None:
    ids = site.project.run_ids
    chosen = ",".join((site.project.best, ids[6], ids[8], site.project.failed))
    page.goto(
        site.pages(
            f"/e/{site.project.experiment_id}/compare?runs={chosen}&base={site.project.best}"
        )
    )
    page.get_by_role("table").first.wait_for()


def _palette(page: Page, site: Site) -> None:
    _workspace(page, site)
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").fill("convnext")
    page.get_by_role("listbox").get_by_role("option").first.wait_for()


def _at(path: str, text: str) -> Callable[[Page, Site], None]:
    """Open a page, until a text is there."""

    def show(page: Page, site: Site) -> None:
        project = site.project
        page.goto(
            site.pages(
                path.format(e=project.experiment_id, empty=project.empty_id, report=site.report)
            )
        )
        page.get_by_text(text).first.wait_for()

    return show


def _tab(name: str) -> Callable[[Page, Site], None]:
    def show(page: Page, site: Site) -> None:
        page.goto(site.pages(f"/r/{site.project.best}/{name}"))
        panel = page.get_by_role("tabpanel")
        panel.locator(_TABS[name]).first.wait_for()
        if name == "charts":
            page.wait_for_function(_DRAWN, arg=3)
        if name == "files":
            page.get_by_text("per_class.csv").click()
        if name == "gradients":
            page.get_by_text("head.fc.weight").first.click()

    return show


def _stock(path: str, text: str) -> Callable[[Page, Site], None]:
    def show(page: Page, site: Site) -> None:
        _as_trainer(page, f"{site.server.address}/#/experiments/{site.project.experiment_id}/runs")
        of = path.format(e=site.project.experiment_id, r=site.project.best)
        page.goto(f"{site.server.address}/#{of}")
        page.get_by_text(text).first.wait_for()
        page.get_by_role("navigation", name="Weir").get_by_role("link").first.wait_for()

    return show


def _frame(page: Page, site: Site) -> None:
    _as_trainer(page, f"{site.server.address}/#/experiments/{site.project.experiment_id}/runs")
    page.goto(f"{site.server.address}/#/weir/e/{site.project.experiment_id}?v={site.view}")
    frame = page.frame_locator("[data-weir-frame]")
    frame.locator(".w-chart-lines").nth(2).wait_for()


def _as_trainer(page: Page, runs: str) -> None:
    """Have MLflow's page as who trains models has it, its assistant closed."""
    page.goto(runs)
    page.get_by_text("Model training", exact=True).first.click()
    page.get_by_role("button", name="Close").first.click()


def _share(page: Page, site: Site) -> None:
    _workspace(page, site)
    page.get_by_role("button", name="Share", exact=True).first.click()
    dialog = page.get_by_role("dialog")
    metrics = dialog.get_by_role("list", name="Metrics")
    for name in ("train/loss", "val/loss", "val/accuracy"):
        metrics.get_by_role("checkbox", name=name, exact=True).check()
    preview = dialog.frame_locator("iframe[title='Preview of the shared page']")
    preview.locator(".w-chart-lines").first.wait_for()


def _visibility(page: Page, site: Site) -> None:
    _workspace(page, site)
    page.get_by_role("button", name="Team").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name="Public").check()
    for name in ("val/accuracy", "val/loss"):
        dialog.get_by_role("checkbox", name=name, exact=True).check()
    page.wait_for_timeout(1_500)


def _shared(page: Page, site: Site) -> None:
    page.goto(f"{site.server.address}{site.links[0].path}")
    page.locator(".w-chart-lines").first.wait_for()


def _published(page: Page, site: Site) -> None:
    page.goto(site.published)
    page.locator(".w-chart-lines").first.wait_for()


def _insert(page: Page, site: Site) -> None:
    # One of its own: what is typed is saved.
    page.goto(site.pages(f"/reports/{_write_backbones(site.server, site.project)}/edit"))
    page.locator(".w-chart-lines").first.wait_for()
    page.get_by_role("textbox", name="The report").get_by_text("Each line is the mean").click()
    page.get_by_role("button", name="Insert", exact=True).click()
    page.get_by_role("menuitem", name="Charts and runs").wait_for()


def _demo(page: Page, site: Site) -> None:
    """Open MLflow's own page on what ``weir demo`` leaves."""
    address = _demo_runs(site.folder)
    _as_trainer(page, address)
    page.goto(f"{address}?compareRunsMode=CHART")
    page.locator(".js-plotly-plot").first.wait_for()


@functools.cache
def _demo_store(folder: Path) -> str:
    home = folder / "demo"
    words = [_WEIR, "demo", "--no-serve", "--home", str(home)]
    subprocess.run(words, check=True, cwd=folder)
    return f"sqlite+weir:///{home}/weir.db"


_started = contextlib.ExitStack()


@functools.cache
def _demo_runs(folder: Path) -> str:
    """Serve the demo's store; return the address of one experiment's runs."""
    store = _demo_store(folder)
    (folder / "of-demo").mkdir()
    spec = ServerSpec(
        ["server", "--backend-store-uri", store], folder / "of-demo", (browser.NO_JOBS,)
    )
    (server,) = _started.enter_context(start_servers(spec))
    path = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=demo-numpy"
    found = call(server, "GET", path).body["experiment"]["experiment_id"]
    return f"{server.address}/#/experiments/{found}/runs"


_GROUPED = "&g=params.model&gb=sd&cb="
PICTURES = {
    "home": Picture(_at("/", "flowers-sweep"), _LOW),
    "empty": Picture(_at("/e/{empty}", "No runs yet"), _LOW),
    "workspace": Picture(_workspace, _WIDE),
    "workspace-colours": Picture(_open_workspace("&cb=params.model")),
    "workspace-groups": Picture(_open_workspace(_GROUPED)),
    "workspace-table": Picture(_table),
    "workspace-panels": Picture(_panels, _WIDE),
    "full-screen": Picture(_full, points=True),
    "compare": Picture(_compare),
    "palette": Picture(_palette),
    **{f"run-{name}": Picture(_tab(name), _SIZES.get(name, _SIZE)) for name in _TABS},
    "alerts": Picture(_at("/alerts?e={e}", "vision team"), _LOW),
    "reports": Picture(_at("/reports", "Which backbone"), _LOW),
    "report": Picture(_at("/reports/{report}", "Which backbone"), _WIDE),
    "report-edit": Picture(_insert, _WIDE),
    "mlflow-frame": Picture(_frame, _WIDE),
    "mlflow-dock": Picture(_stock("/experiments/{e}/runs/{r}", "val/accuracy")),
    "share-dialog": Picture(_share, _WIDE),
    "share-public": Picture(_shared, user=None),
    "share-public-phone": Picture(_shared, browser.PHONE, user=None),
    "share-list": Picture(_at("/shared", "For the workshop paper"), _LOW),
    "visibility": Picture(_visibility, _WIDE),
    "teams": Picture(_at("/teams?e={e}", "grace"), {"width": 1280, "height": 540}),
    "teams-phone": Picture(_at("/teams?e={e}&tab=audit", "ada"), browser.PHONE),
    "publish": Picture(_published, user=None),
    "ui-runs": Picture(_demo, _WIDE, user=None),
}


def _ask(server: ServerProcess, path: str, body: dict[str, Any], user: User = _ADA) -> Any:
    answer = call(server, "POST", path, body, user=user)
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer}")
    return answer.body


def _make_people(server: ServerProcess, project: Project) -> None:
    for user in (_ADA, *_OTHERS):
        body = {"username": user.name, "password": user.password}
        _ask(server, "/api/2.0/mlflow/users/create", body, _ADMIN)
    for experiment_id, name, permission in (
        (project.experiment_id, "ada", "MANAGE"),
        (project.empty_id, "ada", "MANAGE"),
        (project.experiment_id, "grace", "EDIT"),
    ):
        of = {"resource_type": "experiment", "resource_id": experiment_id}
        body = {"username": name, "permission": permission, **of}
        _ask(server, "/api/3.0/mlflow/users/permissions/grant", body, _ADMIN)
    job = {"name": "nightly-train", "experiment_ids": [project.experiment_id]}
    _ask(server, f"{ROUTES}/accounts/create", {**job, "note": "the nightly sweep"}, _ADMIN)


def _make_view(server: ServerProcess, project: Project) -> str:
    body = {
        "experiments": [project.experiment_id],
        "name": _VIEW_NAME,
        "document": json.dumps(_VIEW),
    }
    saved = _ask(server, f"{ROUTES}/views/save", body)
    return f"{saved['id']}@{saved['revision']}"


def _make_alerts(server: ServerProcess, project: Project) -> None:
    target: dict[str, Any] = {"action": "add", "name": "vision team", "kind": "email"}
    target["recipients"] = ["vision@example.org"]
    target_id = _ask(server, f"{ROUTES}/alerts/targets/change", target, _ADMIN)["target"]["id"]
    rules: tuple[dict[str, Any], ...] = (
        {"kind": "crashed"},
        {"kind": "nan", "metric": "train/loss"},
        {"kind": "metric", "metric": "val/accuracy", "op": ">", "value": 0.93},
        {"kind": "silence", "seconds": 1_200},
    )
    for rule in rules:
        body = {"action": "add", "experiment_id": project.experiment_id, "targets": [target_id]}
        _ask(server, f"{ROUTES}/alerts/rules/change", {**body, **rule})


def _make_reports(server: ServerProcess, project: Project) -> str:
    """Write reports, and return the id of the one that is shown."""
    report_id, of = _write_backbones(server, project), project.experiment_id
    for user, said in (
        (_OTHERS[0], "Could the ResNets just need more epochs?"),
        (_ADA, "Yes: 40 epochs are queued for tonight."),
    ):
        comment = {"id": report_id, "action": "add", "text": said}
        _ask(server, f"{ROUTES}/reports/comments", comment, user)
    for user, title, words, is_published in (
        (_ADA, "Week 47: data loader", "Why GPUs waited, and what helped.", True),
        (_OTHERS[0], "Augmentation notes", "RandAugment against flips.", False),
    ):
        write_report(server, of, title, paragraph(words), user=user, is_published=is_published)
    return report_id


def _write_backbones(server: ServerProcess, project: Project) -> str:
    def text(*parts: str | dict[str, Any]) -> dict[str, Any]:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else part for part in parts
        ]
        return {"type": "paragraph", "content": content}

    def bold(words: str) -> dict[str, Any]:
        return {"type": "text", "text": words, "marks": [{"type": "bold"}]}

    def heading(words: str) -> dict[str, Any]:
        return {"type": "heading", "attrs": {"level": 2}, "content": text(words)["content"]}

    of = project.experiment_id
    report_id, _ = write_report(
        server,
        of,
        "Which backbone for flowers?",
        text(
            "Three backbones, four learning rates, two seeds each. ",
            bold("ConvNeXt at 1e-3 is best: 91 % on held-out images"),
            ", and the ResNets need twice the epochs to come near. All runs train for 20 epochs ",
            "with 5 of warm-up and a cosine after it.",
        ),
        heading("Curves"),
        text("Each line is the mean of a backbone's runs, the band one standard deviation."),
        panel(
            of,
            cards=[{"id": key, "keys": [key]} for key in ("val/accuracy", "val/loss")],
            runs={"filter": "status = 'FINISHED'", "groupBy": ["params.model"], "band": "sd"},
        ),
        heading("The best runs"),
        panel(
            of,
            "runs",
            columns=["metrics.val/accuracy:max", "metrics.val/loss:min", "params.lr"],
            runs={"order": ["-metrics.val/accuracy:max"], "most": 6},
        ),
        heading("What is next"),
        text("Label smoothing, and a longer warm-up for the ResNets at 3e-4."),
        user=_ADA,
    )
    return report_id


def _make_links(server: ServerProcess, project: Project) -> list[Link]:
    shown = {
        "metrics": ["train/loss", "val/accuracy", "val/loss"],
        "params": ["lr", "model"],
    }
    return [
        make_link(
            server,
            project.experiment_id,
            _ADA,
            kind="view",
            view=_VIEW,
            title=title,
            filter={},
            shown=shown,
            is_live=live,
        )
        for title, live in (("Flowers: the sweep", True), ("For the workshop paper", False))
    ]


@contextlib.contextmanager
def _published_pages(server: ServerProcess, project: Project, folder: Path) -> Iterator[str]:
    """Publish the sweep to a folder, and serve that as any static host does."""
    to = folder / "published"
    shown = ("metrics", "params.lr", "params.model")
    subprocess.run(
        [
            *(_WEIR, "publish", project.name, "--to", str(to)),
            *("--uri", server.address, "--title", "Flowers: the sweep"),
            *("--view", _VIEW_NAME),
            *(word for field in shown for word in ("--show", field)),
        ],
        check=True,
        env={
            **os.environ,
            "MLFLOW_TRACKING_USERNAME": _ADA.name,
            "MLFLOW_TRACKING_PASSWORD": _ADA.password,
        },
    )

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(to))
    host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=host.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{host.server_port}/"
    host.shutdown()
    host.server_close()


@contextlib.contextmanager
def _site(names: list[str]) -> Iterator[Site]:
    browser.build_pages()
    with tempfile.TemporaryDirectory() as name, _started:
        folder = Path(name)
        (folder / "databases").mkdir()
        database = SqliteFolder(folder / "databases").new_mlflow_database()
        store = WeirStore(database, "mlflow-artifacts:/")
        project = seed_project(store, folder / "artifacts")
        store.engine.dispose()
        config = folder / "auth.ini"
        config.write_text(
            "[mlflow]\ndefault_permission = READ\nauth_cache_ttl_seconds = 6000\n"
            f"database_uri = sqlite:///{folder}/auth.db\n"
            f"admin_username = {_ADMIN.name}\nadmin_password = {_ADMIN.password}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        spec = ServerSpec(
            [
                *("server", "--app-name", "basic-auth"),
                *("--backend-store-uri", database.replace("sqlite:", "sqlite+weir:")),
                *("--artifacts-destination", str(folder / "artifacts")),
            ],
            folder,
            (
                browser.NO_JOBS,
                ("MLFLOW_AUTH_CONFIG_PATH", str(config)),
                ("MLFLOW_FLASK_SERVER_SECRET_KEY", "for the pictures"),
            ),
        )
        with start_servers(spec) as (server,), contextlib.ExitStack() as stack:
            _make_people(server, project)
            view = _make_view(server, project)
            _make_alerts(server, project)
            report, links = _make_reports(server, project), _make_links(server, project)
            published = ""
            if "publish" in names:
                published = stack.enter_context(_published_pages(server, project, folder))
            yield Site(server, project, view, report, links, published, folder)


def _few_colours(taken: Image.Image) -> Image.Image:
    """Return a picture in 256 colours: its most frequent ones as they are, and some between.

    Strong colours have a share of their own: greys of text would leave a small dot none.
    """
    pixels = np.asarray(taken).reshape(-1, 3)
    colours, inverse, counts = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    by_count = np.argsort(-counts)
    is_strong = np.ptp(colours.astype(int), axis=1) > 60
    kept = np.unique(np.concatenate([by_count[:110], by_count[is_strong[by_count]][:70]]))
    exact, others = colours[kept], np.delete(colours, kept, axis=0)
    rest: list[int] = []
    if len(others):
        between = Image.fromarray(others[None].astype(np.uint8)).quantize(256 - len(exact))
        rest = (between.getpalette() or [])[: 3 * (256 - len(exact))]
    palette = np.concatenate([exact, np.array(rest, dtype=np.uint8).reshape(-1, 3)])
    # By all of a colour's bits, which Pillow's own search leaves some out of.
    nearest = np.concatenate(
        [
            ((some[:, None, :].astype(int) - palette[None].astype(int)) ** 2).sum(2).argmin(1)
            for some in np.array_split(colours, len(colours) // 4_096 + 1)
        ]
    )
    indices = nearest[inverse.reshape(-1)].astype(np.uint8)
    few = Image.fromarray(indices.reshape(taken.height, taken.width), "P")
    few.putpalette(palette.reshape(-1).tolist())
    return few


def _take(chromium: Any, site: Site, name: str, theme: str) -> None:
    picture = PICTURES[name]
    options: dict[str, Any] = {"viewport": picture.size, "color_scheme": theme}
    options["reduced_motion"] = "reduce"  # a dot that pulses is as it is at its brightest
    if picture.user is not None:
        options["http_credentials"] = {
            "username": picture.user.name,
            "password": picture.user.password,
        }
    context = browser.new_context(chromium, **options)
    page = context.new_page()
    # MLflow's own page minds its switch, not the system.
    is_dark = str(theme == "dark").lower()
    page.add_init_script(f"localStorage.setItem('_mlflow_dark_mode_toggle_enabled', '{is_dark}')")
    picture.show(page, site)
    if not picture.points:
        page.mouse.move(0, 0)
    # Until what fades in is there; MLflow's own page never rests.
    page.wait_for_timeout(3_000)
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    few = _few_colours(taken)
    few.save(_IMAGES / f"{name}-{theme}.png", optimize=True)
    print(f"{name}-{theme}.png", flush=True)


def _main(names: list[str]) -> None:
    with _site(names or list(PICTURES)) as site, sync_playwright() as playwright:
        path = browser.chromium_path()
        chromium = playwright.chromium.launch(executable_path=path, args=browser.FLAGS)
        for name in names or PICTURES:
            for theme in PICTURES[name].themes:
                try:
                    _take(chromium, site, name, theme)
                except Error as exc:  # the others may be there
                    print(f"{name}-{theme}: {exc.message.splitlines()[0]}", file=sys.stderr)
        chromium.close()


if __name__ == "__main__":
    _main(sys.argv[1:])
