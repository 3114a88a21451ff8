"""Take the pictures of the pages that the documentation shows: ``python docs/take_images.py``.

A real server with the runs that the tests of the pages look at, Chromium, both themes. With names
(``workspace run-code``) only those are taken. Pictures are kept in at most 256 colours.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

_ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT / "tests" / "support"))

from PIL import Image  # noqa: E402
from playwright.sync_api import Error, sync_playwright  # noqa: E402

import browser  # noqa: E402
from databases import SqliteFolder  # noqa: E402
from sharing import make_link  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

_IMAGES = _ROOT / "docs" / "images"
_SIZE = {"width": 1280, "height": 800}
_WIDE = {"width": 1500, "height": 950}
_ALL_DRAWN = """() => {
    const found = window.__weirCharts ? window.__weirCharts(false).charts : []
    return found.length >= 3 && found.every((chart) => chart.isComplete && chart.nDrawn > 0)
}"""
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


class Picture(NamedTuple):
    """One picture.

    Attributes:
        show: Brings a page to what is to be seen.
        size: Of the window.
        themes: Those it is taken in.
    """

    show: Callable[[Page, browser.Site], Any]
    size: dict[str, int] = _SIZE
    themes: tuple[str, ...] = ("light", "dark")


def _workspace(page: Page, site: browser.Site) -> None:
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    page.wait_for_function(_ALL_DRAWN)


def _colours(page: Page, site: browser.Site) -> None:
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}?cb=params.lr"))
    page.wait_for_function(_ALL_DRAWN)


def _palette(page: Page, site: browser.Site) -> None:
    _workspace(page, site)
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").fill("adam")
    page.get_by_role("listbox").get_by_role("option").first.wait_for()


def _home(page: Page, site: browser.Site) -> None:
    page.goto(site.pages("/"))
    page.get_by_role("main").get_by_role("link").first.wait_for()


def _tab(name: str) -> Callable[[Page, browser.Site], None]:
    def show(page: Page, site: browser.Site) -> None:
        page.goto(site.pages(f"/r/{site.rich.run_id}/{name}"))
        panel = page.get_by_role("tabpanel")
        panel.locator(_TABS[name]).first.wait_for()

    return show


def _frame(page: Page, site: browser.Site) -> None:
    page.goto(site.stock(f"/weir/r/{site.rich.run_id}/overview"))
    page.frame_locator("iframe").get_by_role("tabpanel").wait_for()


def _dock(page: Page, site: browser.Site) -> None:
    page.goto(site.stock(f"/experiments/{site.rich.experiment_id}/runs/{site.rich.run_id}"))
    page.get_by_role("link", name="Console").first.wait_for()


def _share(page: Page, site: browser.Site) -> None:
    _workspace(page, site)
    page.get_by_role("button", name="Share", exact=True).first.click()
    page.get_by_role("dialog").wait_for()


def _shared(page: Page, site: browser.Site) -> None:
    seen = {"metrics": ["train/accuracy", "train/loss", "val/loss"], "params": ["lr", "optimizer"]}
    link = make_link(
        site.server,
        site.sweep.experiment_id,
        title="A sweep of learning rates",
        filter={},
        shown=seen,
    )
    page.goto(f"{site.server.address}{link.path}")
    page.locator(".w-chart-lines").first.wait_for()


def _links(page: Page, site: browser.Site) -> None:
    for title in ("A sweep of learning rates", "For the paper"):
        make_link(site.server, site.sweep.experiment_id, title=title, filter={})
    page.goto(site.pages("/shared"))
    page.get_by_text("For the paper").first.wait_for()


PICTURES = {
    "home": Picture(_home),
    "workspace": Picture(_workspace, _WIDE),
    "workspace-colours": Picture(_colours),
    "palette": Picture(_palette),
    **{f"run-{name}": Picture(_tab(name)) for name in _TABS},
    "mlflow-frame": Picture(_frame),
    "mlflow-dock": Picture(_dock),
    "share-dialog": Picture(_share, _WIDE),
    "share-list": Picture(_links, _WIDE),
    "share-public": Picture(_shared, _WIDE),
    "share-public-phone": Picture(_shared, browser.PHONE, ("dark",)),
}


@contextlib.contextmanager
def _site() -> Iterator[browser.Site]:
    browser.build_pages()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        empty = SqliteFolder(folder / "empty").new_mlflow_database()
        with browser.serve_site(folder, empty) as site:
            yield site


def _take(chromium: Any, site: browser.Site, name: str, theme: str) -> None:
    picture = PICTURES[name]
    context = browser.new_context(chromium, viewport=picture.size, color_scheme=theme)
    page = context.new_page()
    # MLflow's own page minds its switch, not the system.
    is_dark = str(theme == "dark").lower()
    page.add_init_script(f"localStorage.setItem('_mlflow_dark_mode_toggle_enabled', '{is_dark}')")
    picture.show(page, site)
    page.mouse.move(0, 0)
    # Until what fades in is there; MLflow's own page never rests.
    page.wait_for_timeout(3_000)
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    few = taken.quantize(256, dither=Image.Dither.NONE)
    few.save(_IMAGES / f"{name}-{theme}.png", optimize=True)
    print(f"{name}-{theme}.png", flush=True)


def _main(names: list[str]) -> None:
    with _site() as site, sync_playwright() as playwright:
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
