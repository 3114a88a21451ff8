"""The list of runs in a workspace, in a real browser on a real server.

What is shown is held against what MLflow's own client returns from the same server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run

from browser import PHONE, Site, axe_violations, own_view, poll
from drawn import chart

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

SETTLE_MS = 60_000


@pytest.fixture
def client(site: Site, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    # What it writes has to be there when it returns.
    monkeypatch.setenv("WEIR_CLIENT", "off")
    return MlflowClient(site.server.address)


class List:
    """The list on a page."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def open(self, site: Site, query: str = "", experiment_id: str | None = None) -> None:
        shown = experiment_id or site.sweep.experiment_id
        self.page.goto(site.pages(f"/e/{shown}{query}"))
        self.page.get_by_role("heading", name="Workspace").wait_for()
        handle = self.page.locator(".w-runs-handle button, .w-runs").first
        handle.wait_for()
        if handle.evaluate("(one) => one.tagName") == "BUTTON":  # a phone's sheet
            handle.click()
        # Its head is there with it, on a phone a moment after the click.
        self.page.locator(".w-runs").wait_for()
        table = self.page.get_by_role("button", name="Show as a table")
        if table.count() and table.get_attribute("aria-pressed") == "false":
            table.click()
        self.page.locator("[role=grid], [role=treegrid], .w-state").first.wait_for()

    def wait(self, expression: str, argument: Any = None) -> None:
        self.page.wait_for_function(expression, arg=argument, timeout=SETTLE_MS)

    def expect_counts(self, n_matching: int) -> None:
        self.wait(
            "n => document.querySelector('.w-eye-counts')?.innerText.includes(`of ${n}`)",
            n_matching,
        )

    def expect_names(self, names: list[str]) -> None:
        """Wait until the list's first rows are these."""
        self.wait(
            """names => {
                const rows = [...document.querySelectorAll('.w-run-row:not(.w-group-row)')]
                const at = (row) => Number(row.getAttribute('aria-rowindex'))
                rows.sort((a, b) => at(a) - at(b))
                const found = rows.map((row) => row.querySelector('.w-run-name')?.title)
                return names.every((name, n) => found[n] === name)
            }""",
            names,
        )

    def row(self, name: str) -> Any:
        return self.page.get_by_role("row").filter(has=self.page.get_by_title(name, exact=True))

    def cell(self, name: str, column: str) -> str:
        """Return the exact text of a cell, which is its title."""
        at = heads(self.page).index(column)
        found = self.row(name).get_by_role("gridcell").nth(at).get_attribute("title")
        return str(found)

    def expect_cell(self, name: str, column: str, text: str) -> None:
        """Wait until a cell says this."""
        poll(self.page, lambda: self.cell(name, column) == text)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture
def shown(page: Any) -> List:
    return List(page)


def plain_names(runs: list[Run]) -> list[str]:
    """Return names up to the first that is shown escaped or cut."""
    found = []
    for run in runs:
        name = str(run.info.run_name)
        if not re.fullmatch(r"[\w.-]{1,40}", name):
            break
        found.append(name)
    return found[:20]


def test_the_list_shows_what_mlflows_client_returns(
    site: Site, client: MlflowClient, shown: List
) -> None:
    runs = client.search_runs([site.sweep.experiment_id], max_results=1_000)
    shown.open(site)
    shown.expect_counts(len(runs))
    names = plain_names(runs)
    assert len(names) > 5
    shown.expect_names(names)
    for run in runs[:5]:
        value = run.data.metrics.get("train/loss")
        loss = "" if value is None else str(value)
        name, optimizer = str(run.info.run_name), run.data.params["optimizer"]
        # A row is there before its cells are.
        shown.expect_cell(name, "optimizer", optimizer)
        shown.expect_cell(name, "train/loss", loss)


def test_a_filter_finds_what_mlflow_finds(
    site: Site, client: MlflowClient, shown: List, allow_errors: Callable[[str], None]
) -> None:
    allow_errors("400")  # the browser says so of a filter that cannot be read
    page = shown.page
    shown.open(site)
    both = "params.lr = '0.1' and params.optimizer = 'adam'"
    page.get_by_role("button", name="Filter").click()
    text = page.get_by_label("As text")
    text.fill(both)
    expected = client.search_runs([site.sweep.experiment_id], both, max_results=1_000)
    shown.expect_counts(len(expected))
    shown.expect_names(plain_names(expected))
    # Either, as the builder has it; the union of what MLflow finds for each.
    page.get_by_role("button", name="Any of").first.click()
    either = {
        run.info.run_id
        for part in both.split(" and ")
        for run in client.search_runs([site.sweep.experiment_id], part, max_results=1_000)
    }
    shown.expect_counts(len(either))
    poll(page, lambda: text.input_value() == both.replace(" and ", " or "))
    # A condition more, of the builder.
    page.get_by_role("button", name="Condition", exact=True).click()
    shown.wait("() => document.querySelectorAll('.w-filter-condition').length === 3")
    # A fault is told with its place, and the last good list stays.
    text.fill("params.lr = '0.1' and params.lr >")
    alert = page.get_by_role("alert").filter(has_text="expected a value")
    alert.wait_for()
    assert "^" in alert.inner_text()
    page.get_by_role("button", name="Clear").click()
    shown.expect_counts(len(site.sweep.run_ids))
    shown.wait("() => !location.search.includes('f=')")


def test_names_are_searched_by_pattern(site: Site, client: MlflowClient, shown: List) -> None:
    page = shown.page
    shown.open(site)
    runs = client.search_runs([site.sweep.experiment_id], max_results=1_000)
    shown.press("/")
    page.keyboard.type("ADAM-lr0.1")
    plain = [r for r in runs if "adam-lr0.1" in str(r.info.run_name).lower()]
    shown.expect_counts(len(plain))
    page.get_by_role("button", name="Search by regular expression").click()
    page.get_by_role("textbox", name="Search runs by pattern", exact=True).fill("^sgd-.*-s[02]$")
    found = [r for r in runs if re.search("^sgd-.*-s[02]$", str(r.info.run_name))]
    assert found
    shown.expect_counts(len(found))
    page.reload()
    shown.expect_counts(len(found))


def test_orders_by_the_smallest_value_ever_logged(
    site: Site, client: MlflowClient, shown: List
) -> None:
    page = shown.page
    shown.open(site)
    page.get_by_role("button", name="Sort").click()
    page.get_by_label("Sort by").select_option(label="train/loss (min)")
    runs = {
        run.info.run_id: run
        for run in client.search_runs([site.sweep.experiment_id], max_results=1_000)
    }
    low = {}
    for run_id in runs:
        values = [p.value for p in client.get_metric_history(run_id, "train/loss")]
        numbers = [value for value in values if value == value]
        if numbers:
            low[run_id] = min(numbers)
    best = sorted(low, key=lambda run_id: low[run_id])
    shown.expect_names(plain_names([runs[run_id] for run_id in best])[:3])


def values_of(client: MlflowClient, site: Site, key: str) -> dict[str, list[float]]:
    """Return all numbers of a metric that runs logged, by name, of those with plain names."""
    found = {}
    for run in client.search_runs([site.sweep.experiment_id], max_results=1_000):
        name = str(run.info.run_name)
        if key in run.data.metrics and re.fullmatch(r"[\w.-]{1,40}", name):
            history = client.get_metric_history(run.info.run_id, key)
            found[name] = [m.value for m in history if m.value == m.value]
    return found


def test_the_best_of_a_metric_is_a_column_a_sort_key_and_a_filter(
    site: Site, client: MlflowClient, shown: List
) -> None:
    page, key = shown.page, "val/accuracy"
    shown.open(site)
    # Higher is better by its name.
    logged = values_of(client, site, key)
    highest = {name: max(values) for name, values in logged.items()}
    latest = {name: values[-1] for name, values in logged.items()}
    assert all(highest[name] >= value for name, value in latest.items())
    assert highest != latest
    page.get_by_role("button", name="Columns").click()
    page.get_by_label(f"Which value of {key}").select_option("best")
    page.keyboard.press("Escape")
    poll(page, lambda: f"{key} (max)" in heads(page))
    page.get_by_role("button", name="Sort").click()
    page.get_by_label("Sort by").select_option(label=f"{key} (best first)")
    page.keyboard.press("Escape")
    best = sorted(highest, key=lambda name: -highest[name])
    assert best[:5] != sorted(latest, key=lambda name: -latest[name])[:5]
    shown.expect_names(best[:5])
    for name in best[:5]:
        shown.expect_cell(name, f"{key} (max)", str(highest[name]))
    order = "new URLSearchParams(location.search).get('o')"
    poll(page, lambda: page.evaluate(order) == f"-metrics.{key}:max")
    # As a condition of the builder, and in words.
    page.get_by_role("button", name="Filter", exact=True).click()
    page.locator(".w-filter").get_by_role("button", name="Condition", exact=True).click()
    page.get_by_label("Kind").last.select_option("metrics")
    field = page.locator(".w-filter").get_by_label("Key", exact=True).last
    field.fill(key)
    field.press("Enter")
    page.get_by_label("Which value", exact=True).last.select_option("best")
    page.get_by_label("Comparison").last.select_option(">=")
    limit = highest[best[9]]
    value = page.locator(".w-filter").get_by_label("Value", exact=True).last
    value.fill(str(limit))
    value.press("Enter")
    # Names that nobody should give are among the sweep's runs, too: these are all of a page's.
    text = page.get_by_role("textbox", name="As text")
    poll(page, lambda: text.input_value() == f"max(metrics.{key}) >= {limit}")
    shown.expect_names(best[:10])
    shown.wait("n => document.querySelectorAll('.w-run-row').length <= n", 10 + 7)
    # Smallest and latest are others.
    logged = values_of(client, site, "val/loss")
    lowest = {name: min(values) for name, values in logged.items()}
    latest = {name: values[-1] for name, values in logged.items()}
    for field_, of in (("min(metrics.`val/loss`)", lowest), ("metrics.`val/loss`", latest)):
        most = sorted(of.values())[4]
        text.fill(f"{field_} <= {most}")
        matching = {name for name, value in of.items() if value <= most}

        def are_listed(matching: set[str] = matching) -> bool:
            titles = page.locator(".w-run-name").evaluate_all("all => all.map((o) => o.title)")
            return {t for t in titles if re.fullmatch(r"[\w.-]{1,40}", t)} == matching

        poll(page, are_listed)


def test_deltas_are_to_the_baseline(site: Site, client: MlflowClient, shown: List) -> None:
    runs = client.search_runs([site.sweep.experiment_id], max_results=1_000)
    base = next(run for run in runs if run.info.run_name == "sgd-lr0.1-s2")
    shown.open(site, f"?base={base.info.run_id}")
    page, keys = shown.page, ("train/loss", "val/accuracy")

    def is_delta(name: str, key: str, wanted: str) -> bool:
        return delta(name, key) == wanted

    def delta(name: str, key: str) -> str:
        heads_ = heads(page)
        cell = shown.row(name).get_by_role("gridcell").nth(heads_.index(key))
        return " ".join(cell.locator(".w-run-delta").all_inner_texts())

    others = [r for r in runs[:8] if r.data.metrics and r.info.run_id != base.info.run_id]
    assert len(others) > 4
    for run in others:
        for key in keys:
            share = 100 * (run.data.metrics[key] / base.data.metrics[key] - 1)
            wanted = f"{'▲' if share > 0 else '▼'} {float(f'{abs(share):.2g}'):g} %"
            poll(page, partial(is_delta, str(run.info.run_name), key, wanted))
    assert delta(str(base.info.run_name), keys[0]) == ""
    # What is worse is said by colour as well: a larger loss, a smaller accuracy.
    worse = {
        run.info.run_name
        for run in others
        if run.data.metrics[keys[0]] > base.data.metrics[keys[0]]
    }
    for run in others:
        cell = (
            shown.row(str(run.info.run_name))
            .get_by_role("gridcell")
            .nth(heads(page).index(keys[0]))
        )
        marked = cell.locator(".w-run-delta").get_attribute("class") or ""
        assert ("w-run-worse" in marked) == (run.info.run_name in worse)


def test_several_experiments_are_one_list_and_one_set_of_charts(
    site: Site, client: MlflowClient, shown: List, own_experiment: str
) -> None:
    page = shown.page
    client.log_metric(client.search_runs([own_experiment])[0].info.run_id, "train/loss", 2.0)
    both = [site.sweep.experiment_id, own_experiment]
    runs = list(client.search_runs(both, max_results=1_000))
    shown.open(site, experiment_id=",".join(both))
    shown.expect_counts(len(runs))
    shown.expect_names(["mine 2", "mine 1", "mine 0", *plain_names(runs[3:])[:3]])
    page.get_by_role("button", name="Back to the charts").click()

    def is_drawn(having: set[str]) -> bool:
        return drawn_runs(page, "train/loss") == having

    # Failed and killed runs leave list and charts.
    for is_hidden in (False, True):
        if is_hidden:
            page.get_by_role("button", name="Filter", exact=True).click()
            page.get_by_role("checkbox", name="Hide failed and killed runs").check()
            page.keyboard.press("Escape")
            runs = [r for r in runs if r.info.status not in {"FAILED", "KILLED"}]
        shown.expect_counts(len(runs))
        having = {r.info.run_id for r in runs if "train/loss" in r.data.metrics}
        poll(page, partial(is_drawn, having))
    assert len(having) == 1 + sum(r.info.experiment_id == both[0] for r in runs if r.data.metrics)


def drawn_runs(page: Any, key: str) -> set[str]:
    """Return the runs whose lines are on a chart."""
    lines = chart(page, key, with_values=True)["lines"]
    return {line["runId"] for line in lines if line["painted"] >= 0}


def test_columns_are_added_moved_and_hidden(site: Site, client: MlflowClient, shown: List) -> None:
    page = shown.page
    shown.open(site)
    page.get_by_role("columnheader", name="optimizer").wait_for()
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("textbox", name="Find a column to add", exact=True).fill("seed")
    page.get_by_role("button", name="seed param").click()
    page.get_by_label("Which value of val/accuracy").select_option("max")
    page.get_by_role("button", name="Move seed to the left").click()
    page.get_by_role("button", name="Hide amp").click()

    def are_arranged() -> bool:
        names = heads(page)
        return names[-2] == "seed" and "amp" not in names and "val/accuracy (max)" in names

    poll(page, are_arranged)
    run = client.search_runs([site.sweep.experiment_id], max_results=1)[0]
    history = client.get_metric_history(run.info.run_id, "val/accuracy")
    page.keyboard.press("Escape")
    shown.wait(
        """([name, value]) => [...document.querySelectorAll('.w-run-row')].some((row) =>
            row.querySelector('.w-run-name')?.title === name &&
            [...row.querySelectorAll('.w-run-cell')].some((cell) => cell.title === value))""",
        [str(run.info.run_name), str(max(point.value for point in history))],
    )


def heads(page: Any) -> list[str]:
    """Return the titles of the columns, from the left, whole where what is seen is cut."""
    buttons = page.get_by_role("columnheader").get_by_role("button")
    titles = buttons.evaluate_all("all => all.map((one) => one.title)")
    return [str(title).partition(": sort")[0] for title in titles]


def test_columns_are_moved_by_keys_and_by_dragging(site: Site, shown: List) -> None:
    page = shown.page
    shown.open(site)
    head = page.get_by_role("columnheader", name="optimizer")
    head.wait_for()
    before = heads(page)
    at = before.index("optimizer")
    # One stop of Tab for all heads, arrows between them.
    page.get_by_role("columnheader", name="Name").get_by_role("button").focus()
    shown.press(*["ArrowRight"] * at)
    shown.wait(
        "() => document.activeElement.closest('[data-column]')?.dataset.column === "
        "'params.optimizer'"
    )
    shown.press("Alt+ArrowLeft", "Alt+ArrowLeft", "Shift+ArrowRight")
    page.get_by_text(f"optimizer, column {at - 2} of {len(before) - 1}").wait_for()
    moved = [*before[: at - 2], "optimizer", *before[at - 2 : at], *before[at + 1 :]]
    poll(page, lambda: heads(page) == moved)
    poll(page, lambda: head.bounding_box()["width"] == 136)
    start, target = head.bounding_box(), page.get_by_role("columnheader", name="Started")
    to = target.bounding_box()
    page.mouse.move(start["x"] + 30, start["y"] + 10)
    page.mouse.down()
    page.mouse.move(to["x"] + 60, to["y"] + 10, steps=4)
    page.mouse.move(to["x"] + 12, to["y"] + 10, steps=2)
    page.locator(".w-head-before").wait_for()
    page.mouse.up()
    poll(page, lambda: heads(page)[:3] == ["Name", "optimizer", "Started"])
    assert head.get_attribute("aria-sort") == "none"  # to drag is not to click
    shown.press("Control+z")
    poll(page, lambda: heads(page)[1] == "Started")


def test_runs_are_coloured_by_a_param(site: Site, client: MlflowClient, shown: List) -> None:
    page = shown.page
    shown.open(site)
    shown.press("Control+k")
    page.keyboard.type("colour")
    page.get_by_role("option", name="Colour runs").wait_for()
    shown.press("Enter")
    page.get_by_label("Colour by").select_option(label="lr")
    shown.press("Escape")
    legend = page.get_by_role("list", name="Colours by lr")
    legend.wait_for()
    runs = client.search_runs([site.sweep.experiment_id], max_results=1_000)
    by_value: dict[str, int] = {}
    for run in runs:
        by_value[run.data.params["lr"]] = by_value.get(run.data.params["lr"], 0) + 1

    def legend_words() -> list[list[str]]:
        return [text.split() for text in legend.get_by_role("button").all_inner_texts()]

    poll(page, lambda: {value: int(n) for value, n in legend_words()} == by_value)
    said = legend_words()
    assert [float(value) for value, _ in said] == sorted(map(float, by_value))
    shown.wait(
        """runs => {
            const colourOf = (row) =>
                row.querySelector('.w-run-dot').style.getPropertyValue('--w-run')
            const seen = new Map()
            for (const row of document.querySelectorAll('.w-run-row')) {
                const lr = runs[row.querySelector('.w-run-name')?.title]
                if (lr === undefined) continue
                if (!seen.has(lr)) seen.set(lr, new Set())
                seen.get(lr).add(colourOf(row))
            }
            const all = [...seen.values()]
            return all.length > 1 && all.every((one) => one.size === 1) &&
                new Set(all.map((one) => [...one][0])).size === all.length
        }""",
        {str(run.info.run_name): run.data.params["lr"] for run in runs},
    )
    legend.get_by_role("button").first.click()
    n = len(runs) - by_value[said[0][0]]
    shown.wait("n => document.querySelector('.w-eye-counts').innerText.startsWith(`${n} of`)", n)
    shown.wait("() => location.search.includes('cb=params.lr')")
    assert axe_violations(page) == []


def test_the_palette_leads_anywhere_by_keys(site: Site, client: MlflowClient, shown: List) -> None:
    page = shown.page
    shown.open(site)
    (run,) = client.search_runs(
        [site.sweep.experiment_id], "attributes.run_name = 'adam-lr0.01-s2'"
    )

    def call(text: str, option: str) -> None:
        shown.press("Control+k")
        page.get_by_role("combobox").last.press_sequentially(text)
        box = page.get_by_role("listbox")
        box.get_by_role("option", name=option).first.wait_for()

        def is_chosen() -> bool:
            if option in box.get_by_role("option", selected=True).inner_text():
                return True
            shown.press("ArrowDown")
            return False

        poll(page, is_chosen)
        shown.press("Enter")

    call("train/los", "train/loss")
    page.get_by_role("article", name="train/loss", exact=True).first.wait_for()
    page.get_by_role("article", name="val/loss", exact=True).first.wait_for(state="detached")
    shown.press("Control+k")
    page.get_by_role("listbox").get_by_role("option").nth(3).wait_for()
    assert axe_violations(page) == []
    shown.press("Escape")
    page.get_by_role("dialog", name="Go to").wait_for(state="detached")
    call("lr0.01-s2", "adam-lr0.01-s2")
    page.wait_for_url(f"**/r/{run.info.run_id}/overview")
    page.get_by_role("region", name="About").wait_for()
    call("console of", "Console of this run")
    page.wait_for_url(f"**/r/{run.info.run_id}/console")
    call("rich", "rich runs")
    page.wait_for_url(f"**/e/{site.rich.experiment_id}")


def test_groups_have_means_and_open_to_their_runs(
    site: Site, client: MlflowClient, shown: List
) -> None:
    page = shown.page
    shown.open(site)
    page.get_by_role("button", name="Group").click()
    page.get_by_label("Group by").select_option(label="optimizer")
    page.keyboard.press("Escape")
    page.get_by_role("row").filter(has=page.get_by_title("adamw", exact=True)).first.wait_for()
    runs = client.search_runs([site.sweep.experiment_id], "params.optimizer = 'adamw'")
    values = [run.data.metrics["val/accuracy"] for run in runs if run.data.metrics]
    mean = sum(values) / len(values)
    row = page.get_by_role("row").filter(has=page.get_by_title("adamw", exact=True)).first
    poll(page, lambda: f"{float(f'{mean:.3g}'):g} ±" in row.inner_text())
    page.get_by_role("button", name="Open adamw").click()
    first = plain_names(runs)[0]
    shown.row(first).wait_for()
    # The eye of the group is the eye of all its runs.
    page.get_by_role("button", name="Draw the runs of adamw").click()
    shown.wait(
        "n => document.querySelector('.w-eye-counts').innerText.startsWith(`${n} of`)",
        len(site.sweep.run_ids) - len(runs),
    )


def test_pins_the_baseline_and_solo_by_keyboard(site: Site, shown: List) -> None:
    page = shown.page
    shown.open(site)
    shown.expect_counts(len(site.sweep.run_ids))
    page.get_by_role("grid").focus()
    shown.press("j", "j", "b", "j", "p", "Space")
    page.locator(".w-run-delta").first.wait_for()
    for key, start in (("eye", "all,-"), ("base", ""), ("pin", "")):
        shown.wait(
            "([key, start]) => new URLSearchParams(location.search).get(key)?.startsWith(start)",
            [key, start],
        )
    query = page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
    assert re.fullmatch("[0-9a-f]{32}", query["base"])
    assert re.fullmatch("[0-9a-f]{32}", query["pin"])
    page.get_by_role("row").nth(1).get_by_title("Pinned").wait_for()
    # Three undone, one after the other.
    shown.press("Control+z", "Control+z", "Control+z")
    shown.wait("() => location.search === ''")
    shown.press("Control+Shift+z")
    shown.wait("() => location.search.startsWith('?base=')")
    shown.press("Control+z", "s")
    shown.wait("() => document.querySelector('.w-eye-counts').innerText.startsWith('1 of')")
    shown.press("a")
    n = len(site.sweep.run_ids)
    shown.wait("n => document.querySelector('.w-eye-counts').innerText.startsWith(`${n} of`)", n)


def test_ones_own_view_saves_itself_and_a_link_shows_it(
    site: Site, open_page: Callable[..., Any]
) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    shown = List(page)
    shown.open(site)
    started = page.get_by_role("columnheader", name="Started")
    started.get_by_role("button").click()
    poll(page, lambda: started.get_attribute("aria-sort") == "descending")
    started.get_by_role("button").click()
    poll(page, lambda: started.get_attribute("aria-sort") == "ascending")
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("button", name="Hide Duration").click()
    page.keyboard.press("Escape")
    poll(page, lambda: "Duration" not in heads(page))

    def is_saved() -> bool:
        kept = json.loads(own_view(page))
        columns = [column["name"] for column in kept["columns"]]
        return (
            kept["order"] == ["attributes.start_time"]
            and "attributes.start_time" in columns
            and "attributes.duration" not in columns
        )

    poll(page, is_saved)
    # Without the query: what comes back was saved.
    shown.open(site)
    shown.wait("() => location.search.includes('o=')")
    poll(page, lambda: "Started" in heads(page) and "Duration" not in heads(page))
    # Another browser has a workspace of its own, and sees this one by its link.
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("is copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{site.server.address}/#/weir/e/{site.sweep.experiment_id}?st=")
    other = List(open_page())
    other.open(site)
    other.page.get_by_role("columnheader", name="Duration").wait_for()
    head = other.page.get_by_role("columnheader", name="Started")
    assert head.get_attribute("aria-sort") == "none"
    other.open(site, link[link.index("?") :])
    other.page.get_by_role("button", name="View: From a link").wait_for()
    poll(page, lambda: head.get_attribute("aria-sort") == "ascending")
    poll(page, lambda: "Duration" not in heads(other.page))


def test_a_named_view_changes_only_when_it_is_saved(
    site: Site, shown: List, open_page: Callable[..., Any]
) -> None:
    page = shown.page
    shown.open(site)
    page.get_by_role("textbox", name="Search runs", exact=True).fill("adamw")
    page.get_by_role("button", name="View: My workspace").click()
    page.get_by_role("menuitem", name="Save as a named view").click()
    page.get_by_role("textbox", name="Name").fill("<b>LR</b> sweep")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="View: <b>LR</b> sweep").wait_for()
    shown.wait("() => location.search.includes('v=')")
    named = page.evaluate("new URLSearchParams(location.search).get('v')")
    page.get_by_role("textbox", name="Search runs", exact=True).fill("sgd")
    page.get_by_role("button", name=re.compile("sweep.*changed")).wait_for()
    # Who opens it sees it as it was saved; after Save there is another revision.
    other = List(open_page())
    other.open(site, f"?v={named}")
    field = other.page.get_by_role("textbox", name="Search runs", exact=True)
    poll(page, lambda: field.input_value() == "adamw")
    page.get_by_role("button", name="View: <b>LR</b> sweep").click()
    page.get_by_role("menuitem", name="Save", exact=True).click()
    shown.wait("() => new URLSearchParams(location.search).get('v')?.endsWith('@2')")
    other.page.reload()
    poll(page, lambda: field.input_value() == "adamw")


@pytest.fixture
def own_experiment(client: MlflowClient) -> str:
    """Make an experiment with three runs that a test may change."""
    name = f"changed {mlflow.utils.time.get_current_time_millis()}"
    experiment_id = client.create_experiment(name)
    for number in range(3):
        run = client.create_run(experiment_id, run_name=f"mine {number}")
        client.log_metric(run.info.run_id, "loss", number)
        client.set_terminated(run.info.run_id)
    return experiment_id


def test_many_runs_are_tagged_deleted_restored_and_moved(
    site: Site, client: MlflowClient, shown: List, own_experiment: str
) -> None:
    page = shown.page
    shown.open(site, experiment_id=own_experiment)
    shown.expect_counts(3)
    page.get_by_role("checkbox", name="Select mine 2").click()
    page.get_by_role("checkbox", name="Select mine 1").click()
    page.get_by_role("toolbar").get_by_role("button", name="Tag", exact=True).click()
    page.get_by_label("Tag", exact=True).fill("team")
    page.get_by_label("Value").fill("vision")
    page.get_by_role("button", name="Tag 2").click()
    page.get_by_text("2 runs tagged").wait_for()
    tagged = client.search_runs([own_experiment], "tags.team = 'vision'")
    assert {run.info.run_name for run in tagged} == {"mine 1", "mine 2"}
    page.get_by_role("button", name="Delete them").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("2 runs deleted").wait_for()
    shown.expect_counts(1)
    assert len(client.search_runs([own_experiment])) == 1
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    shown.expect_counts(3)
    assert len(client.search_runs([own_experiment])) == 3
    other = client.create_experiment(f"other of {own_experiment}")
    page.get_by_role("checkbox", name="Select mine 2").click()
    page.get_by_role("toolbar").get_by_role("button", name="Move", exact=True).click()
    page.get_by_role("combobox", name="Experiment").fill(f"other of {own_experiment}")
    other_one = page.get_by_role("option", name=f"other of {own_experiment}")
    other_one.get_by_text("No login").wait_for()  # who sees it, where its name is
    other_one.click()
    assert axe_violations(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Move", exact=True).click()
    page.get_by_text("1 run moved").wait_for()
    shown.expect_counts(2)
    (moved,) = client.search_runs([other])
    assert (moved.info.run_name, moved.data.metrics) == ("mine 2", {"loss": 2.0})
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    shown.expect_counts(3)
    assert client.search_runs([other]) == []


def test_name_notes_and_tags_are_edited_in_place(
    site: Site, client: MlflowClient, shown: List, own_experiment: str
) -> None:
    page = shown.page
    shown.open(site, experiment_id=own_experiment)
    shown.expect_counts(3)
    page.get_by_role("grid").focus()
    shown.press("j", "m")
    page.get_by_role("menuitem", name="Name, notes and tags").click()
    page.get_by_label("Name", exact=True).fill("renamed <i>")
    page.get_by_label("Notes (Markdown)").fill("# Why\nit works")
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_label("Tag", exact=True).fill("stage")
    page.get_by_label("Value of stage").fill("final")
    page.get_by_role("button", name="Save", exact=True).click()
    shown.row("renamed <i>").wait_for()
    (run,) = client.search_runs([own_experiment], "attributes.run_name = 'renamed <i>'")
    assert run.data.tags["mlflow.note.content"] == "# Why\nit works"
    assert run.data.tags["stage"] == "final"


def test_whose_runs_are_listed_any_value_is_filtered_by_and_one_is_stopped(
    site: Site, client: MlflowClient, shown: List, own_experiment: str
) -> None:
    page, both = shown.page, "it's \"both\" ''quotes"
    tags = {"mlflow.user": "grace", "said": both}
    # Another machine's: stopping one of this process's would interrupt the tests.
    body = {
        "experiment_id": own_experiment,
        "run_name": "hers",
        "start_time": mlflow.utils.time.get_current_time_millis(),
    }
    body |= {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
    answer = requests.post(
        f"{site.server.address}/api/2.0/mlflow/runs/create", json=body, timeout=60
    )
    going_on = answer.json()["run"]["info"]["run_id"]
    failed = client.create_run(own_experiment, run_name="lost", tags={"mlflow.user": "grace"})
    client.set_terminated(failed.info.run_id, "FAILED")

    shown.open(site, experiment_id=own_experiment)
    shown.expect_counts(5)
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_label("Runs of").select_option("grace")
    shown.expect_counts(2)
    text = page.get_by_role("textbox", name="As text")
    assert text.input_value() == "tags.mlflow.user = 'grace'"
    ids = {run.info.run_id for run in client.search_runs([own_experiment], text.input_value())}
    assert ids == {going_on, failed.info.run_id}
    # A condition of the builder, whose value no quotes of one kind can hold.
    page.locator(".w-filter").get_by_role("button", name="Condition", exact=True).click()
    page.get_by_label("Kind").last.select_option("tags")
    page.locator(".w-filter").get_by_label("Key", exact=True).last.fill("said")
    page.locator(".w-filter").get_by_label("Key", exact=True).last.press("Enter")
    page.get_by_label("Comparison").last.select_option("=")
    value = page.locator(".w-filter").get_by_label("Value", exact=True).last
    value.fill(both)
    value.press("Enter")
    shown.expect_names(["hers"])
    shown.expect_counts(1)
    shown.wait("() => document.querySelector('.w-filter-fault')?.innerText === ''")
    page.get_by_label("Runs of").select_option("everybody")
    shown.wait("() => !document.querySelector('.w-filter-text').value.includes('grace')")
    text.fill("tags.mlflow.user = 'grace' and tags.said is missing")
    shown.expect_names(["lost"])
    shown.expect_counts(1)
    text.fill("")
    page.get_by_role("checkbox", name="Hide failed and killed runs").check()
    shown.expect_counts(4)
    text.fill("tags.mlflow.user = 'grace'")
    shown.expect_counts(1)
    # Frozen: what the page's switches add is none of the conditions that somebody wrote.
    shown.press("Escape")
    page.get_by_role("button", name="live", exact=True).click()
    shown.wait("() => location.search.includes('at=')")
    page.get_by_role("button", name="Filter · 1").click()
    assert page.get_by_label("Kind").count() == 1
    page.get_by_label("Runs of").select_option("everybody")
    shown.wait("() => document.querySelector('.w-filter-text').value === ''")
    shown.press("Escape")
    page.get_by_role("button", name="frozen, as of").click()

    shown.row("hers").hover()
    page.get_by_role("button", name="Actions on hers").click()
    page.get_by_role("menuitem", name="Stop (as Ctrl C would)").click()
    page.get_by_text("Asked to stop").wait_for()
    assert "weir.stop_requested" in client.get_run(going_on).data.tags


def test_what_is_asked_while_the_server_is_away_comes_when_it_is_there(
    site: Site, shown: List, allow_errors: Callable[[str], None]
) -> None:
    allow_errors("ERR_INTERNET_DISCONNECTED|the server does not answer")
    page = shown.page
    shown.open(site)
    shown.expect_counts(60)
    page.context.set_offline(True)
    page.get_by_role("textbox", name="Search runs").fill("adamw")
    page.get_by_text("The runs could not be read: the server does not answer.").wait_for()
    shown.row("sgd-lr0.1-s4").wait_for()  # what was there stays
    # A dialog whose code does not come says so, and takes nothing with it.
    page.get_by_role("button", name="Share", exact=True).click()
    dialog = page.get_by_role("dialog", name="Share")
    dialog.get_by_text("This cannot be shown: the server does not answer.").wait_for()
    assert axe_violations(page, "dialog") == []
    page.context.set_offline(False)
    dialog.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("textbox").first.wait_for()
    shown.press("Escape")
    shown.expect_names(["adamw-lr0.1-s4"])
    page.get_by_text("The runs could not be read").wait_for(state="detached")
    # So does a tab.
    page.goto(site.pages(f"/r/{site.rich.bare_id}/overview"))
    page.get_by_role("tabpanel").get_by_role("heading").first.wait_for()
    page.context.set_offline(True)
    page.get_by_role("tab", name="Console").click()
    page.get_by_text("The tab Console cannot be shown: the server does not answer.").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("Nothing this run printed was kept").wait_for()


def test_a_new_run_appears_by_itself(
    site: Site, client: MlflowClient, shown: List, own_experiment: str
) -> None:
    shown.open(site, experiment_id=own_experiment)
    shown.expect_counts(3)
    shown.page.mouse.move(0, 0)  # out of the list, which does not move under the pointer
    running = client.create_run(own_experiment, run_name="fresh")
    shown.row("fresh").wait_for(timeout=60_000)
    client.set_terminated(running.info.run_id, "FAILED")
    shown.row("fresh").get_by_title("failed").wait_for(timeout=60_000)
    # While the pointer is in the list nothing moves below it: what is new waits to be asked for.
    page = shown.page
    shown.row("mine 1").hover()
    for name in ("later", "latest"):
        client.set_terminated(client.create_run(own_experiment, run_name=name).info.run_id)
    page.get_by_role("button", name="2 new runs").wait_for(timeout=60_000)
    shown.expect_counts(6)
    shown.expect_names(["fresh", "mine 2"])
    page.get_by_role("button", name="2 new runs").click()
    shown.expect_names(["latest", "later", "fresh", "mine 2"])
    # Nor is the reader's own deed held back.
    shown.row("later").hover()
    page.get_by_role("button", name="Actions on later").click()
    page.get_by_role("menuitem", name="Delete").click()
    shown.row("later").wait_for(state="detached")
    going_on = client.create_run(own_experiment, run_name="going on").info.run_id
    client.log_metric(going_on, "loss", 1.0, step=0)
    page.get_by_role("button", name="1 new run").click(timeout=60_000)  # the focus is in the list
    shown.row("going on").wait_for()
    # Frozen, it stays as it is for who opens the link, until it is to follow again.
    page.get_by_role("button", name=re.compile("up to date|live")).click()
    shown.wait("() => location.search.includes('at=')")
    at_ms = int(parse_qs(urlsplit(page.url).query)["at"][0])
    client.set_terminated(client.create_run(own_experiment, run_name="too late").info.run_id)
    client.log_metric(going_on, "loss", 7.0, timestamp=at_ms + 1, step=1)
    client.set_terminated(going_on, "FAILED")
    page.reload()
    shown.expect_counts(6)
    shown.expect_names(["going on", "latest", "fresh", "mine 2"])
    shown.row("going on").get_by_title("running").wait_for()
    page.get_by_role("button", name="Back to the charts").click()
    points = """([id, n]) => window.__weirCharts?.().charts.some((chart) =>
        chart.lines.some((line) => line.runId === id && line.total === n))"""
    shown.wait(points, [going_on, 1])
    page.get_by_role("button", name="frozen, as of").click()
    shown.expect_counts(7)
    shown.wait(points, [going_on, 2])
    shown.row("going on").get_by_title("failed").wait_for(timeout=60_000)
    shown.wait("() => !location.search.includes('at=')")
    # What came while it was frozen, and nobody listened, is there when it follows again.
    page.get_by_role("button", name=re.compile("up to date|live")).click()
    page.get_by_role("button", name="frozen, as of").wait_for()
    client.log_metric(going_on, "loss", 8.0, step=2)
    # Until what tabs tell each other is too old to be told, or the next poll would say it.
    shown.wait("since => performance.now() - since > 2500", page.evaluate("performance.now()"))
    page.get_by_role("button", name="frozen, as of").click()
    shown.wait(points, [going_on, 3])


def test_runs_are_compared_by_what_differs(site: Site, client: MlflowClient, shown: List) -> None:
    page = shown.page
    shown.open(site)
    runs = client.search_runs([site.sweep.experiment_id], "params.seed = '1'", max_results=3)
    query = ",".join(run.info.run_id for run in runs)
    page.goto(site.pages(f"/e/{site.sweep.experiment_id}/compare?runs={query}"))
    rows = page.locator("tbody tr:not([aria-hidden])")
    rows.first.wait_for()
    first = page.locator("tbody tr", has_text="train/loss").first
    losses = [run.data.metrics["train/loss"] for run in runs]

    def has_losses() -> bool:
        titles = first.locator("td").evaluate_all("cells => cells.map((one) => one.title)")
        return [float(title) for title in titles] == pytest.approx(losses, rel=1e-4)

    poll(page, has_losses)
    keys = page.locator("tbody th").all_inner_texts()
    assert not any(key.startswith("seed") for key in keys)
    page.get_by_role("button", name=re.compile("as baseline")).first.click()
    page.locator(".w-run-delta").first.wait_for()
    poll(page, lambda: runs[0].info.run_id in page.url.partition("base=")[2])
    page.get_by_label("Differences only").uncheck()
    page.locator("tbody th", has_text="seed").first.wait_for()
    assert axe_violations(page) == []


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_the_list_is_clean_and_hostile_names_are_text(
    theme: str, site: Site, open_page: Callable[..., Any]
) -> None:
    for size in ({"width": 1500, "height": 2200}, PHONE):
        shown = List(open_page(color_scheme=theme, viewport=size))
        shown.open(site)
        shown.expect_counts(len(site.sweep.run_ids))
        shown.row("<script>window.__hostile = 1</script>").wait_for()
        assert axe_violations(shown.page) == []
        for button in ("Filter", "Columns", "Group", "Sort"):
            shown.page.get_by_role("button", name=button).first.click()
            shown.page.locator("[popover]").wait_for()
            assert axe_violations(shown.page, "[popover]") == [], button
            shown.page.keyboard.press("Escape")
        assert shown.page.evaluate("window.__hostile") is None
        assert shown.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            size
        )


def test_an_empty_experiment_says_how_to_begin(
    site: Site, client: MlflowClient, open_page: Callable[..., Any]
) -> None:
    experiment_id = client.create_experiment("nothing yet")
    for options in ({"color_scheme": "light"}, {"color_scheme": "dark", "viewport": PHONE}):
        page = open_page(**options)
        List(page).open(site, experiment_id=experiment_id)
        page.get_by_text("No runs yet").wait_for()
        lines = page.locator("pre").filter(has_text=site.server.address)
        lines.wait_for()
        # All of it is seen, where the page is wide enough for it.
        is_whole = lines.evaluate("one => one.scrollWidth <= one.clientWidth")
        assert is_whole or "viewport" in options
        assert axe_violations(page) == []
