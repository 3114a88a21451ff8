"""Axes, smoothing, outliers, shading and buckets of charts, in a real browser.

What is drawn is held against the points that MLflow's client returns and formulas of this file's
own; no request is intercepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from browser import poll
from drawn import as_answered, card, chart, drawing, line_of, menu
from series_answers import check_line

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from browser import Site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),  # MLflow warns about itself
]
Array = npt.NDArray[np.float64]
N_POINTS, N_LONG, SPIKE_AT = 200, 5_000, 2_503
FIRST_MS = 1_760_000_000_000


class Lab(NamedTuple):
    """Runs whose points are uneven, go below zero, and have spikes.

    Attributes:
        experiment_id: Of both.
        run_ids: Of *first* and *second*.
    """

    experiment_id: str
    run_ids: dict[str, str]


def _points(random: np.random.Generator, first_ms: int) -> Iterator[Metric]:
    """Yield what a run logs; values are such that single precision has them."""
    step = np.cumsum(random.integers(1, 9, N_POINTS)) - 1
    step[0] = 0
    at_ms = first_ms + np.cumsum(random.integers(100, 900, N_POINTS))
    wave = np.round(np.sin(np.arange(N_POINTS) / 9) + random.normal(0, 0.2, N_POINTS), 3)
    wave[50] = 0.0
    spiky = np.round(1 + random.normal(0, 0.1, N_POINTS), 3)
    spiky[[20, 120]] = 1_000.0, -500.0
    for n in range(N_POINTS):
        for key, value in (("wave", wave[n]), ("spiky", spiky[n]), ("tokens", 7 * step[n] + 3)):
            yield Metric(key, float(value), int(at_ms[n]), int(step[n]))
    long = np.round(2 + random.normal(0, 0.05, N_LONG), 3)
    long[SPIKE_AT] = 50.0
    for n, value in enumerate(long.tolist()):
        yield Metric("long", value, first_ms + 100 * n, n)


@pytest.fixture(scope="module")
def lab(site: Site) -> Lab:
    client = MlflowClient(site.server.address)
    experiment_id = client.create_experiment("settings of charts")
    run_ids = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIR_CLIENT", "off")  # what is written is there when it returns
        for at, name in enumerate(("first", "second")):
            first_ms = FIRST_MS + 3_600_000 * at
            run = client.create_run(experiment_id, first_ms, run_name=name)
            points = list(_points(np.random.default_rng(at), first_ms))
            for start in range(0, len(points), 1_000):
                client.log_batch(run.info.run_id, points[start : start + 1_000])
            client.set_terminated(run.info.run_id)
            run_ids[name] = run.info.run_id
    return Lab(experiment_id, run_ids)


@pytest.fixture
def history(site: Site, lab: Lab) -> Any:
    """What MLflow's client has of a metric of a run."""
    client = MlflowClient(site.server.address)
    return lambda name, key: client.get_metric_history(lab.run_ids[name], key)


def open_lab(page: Page, site: Site, lab: Lab, query: str = "") -> None:
    page.goto(site.pages(f"/e/{lab.experiment_id}{query}"))
    poll(page, lambda: len(chart(page, "wave", True)["lines"]) == 2)


def columns_of(history: Sequence[Metric]) -> tuple[Array, Array]:
    steps = np.array([m.step for m in history], dtype=np.float64)
    return steps, np.array([m.value for m in history])


def foot(of: Locator) -> str:
    return of.locator(".w-card-foot").inner_text()


def test_logarithmic_axes_leave_out_what_has_no_place_and_say_so(
    page: Page, site: Site, lab: Lab, history: Any
) -> None:
    open_lab(page, site, lab)
    wave = card(page, "wave")
    logged = {name: columns_of(history(name, "wave")) for name in lab.run_ids}
    n_under = sum(int((values <= 0).sum()) for _, values in logged.values())
    assert n_under > 50
    wave.get_by_role("button", name="log", exact=True).click()
    poll(page, lambda: f"{n_under} at or under 0" in foot(wave))
    shown = poll(page, lambda: (it := chart(page, "wave"))["y"]["kind"] == "log" and it)
    least = min(values[values > 0].min() for _, values in logged.values())
    assert 0.3 * least < shown["y"]["min"] <= least

    def places(of: Any, values: Array, size: float, scale: str) -> Array:
        low, high = (float(np.log10(of[scale][end])) for end in ("min", "max"))
        return size * (np.log10(values) - low) / (high - low)

    found = drawing(page, wave)
    for name, (steps, values) in logged.items():
        is_there = values > 0
        path = found.lines[name]
        assert len(path) == is_there.sum()
        x = found.width * (steps - shown["x"]["min"]) / (shown["x"]["max"] - shown["x"]["min"])
        y = found.height - places(shown, values[is_there], found.height, "y")
        np.testing.assert_allclose(path, np.column_stack([x[is_there], y]), atol=0.02)
        # A gap where there is nothing.
        assert found.n_pieces[name] == np.count_nonzero(np.diff(is_there.astype(int)) == 1) + (
            bool(is_there[0])
        )
    menu(page, wave, "Linear y")
    page.get_by_role("checkbox", name="Log x").check()
    poll(page, lambda: "2 where x is 0 or less" in foot(wave))
    shown = poll(page, lambda: (it := chart(page, "wave"))["x"]["kind"] == "log" and it)
    found = drawing(page, wave)
    for name, (steps, values) in logged.items():
        is_there = steps > 0
        path = found.lines[name][-int(is_there.sum()) :]
        x = places(shown, steps[is_there], found.width, "x")
        np.testing.assert_allclose(path[:, 0], x, atol=0.02)
        share = (values[is_there] - shown["y"]["min"]) / (shown["y"]["max"] - shown["y"]["min"])
        np.testing.assert_allclose(path[:, 1], found.height * (1 - share), atol=0.02)
    assert shown["x"]["min"] == min(steps[steps > 0].min() for steps, _ in logged.values())


def test_ranges_and_outliers_say_what_they_leave_out(
    page: Page, site: Site, lab: Lab, history: Any
) -> None:
    open_lab(page, site, lab)
    logged = {name: columns_of(history(name, "spiky")) for name in lab.run_ids}
    spiky = card(page, "spiky")
    spiky.scroll_into_view_if_needed()
    whole = poll(page, lambda: chart(page, "spiky"))
    assert whole["y"]["min"] < -500 < 1_000 < whole["y"]["max"]
    menu(page, spiky, "Leave outliers out")
    shown = poll(page, lambda: (it := chart(page, "spiky"))["y"]["max"] < 10 and it)
    # Each run's own 1 % and 99 %: of 200 points the third smallest, and the 198th.
    low = min(sorted(values)[2] for _, values in logged.values())
    high = max(sorted(values)[197] for _, values in logged.values())
    room = 0.05 * (high - low)
    assert shown["y"]["min"] == pytest.approx(low - room, rel=1e-5)
    assert shown["y"]["max"] == pytest.approx(high + room, rel=1e-5)

    def said(y: dict[str, float], x: tuple[float, float] = (0, np.inf)) -> list[str]:
        above = below = 0
        for steps, values in logged.values():
            inside = values[(steps >= x[0]) & (steps <= x[1])]
            above += int((inside > y["max"]).sum())
            below += int((inside < y["min"]).sum())
        return [f"▲ {above} above", f"▼ {below} below"]

    poll(page, lambda: all(words in foot(spiky) for words in said(shown["y"])))
    menu(page, spiky, "Leave outliers out")
    poll(page, lambda: chart(page, "spiky")["y"] == whole["y"] and "▲" not in foot(spiky))

    # By number: y for this one alone, x for all.
    menu(page, spiky, "Axis ranges…")
    dialog = page.get_by_role("dialog", name="Axis ranges")
    for label, text in (
        ("y from", "0.9005"),
        ("y to", "1.1005"),
        ("x from", "100"),
        ("x to", "500"),
    ):
        dialog.get_by_label(label).fill(text)
    dialog.get_by_role("button", name="Done").click()
    wanted: dict[str, Any] = {"min": 0.9005, "max": 1.1005, "kind": "linear"}
    inside = {"min": 100, "max": 500, "kind": "linear"}
    poll(page, lambda: (it := chart(page, "spiky"))["y"] == wanted and it["x"] == inside)
    poll(page, lambda: all(words in foot(spiky) for words in said(wanted, (100, 500))))
    poll(page, lambda: chart(page, "wave")["x"] == inside)
    assert chart(page, "wave")["y"]["max"] > 1.1
    menu(page, spiky, "Axis ranges…")
    dialog.get_by_role("button", name="As the lines need").click()
    poll(page, lambda: chart(page, "spiky")["y"] == whole["y"])


# Whether there is any colour a little above the middle of the distance to a spike.
_IS_SHADED = """([name, share]) => {
    const canvas = document.querySelector(`[data-keys="${name}"] .w-chart-lines`)
    const x = Math.round(share * canvas.width)
    const y = Math.round(0.4 * canvas.height)
    const found = canvas.getContext("2d").getImageData(x - 4, y, 9, 1).data
    return found.some((value) => value > 0)
}"""


def test_buckets_are_told_by_their_number_shaded_and_finer_in_full_screen(
    page: Page, site: Site, lab: Lab, history: Any
) -> None:
    open_lab(page, site, lab)
    points = history("first", "long")
    long = card(page, "long")
    long.scroll_into_view_if_needed()
    shown = poll(page, lambda: len((it := chart(page, "long", True))["lines"]) == 2 and it)
    line = line_of(shown, lab.run_ids["first"])
    check_line(as_answered(line), points, x=[m.step for m in points])
    n_buckets = len(line["x"])
    assert sum(line["count"]) == len(points) == N_LONG
    assert n_buckets < N_LONG / 10
    poll(page, lambda: f"5,000 points as {n_buckets} buckets" in foot(long))
    # The spike of one point lies within a bucket: it is in the shade, and in nothing else.
    spiked = int(np.argmax(line["high"]))
    assert line["high"][spiked] == 50
    assert line["last"][spiked] < 3
    share = line["x"][spiked] / shown["x"]["max"]
    poll(page, lambda: page.evaluate(_IS_SHADED, ["long", share]))
    menu(page, long, "Shade from smallest to largest")
    poll(page, lambda: not page.evaluate(_IS_SHADED, ["long", share]))
    menu(page, long, "Shade from smallest to largest")
    poll(page, lambda: page.evaluate(_IS_SHADED, ["long", share]))
    # What has every point as itself says nothing.
    assert "buckets" not in foot(card(page, "wave"))

    long.get_by_role("button", name=re.compile("^Full screen")).click()
    full = page.get_by_role("dialog", name="Full screen: long")

    def finer() -> Any:
        for one in page.evaluate("window.__weirCharts(true).charts"):
            if one["name"] == "long" and one["isComplete"] and len(one["lines"]) == 2:
                found = line_of(one, lab.run_ids["first"])
                if len(found["x"]) > 2 * n_buckets:
                    return found
        return None

    line = poll(page, finer)
    check_line(as_answered(line), points, x=[m.step for m in points])
    poll(page, lambda: f"5,000 points as {len(line['x']):,} buckets" in foot(full))
    page.keyboard.press("Escape")
    full.wait_for(state="detached")


def test_x_is_a_step_a_time_or_another_metric(
    page: Page, site: Site, lab: Lab, history: Any
) -> None:
    open_lab(page, site, lab)
    axis = page.get_by_role("combobox", name="X", exact=True)
    for choice in ("wall", "rel", "m:tokens", "step"):
        axis.select_option(choice)
        # Relative to the run's first point of any metric.
        expected = {}
        for name in lab.run_ids:
            points, tokens = history(name, "wave"), history(name, "tokens")
            first_ms = min(m.timestamp for m in (*points, *history(name, "long")[:1]))
            expected[name] = {
                "wall": [m.timestamp for m in points],
                "rel": [m.timestamp - first_ms for m in points],
                "m:tokens": [m.value for m in tokens],
                "step": [m.step for m in points],
            }[choice]

        def is_drawn(expected: dict[str, list[float]] = expected) -> bool:
            found = chart(page, "wave", True)
            for name, run_id in lab.run_ids.items():
                line = line_of(found, run_id)
                if line["x"] != expected[name]:
                    return False
                values = [m.value for m in history(name, "wave")]
                np.testing.assert_allclose(line["last"], values, rtol=1e-6, atol=1e-9)
            ends = [end for xs in expected.values() for end in (xs[0], xs[-1])]
            return (found["x"]["min"], found["x"]["max"]) == (min(ends), max(ends))

        poll(page, is_drawn)
    # A metric that the card has itself: the card of `tokens` is straight.
    axis.select_option("m:tokens")
    card(page, "tokens").scroll_into_view_if_needed()
    poll(
        page,
        lambda: (
            (it := line_of(chart(page, "tokens", True), lab.run_ids["first"]))["x"] == it["last"]
        ),
    )


def test_keys_lead_to_the_next_x_axis_and_to_smoothing(page: Page, site: Site, lab: Lab) -> None:
    open_lab(page, site, lab)
    axis = page.get_by_role("combobox", name="X", exact=True)
    assert axis.input_value() == "step"
    for choice in ("rel", "wall", "relp", "step"):
        page.keyboard.press("x")
        poll(page, lambda: axis.input_value() == choice)  # noqa: B023 - asked at once
    page.keyboard.press("m")
    poll(page, lambda: page.evaluate("document.activeElement.id") == "w-chart-smoothing")
    page.get_by_role("combobox", name="Smoothing", exact=True).select_option("ema")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("m")
    poll(page, lambda: page.evaluate("document.activeElement.id") == "w-chart-amount")


def twema(x: Array, m: Array, n: Array, span: float, amount: float) -> Array:
    """Weigh each bucket by how long it is ago, in thousandths of the range."""
    ago = np.subtract.outer(x, x)
    weight = np.where(ago >= 0, min(np.sqrt(amount), 0.999) ** (1_000 * np.abs(ago) / span), 0)
    return np.asarray(weight @ m / weight.sum(axis=1))


def ema(x: Array, m: Array, n: Array, span: float, amount: float) -> Array:
    """Weigh each point by how many came after it."""
    total = np.cumsum(n)
    after = np.subtract.outer(total, total)
    weight = np.where(after >= 0, amount ** np.abs(after), 0) * (1 - amount**n)
    return np.asarray(weight @ m / (1 - amount**total))


def gauss(x: Array, m: Array, n: Array, span: float, amount: float) -> Array:
    sigma = amount / 1_000 * span
    far = np.abs(np.subtract.outer(x, x))
    weight = n * np.exp(-(far**2) / (2 * sigma**2)) * (far <= 3 * sigma)
    return np.asarray(weight @ m / weight.sum(axis=1))


def running_mean(x: Array, m: Array, n: Array, span: float, amount: float) -> Array:
    """Take as many buckets on either side as have half of the points."""
    found = []
    for at in range(len(m)):
        most = min(at, len(m) - 1 - at)
        beside = [(n[at - k] + n[at + k]) / 2 for k in range(1, most + 1)]
        reach = int(np.searchsorted(np.cumsum(beside), (amount - 1) / 2, side="right"))
        part = slice(at - reach, at + reach + 1)
        found.append(np.average(m[part], weights=n[part]))
    return np.array(found)


FORMULAS = {
    "twema": (twema, 0.6),
    "ema": (ema, 0.6),
    "gauss": (gauss, 20),
    "mean": (running_mean, 25),
}


def test_each_smoothing_is_the_formula_that_is_told(
    page: Page, site: Site, lab: Lab, history: Any
) -> None:
    open_lab(page, site, lab)
    card(page, "long").scroll_into_view_if_needed()
    logged = {
        (name, key): columns_of(history(name, key))
        for name in lab.run_ids
        for key in ("wave", "long")
    }

    def is_smooth(kind: str, key: str, name: str) -> bool:
        formula, amount = FORMULAS[kind]
        lines = chart(page, key, True)["lines"]
        (line,) = [one for one in lines if one["runId"] == lab.run_ids[name]]
        # From the end of the first bucket to that of the last, of all runs.
        span = max(one["x"][-1] for one in lines) - min(one["x"][0] for one in lines)
        steps, values = logged[name, key]
        x, n = np.array(line["x"]), np.array(line["count"], dtype=np.float64)
        ends = np.cumsum(n).astype(int)
        assert (steps[ends - 1] == x).all()
        m = np.array([part.mean() for part in np.split(values, ends[:-1])])
        expected = formula(x, m, n, span, amount)
        np.testing.assert_allclose(line["smoothed"], expected, rtol=1e-5, atol=1e-6)
        return True

    smoothing = page.get_by_role("combobox", name="Smoothing", exact=True)
    for kind in FORMULAS:
        smoothing.select_option(kind)
        for key in ("wave", "long"):
            for name in lab.run_ids:
                poll(page, partial(is_smooth, kind, key, name))
    # And so is the line in the drawing; as it was is behind it, until it is not wanted.
    found, shown = drawing(page, card(page, "wave")), chart(page, "wave", True)
    smoothed = np.array(line_of(shown, lab.run_ids["first"])["smoothed"])
    share = (smoothed - shown["y"]["min"]) / (shown["y"]["max"] - shown["y"]["min"])
    np.testing.assert_allclose(found.lines["first"][:, 1], found.height * (1 - share), atol=0.02)
    with_original = painted(page)
    page.get_by_role("checkbox", name="Original").uncheck()
    poll(page, lambda: painted(page) < 0.8 * with_original)
    smoothing.select_option("none")
    poll(
        page, lambda: line_of(chart(page, "wave", True), lab.run_ids["first"])["smoothed"] is None
    )


def painted(page: Page) -> int:
    """Return how many pixels of a chart have colour."""
    n: int = page.evaluate(
        """() => {
            const canvas = document.querySelector('[data-keys="wave"] .w-chart-lines')
            const { width, height } = canvas
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height)
            return data.reduce((n, value, at) => n + (at % 4 === 3 && value > 0), 0)
        }"""
    )
    return n


def test_any_of_many_metrics_can_be_x(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    client = MlflowClient(site.server.address)
    experiment_id = client.create_experiment("many metrics")
    run_id = client.create_run(experiment_id, run_name="wide").info.run_id
    points = [
        Metric(f"m{n:03d}", float(3 * n + step), 1, step) for n in range(300) for step in (0, 1)
    ]
    client.log_batch(run_id, points)
    client.set_terminated(run_id)
    page.goto(site.pages(f"/e/{experiment_id}"))
    page.get_by_role("button", name="Another metric as x").click()
    page.get_by_role("combobox", name="Search metrics").fill("m287")
    page.get_by_role("option", name="m287").wait_for()
    page.keyboard.press("Enter")
    axis = page.get_by_role("combobox", name="X", exact=True)
    poll(page, lambda: axis.input_value() == "m:m287")
    page.get_by_role("textbox", name="Search charts").fill("m000")
    poll(page, lambda: chart(page, "m000", True)["lines"][0]["x"] == [861, 862])
