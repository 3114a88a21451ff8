"""Measure stock MLflow, other libraries and Weir side by side: ``make bench``.

Needs PostgreSQL's server on this machine. Databases are made in a folder below ``/var/tmp``, on a
real disk, and removed at the end; with ``--data`` those that take long to fill stay, and the next
run with that folder measures on them, also where the one before it was broken off; ``--fill`` does
no more than fill them. Sections can be run one by one; results are kept as one JSON file a section
in ``benchmarks/results`` and shown in ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "tests" / "support"))

import agent_work  # noqa: E402
import cold_tier  # noqa: E402
import everything  # noqa: E402
import growth  # noqa: E402
import guesses  # noqa: E402
import history  # noqa: E402
import importing  # noqa: E402
import ingest  # noqa: E402
import log_calls  # noqa: E402
import many_runs  # noqa: E402
import run_list  # noqa: E402
import search  # noqa: E402
import sizes  # noqa: E402
import stock_pages  # noqa: E402
import watching  # noqa: E402
import workspace  # noqa: E402
import writes  # noqa: E402
from machine import describe_machine, describe_versions  # noqa: E402
from measuring import LONG, SMOKE, Row, Sizes, say  # noqa: E402
from places import Place, open_places  # noqa: E402
from report import as_line, save_section, write_page  # noqa: E402

SECTIONS: dict[str, ModuleType] = {
    "history": history,
    "search": search,
    "list": run_list,
    "bytes": sizes,
    "writes": writes,
    "growth": growth,
    "logging": log_calls,
    "agent": agent_work,
    "everything": everything,
    "runs": many_runs,
    "watch": watching,
    "workspace": workspace,
    "stock": stock_pages,
    "guesses": guesses,
    "ingest": ingest,
    "cold": cold_tier,
    "import": importing,
}
_RESULTS = _HERE / "results"
_PAGE = _HERE / "RESULTS.md"


def main() -> int:
    """Run the sections asked for; return 1 when a target was missed."""
    arguments = _parsed(sys.argv[1:])
    measured = SMOKE if arguments.smoke else LONG if arguments.long else Sizes()
    command = _shown_command(sys.argv[1:])
    if arguments.fill:
        _fill(arguments.only, arguments.data, measured)
        return 0
    missed = 0
    # Ended from outside, it still removes gigabytes of databases.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _scratch() as folder, open_places(folder, arguments.data) as places:
        machine = describe_machine(folder)
        versions = describe_versions(places[1].new_database())
        for name in arguments.only:
            module = SECTIONS[name]
            columns = getattr(module, "COLUMNS", ())  # where others take part as well
            further_versions = module.versions() if columns else {}
            rows, seconds = _run_section(module, places, measured)
            missed += sum(row.passed is False for row in rows)
            for row in rows:
                print(as_line(row))
            if not arguments.smoke:
                facts = {
                    "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
                    "command": command,
                    "seconds": round(seconds),
                    "machine": machine,
                    "versions": versions | further_versions,
                }
                save_section(_RESULTS, name, module.TITLE, module.ABOUT, rows, facts, columns)
                write_page(_RESULTS, list(SECTIONS), _PAGE)
    say(f"{missed} targets missed" if missed else "every target met")
    return 1 if missed else 0


def _parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", type=_section_names, default=list(SECTIONS), metavar="NAME,…",
        help=f"sections to run, of {','.join(SECTIONS)}",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=lambda text: Path(text).absolute(), metavar="DIR",
        help="keep databases that take long to fill in this folder, and use those that are there",
    )  # fmt: skip
    parser.add_argument(
        "--fill", action="store_true",
        help="fill these databases and measure nothing: a busy machine can do that ahead",
    )  # fmt: skip
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument(
        "--long", action="store_true", help="add 1,000,000 runs and 100,000,000 points"
    )
    how_much.add_argument(
        "--smoke", action="store_true", help="tiny sizes: see that it works, keep no results"
    )
    arguments = parser.parse_args(words)
    if arguments.fill and arguments.data is None:
        parser.error("--fill needs --data DIR: without it, nothing of it would be left")
    return arguments


def _shown_command(words: list[str]) -> str:
    """Return the command for the results, without the folder: what it holds is the same."""
    shown = []
    for word, before in zip(words, ["", *words], strict=False):
        if "--data" not in (before, word.partition("=")[0]):
            shown.append(word)
    return shlex.join([".venv/bin/python", "benchmarks/run.py", *shown])


def _section_names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in SECTIONS:
            raise argparse.ArgumentTypeError(f"{name!r}: use some of {', '.join(SECTIONS)}")
    return names


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    # /tmp is in memory on many systems; /var/tmp is on a disk.
    parent = Path("/var/tmp")
    with tempfile.TemporaryDirectory(
        prefix="weir-bench-", dir=parent if parent.is_dir() else None
    ) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        os.chdir(folder)  # MLflow makes the artifact folders relative to it
        try:
            yield folder
        finally:
            os.chdir(_HERE)


def _fill(names: list[str], kept: Path, measured: Sizes) -> None:
    with _scratch() as folder, open_places(folder, kept) as places:
        for name in names:
            for place in places if hasattr(SECTIONS[name], "fill") else []:
                SECTIONS[name].fill(place, measured)
                place.drop_all()


def _run_section(
    module: ModuleType, places: list[Place], measured: Sizes
) -> tuple[list[Row], float]:
    start_s = time.monotonic()
    rows: list[Row] = []
    for place in places:
        say(f"{module.TITLE}, {place.name}")
        rows += module.measure(place, measured)
        place.drop_all()
    return rows, time.monotonic() - start_s


if __name__ == "__main__":
    sys.exit(main())
