"""A real Chromium on a real ``mlflow server`` on a seeded Weir store, for the tests of the pages.

A test takes ``page`` (a fresh browser context, as on a first visit) and ``site``. Whatever the
browser reports as an error while the test runs fails it; ``allow_errors`` names what is expected.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from tree import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from run_data import RichRuns
    from workspace_data import Sweep

WEB = ROOT / "ui_extensions" / "web"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"width": 1500, "height": 950}
PHONE = {"width": 390, "height": 844}
DEADLINE_S = 120.0
NO_JOBS = ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")


def chromium_path() -> str | None:
    """Return where the system's Chromium is; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def build_hook() -> Any:
    """Return the module that builds the pages; it is no part of the package."""
    spec = importlib.util.spec_from_file_location("build_hook", WEB / "build_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_pages() -> None:
    """Build the pages where a source changed."""
    build_hook().build_bundle()


@dataclass(frozen=True)
class Site:
    """A server with something to look at.

    Attributes:
        server: On a Weir store on SQLite, artifacts through the server.
        sweep: What is in its store (``workspace_data.seed_sweep``).
        rich: Runs with all a run page shows, in an experiment of their own (``run_data``).
    """

    server: ServerProcess
    sweep: Sweep
    rich: RichRuns

    def pages(self, path: str = "") -> str:
        """Return the address of one of our pages."""
        return f"{self.server.address}/weir{path}"

    def stock(self, path: str = "") -> str:
        """Return the address of a place of MLflow's page, such as ``/experiments``."""
        return f"{self.server.address}/#{path}"


@pytest.fixture(scope="session")
def pages_are_built() -> None:
    """Build the pages once."""
    build_pages()


@contextlib.contextmanager
def serve_site(folder: Path, empty: str) -> Iterator[Site]:
    """Run a server on a seeded store until the block ends.

    Args:
        folder: Of all its files.
        empty: The URL of an SQLite database with MLflow's tables, which is copied.
    """
    from mlflow_weir.store.tracking_store import WeirStore
    from run_data import seed_rich_runs
    from workspace_data import seed_sweep

    shutil.copy(empty.removeprefix("sqlite:///"), folder / "mlflow.db")
    database = f"sqlite:///{folder}/mlflow.db"
    store = WeirStore(database, "mlflow-artifacts:/")
    sweep = seed_sweep(store)
    rich = seed_rich_runs(store, folder / "artifacts")
    store.engine.dispose()
    spec = ServerSpec(
        [
            *("server", "--backend-store-uri", database.replace("sqlite:", "sqlite+weir:")),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        folder,
        (NO_JOBS, ("WEIR_ALERT_HOSTS", "127.0.0.1")),
    )
    with start_servers(spec) as (server,):
        yield Site(server, sweep, rich)


@pytest.fixture(scope="session")
def site(
    pages_are_built: None,
    sqlite_folder: DatabaseServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Run a server on a seeded store for the whole session."""
    # A copy of its own: what else there is in that folder comes and goes with other tests.
    with serve_site(tmp_path_factory.mktemp("site"), sqlite_folder.new_mlflow_database()) as found:
        yield found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium once."""
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    if path is None:
        pytest.skip("missing component: chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class BrowserErrors:
    """What a page complained about: errors on the console, exceptions, failed requests."""

    seen: list[str]
    allowed: list[str]

    def unexpected(self) -> list[str]:
        """Return those that the test does not expect."""
        return [
            error for error in self.seen if not any(re.search(one, error) for one in self.allowed)
        ]


def watch(page: Page, errors: BrowserErrors) -> None:
    """Note every error of a page."""

    def note_console(message: Any) -> None:
        if message.type == "error":
            errors.seen.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", note_console)
    page.on("pageerror", lambda error: errors.seen.append(f"uncaught: {error}"))


@pytest.fixture
def browser_errors() -> BrowserErrors:
    """What the test's pages complained about."""
    return BrowserErrors([], [])


@pytest.fixture
def allow_errors(browser_errors: BrowserErrors) -> Callable[[str], None]:
    """Expect errors of the browser that match a pattern."""
    return browser_errors.allowed.append


def new_context(chromium: Browser, **options: Any) -> BrowserContext:
    """Return a new browser context, as on a first visit, with Playwright's options."""
    context = chromium.new_context(**{"viewport": WIDE, **options})
    # A loaded machine, and MLflow's own page takes seconds.
    context.set_default_timeout(60_000)
    return context


@pytest.fixture
def open_page(chromium: Browser, browser_errors: BrowserErrors) -> Iterator[Callable[..., Page]]:
    """Open pages, each in a context of its own, with Playwright's options for contexts."""
    contexts = []

    def open_one(**options: Any) -> Page:
        context = new_context(chromium, **options)
        contexts.append(context)
        page = context.new_page()
        watch(page, browser_errors)
        context.on("page", lambda other: watch(other, browser_errors) if other != page else None)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert browser_errors.unexpected() == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """Open a wide page in the light theme."""
    opened: Page = open_page(color_scheme="light")
    return opened


def poll(page: Page, check: Callable[[], Any]) -> Any:
    """Return what ``check`` returns once that is something; until then it may fail as well."""
    give_up = time.monotonic() + DEADLINE_S
    while True:
        try:
            if found := check():
                return found
        except (AssertionError, LookupError, TypeError, ValueError):  # it is not there yet
            if time.monotonic() > give_up:
                raise
        assert time.monotonic() < give_up, check
        page.wait_for_timeout(100)


def own_view(page: Page) -> str:
    """Return what the server keeps of this browser's own view."""
    stored: str = page.evaluate(
        """async () => {
            const experiments = [location.pathname.split("/").at(-1)]
            const answer = await fetch(new URL("../../ajax-api/3.0/weir/views", location.href), {
                method: "POST", headers: {"Content-Type": "application/json"},
                body: JSON.stringify({experiments, browser: localStorage.getItem("weir.browser")}),
            })
            return (await answer.json()).personal?.document ?? ""
        }"""
    )
    return stored


def axe_violations(page: Page, within: str = "html") -> list[str]:
    """Return what axe-core finds wrong with what is shown, one line a rule and place."""
    source = (WEB / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    # Through the debugger, as the pages' policy lets no script in.
    page.evaluate(f"() => {{ {source}\n }}")
    found = page.evaluate(
        """async (within) => {
            const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
            const { violations } = await window.axe.run(within, { runOnly: tags })
            return violations.flatMap(({ id, nodes }) =>
                nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`))
        }""",
        within,
    )
    return list(found)
