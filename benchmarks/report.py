"""The results page, assembled from one file a section.

A section that is measured again replaces its own file only, so each keeps the date, the versions
and the command that it was measured with.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import Row

_HEAD = """\
# Benchmark results

Stock MLflow, and where it is about logging other libraries, beside Weir: the same work on the same
machine in the same run, on databases of their own. Written by `make bench` and `make bench-long`,
do not edit. Times are wall-clock medians with Python's garbage collector on, slow calls of stock
MLflow are run once; *load* is the machine's load average when the figure was taken: above 1, other
work ran beside the benchmark and times are upper limits. *not run* and empty cells are what they
say.
"""

_ELSEWHERE = ("gpu_training", "gpu_watch", "gpu_check")
"""Sections that were measured on another machine (``gpu_results.py``)."""


def save_section(
    folder: Path,
    name: str,
    title: str,
    about: str,
    rows: Sequence[Row],
    facts: dict[str, Any],
    columns: Sequence[str] = (),
) -> None:
    """Keep a section's figures as JSON.

    Args:
        folder: Where the sections' files are.
        name: Names the file.
        title: Heading on the page.
        about: What was done, in Markdown.
        rows: The figures.
        facts: Date, command, seconds it took, machine and versions.
        columns: Who took part, in this order, where it was more than stock MLflow and Weir.
    """
    folder.mkdir(exist_ok=True)
    content = {
        "title": title,
        "about": about,
        "facts": facts,
        "columns": list(columns),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def write_page(folder: Path, names: Sequence[str], page: Path) -> None:
    """Write the page from the sections that have been measured, in the order of ``names``."""
    parts = [_HEAD]
    for name in (*names, *_ELSEWHERE):
        path = folder / f"{name}.json"
        if path.is_file():
            parts.append(_section(json.loads(path.read_text(encoding="utf-8"))))
    page.write_text("\n".join(parts), encoding="utf-8")


def as_line(row: Row) -> str:
    """Return a figure as one line of text."""
    return " | ".join(_cells(dataclasses.asdict(row), list(row.beside)))


def _section(content: dict[str, Any]) -> str:
    facts, columns = content["facts"], content.get("columns", [])
    lines = [
        f"## {content['title']}",
        "",
        content["about"],
        *(_plain_table(content["table"]) if "table" in content else _head(columns)),
        *(f"| {' | '.join(_cells(row, columns))} |" for row in content.get("rows", ())),
        "",
        *content.get("notes", ()),
        f"{facts['date']}, `{facts['command']}`, {facts['seconds']} s.",
        *(f"{key[0].upper()}{key[1:]}: {value}." for key, value in facts["machine"].items()),
    ]
    if "versions" in facts:
        lines.append(
            "Versions: " + ", ".join(f"{k} {v}" for k, v in facts["versions"].items()) + "."
        )
    return "\n".join([*lines, ""])


def _plain_table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *others = [f"| {' | '.join(row)} |" for row in rows]
    return ["", head, f"|---|---|{'---:|' * (len(rows[0]) - 2)}", *others]


def _head(columns: Sequence[str]) -> list[str]:
    if columns:
        return [
            f"| | Target | {' | '.join(columns)} | | Note | Load |",
            f"|---|---|{'---:|' * len(columns)}---|---|---:|",
        ]
    return [
        "| | Database | Target | Stock MLflow | Weir | Stock ÷ Weir | | Note | Load |",
        "|---|---|---|---:|---:|---:|---|---|---:|",
    ]


def _cells(row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    stock, weir, unit = row["stock"], row["weir"], row["unit"]
    verdict = {True: "pass", False: "**miss**", None: ""}[row["passed"]]
    end = [verdict, row["note"], f"{row['load']:.1f}"]
    if columns:
        beside = row["beside"]
        return [
            row["measure"],
            row["target"],
            *(_figure(beside[name], unit) if name in beside else "" for name in columns),
            *end,
        ]
    ratio = ""
    if stock is not None and weir is not None and unit != "runs":
        times = weir / stock if unit == "points/s" else stock / weir
        ratio = f"{times:,.0f} x" if times >= 10 else f"{times:.2f} x"
    return [
        row["measure"],
        row["database"],
        row["target"],
        "not run" if stock is None else _figure(stock, unit),
        "not run" if weir is None else _figure(weir, unit),
        ratio,
        *end,
    ]


def _figure(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value:.0f}" if value >= 100 else f"{value:.2f}"
    if unit == "points/s":
        return f"{value:,.0f}/s"
    if unit == "runs":
        return f"{value:,.0f}"
    if unit in ("MB", "%"):
        return f"{value:.1f} {unit}"
    if value >= 1:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    if value < 1e-3:
        return f"{value * 1e6:.1f} µs" if value < 1e-4 else f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.1f} ms" if value < 0.1 else f"{value * 1e3:.0f} ms"
