"""A report as a link shows it: its words as they are, its panels cut to what is shown.

The words, formulas and pictures of a report are its author's to share, and are shown whole; what
its readers said of it never is. A panel of a shared report asks for its runs by its number: which
they are was decided when the link was made, and neither its filter nor its experiments go out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.runs import run_columns, selection
from mlflow_weir.store.sharing import report_document
from mlflow_weir.store.sharing.shown import ANY, Shown
from mlflow_weir.store.sharing.shown_view import ViewCutter

_NO_BOXES = ("notes", "console", "command", "host", "git_url", "files", "hardware", "histograms")


def limit(shown: Shown, document: Mapping[str, Any], keys: Mapping[str, Collection[str]]) -> Shown:
    """Return what is ticked of what the panels of a report show, and no more.

    Args:
        shown: What was ticked; ``*`` among the metrics stands for all that the panels show.
        document: The report.
        keys: ``metrics``, ``params`` and ``tags`` that the panels' runs have.
    """
    panels = report_document.panels(document)
    wanted = {
        kind: {key for panel in panels for key in fields_of(panel, kind, keys[kind])}
        for kind in ("metrics", "params", "tags")
    }
    kinds = {panel["kind"] for panel in panels}
    parts = {part for panel in panels for part in panel.get("parts", ())}
    has_code = "code" in kinds or "code" in parts
    metrics = wanted["metrics"]
    return replace(
        shown,
        metrics=frozenset(metrics if ANY in shown.metrics else metrics & shown.metrics),
        params=frozenset(wanted["params"] & shown.params),
        tags=frozenset(wanted["tags"] & shown.tags),
        code=shown.code and has_code,
        patch=shown.patch and "code" in kinds,
        media=shown.media and "media" in kinds,
        **dict.fromkeys(_NO_BOXES, False),
    )


def fields_of(panel: Mapping[str, Any], kind: str, there: Collection[str]) -> set[str]:
    """Return the keys of a kind that a panel shows.

    Args:
        panel: One that was checked.
        kind: ``metrics``, ``params`` or ``tags``.
        there: Those that its runs have, which a comparison and an expression choose from.
    """
    if kind in panel.get("parts", ()):
        return set(there)
    runs = panel["runs"]
    names = [*panel.get("columns", ()), *runs["groupBy"], runs["colourBy"]]
    names += [one.removeprefix("-") for one in runs["order"]]
    names += [name for card in panel.get("cards", ()) for name in card.get("columns", ())]
    found = {column.key for column in _columns(names) if column.kind == kind}
    if kind != "metrics":
        return found
    for card in panel.get("cards", ()):
        found |= set(card["keys"])
        if "pattern" in card:
            found |= _matching(card["pattern"], there)
        found |= _axis(card.get("settings"))
    return found | _axis(panel.get("settings"))


def shown_report(
    document: Mapping[str, Any],
    shown: Shown,
    panel_runs: Sequence[Collection[str]],
    keys: Mapping[str, Collection[str]],
    as_of_ms: int | None,
) -> dict[str, Any]:
    """Return a report without what its link does not show.

    Args:
        document: One that was checked.
        shown: As ``limit`` returns it.
        panel_runs: The runs of each panel, in order.
        keys: ``metrics``, ``params`` and ``tags`` that these runs have.
        as_of_ms: When its live panels are frozen; None where they stay live.
    """
    numbers = iter(range(len(panel_runs)))

    def cut(node: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(node)
        if node["type"] == "panel":
            number = next(numbers)
            cutter = ViewCutter(shown, set(panel_runs[number]), keys)
            panel = _shown_panel(node["attrs"]["panel"], number, shown, cutter)
            named = node["attrs"]["panel"]["runs"]["ids"]
            if named is not None:  # in whose order they stand, from which one to which other
                there = set(panel_runs[number])
                panel["runs"]["ids"] = [run_id for run_id in named if run_id in there]
            if panel["runs"]["at"] is None:
                panel["runs"]["at"] = as_of_ms
            found["attrs"] = {"panel": panel}
        if "content" in node:
            found["content"] = [cut(child) for child in node["content"]]
        return found

    return cut(document)


def _shown_panel(
    panel: Mapping[str, Any], number: int, shown: Shown, cutter: ViewCutter
) -> dict[str, Any]:
    runs = panel["runs"]
    found = {
        **panel,
        "runs": {
            **runs,
            "experiments": [str(number + 1)],
            "ids": None,
            "filter": "",
            "search": "",
            "regex": False,
            "order": [one for one in runs["order"] if _is_shown(one.removeprefix("-"), shown)],
            "groupBy": [one for one in runs["groupBy"] if _is_shown(one, shown)],
            "colourBy": runs["colourBy"] if _is_shown(runs["colourBy"], shown) else "",
        },
    }
    if "cards" in panel:
        found["cards"] = [card for one in panel["cards"] for card in cutter.card(one)]
        found["settings"] = cutter.settings(panel["settings"])
    if "columns" in panel:
        found["columns"] = [one for one in panel["columns"] if _is_shown(one, shown)]
    return found


def _is_shown(name: str, shown: Shown) -> bool:
    return any(shown.has_field(column.kind, column.key) for column in _columns([name]))


def _columns(names: Iterable[str]) -> list[run_columns.Column]:
    found = []
    for name in names:
        try:
            found.append(run_columns.parse(name))
        except ConfigError:
            continue
    return found


def _axis(settings: Mapping[str, Any] | None) -> set[str]:
    x = (settings or {}).get("x")
    return {x[2:]} if isinstance(x, str) and x.startswith("m:") else set()


def _matching(pattern: str, keys: Collection[str]) -> set[str]:
    """Return the keys that an expression matches, as the list of runs reads expressions.

    That is in a time that no expression makes long. What cannot be read so matches nothing, and
    its metrics are not shown.
    """
    names = list(keys)
    try:
        found = selection.matches(names, pattern)
    except ConfigError:
        return set()
    return {name for name, is_found in zip(names, found, strict=True) if is_found}
