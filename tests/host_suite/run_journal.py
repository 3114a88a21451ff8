"""Run MLflow's published tests of its fluent API, client and autologging through the journal.

    python tests/host_suite/run_journal.py --source DIR [FILE …]

``DIR`` is a checkout of MLflow, best of the installed version's tag. The tests are collected by
pattern and by what they call, not chosen: all of tests/tracking and tests/autologging, the
autologging of the libraries in ``LIBRARIES``, and those files of ``SEARCHED`` that log to runs or
read them. Each file runs twice on SQLite: with stock MLflow, and with every tracking URI leading
to the store of a training process, an agent beside it (``journal_mode.py``). A test is
*applicable* where it passes on stock; one that fails through the journal runs once more, alone,
and counts by that. Also counted is what a user would be told: records that the store refused, or
that were not delivered.

``FILE …`` runs only these. What came of each file is kept in RESULTS.journal.json, in the place of
what its run before had left there, and RESULTS.journal.md is written from all that is there. Exits
with 1 where a test that passes on stock fails through the journal and has no reason in
expected.toml.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import run
from run import Outcomes, cause, copy_tests, failing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
KEPT = HERE / "RESULTS.journal.json"
LIBRARIES = ("sklearn", "lightgbm", "pytorch")
PATTERNS = (
    "tests/tracking/**/test_*.py",
    "tests/autologging/test_*.py",
    *(f"tests/{library}/test_*autolog*.py" for library in LIBRARIES),
)
SEARCHED = ("tests/utils", "tests/data", "tests/system_metrics", "tests/integration/async_logging")
LOGS = re.compile(
    r"\bmlflow\.(start_run|(set|create)_experiment|log_\w+|set_tags?|search_runs|autolog)\("
    r"|MlflowClient\("
)
PACKAGES = ("scikit-learn", "lightgbm", "torch", "lightning", "plotly")


def collect(source: Path) -> list[str]:
    """List the files, relative to ``source``."""
    found = {path for pattern in PATTERNS for path in source.glob(pattern)}
    for folder in SEARCHED:
        found |= {
            path for path in (source / folder).rglob("test_*.py") if LOGS.search(path.read_text())
        }
    if not found:
        raise SystemExit(f"{source}: no tests of MLflow's there ({', '.join(PATTERNS)})")
    return sorted(str(path.relative_to(source)) for path in found)


def run_files(source: Path, files: list[str], processes: int) -> None:
    """Run the files on both, and put what came of each in the place of what is kept of it."""
    kept: dict[str, Any] = json.loads(KEPT.read_text())
    with tempfile.TemporaryDirectory(prefix="weir-host-suite-") as folder:
        copy = Path(folder)
        copy_tests(source, copy)
        stock, journal = (
            run.run(files, copy, store, "sqlite", processes, dist="loadfile")
            for store in ("stock", "journal")
        )
        again = [test for test in failing(stock, journal) if "::" in test]
        retried = run.run(again, copy, "journal", "sqlite", 1) if again else {}
    journal.update(retried)
    second_runs = [test for test, (kind, _) in retried.items() if kind == "passed"]
    for file in files:
        kept["files"][file] = {
            "run_on": datetime.now(timezone.utc).date().isoformat(),
            **summary(_of(file, stock), _of(file, journal)),
            "second_runs": sum(_file_of(test) == file for test in second_runs),
        }
    kept = {"versions": versions(source), "files": dict(sorted(kept["files"].items()))}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")


def summary(stock: Outcomes, journal: Outcomes) -> dict[str, Any]:
    """Count what came of a file's tests, by cause."""
    told = (line for kind, why in journal.values() if kind == "passed" for line in why.split("; "))
    return {
        **{
            kind: Counter(cause(why) for found, why in stock.values() if found == kind)
            for kind in ("skipped", "failed")
        },
        "passed": sum(kind == "passed" for kind, _ in stock.values()),
        "differ": {
            test: cause(journal.get(test, ("absent", "not collected"))[1])
            for test in failing(stock, journal)
        },
        "told": Counter(cause(line) for line in told if line),
    }


def _of(file: str, outcomes: Outcomes) -> Outcomes:
    return {test: how for test, how in outcomes.items() if _file_of(test) == file}


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def versions(source: Path) -> dict[str, str]:
    """Name what ran."""
    known = run.versions(source)
    names = ("suite", "mlflow", "sqlalchemy", "pytest", "Python", "SQLite")
    found = {name: known[name] for name in names}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def report() -> tuple[str, bool]:
    """Write up what is kept.

    Returns:
        RESULTS.journal.md, and whether all is as it must be.
    """
    expected: dict[str, str] = tomllib.loads((HERE / "expected.toml").read_text())["journal"]
    kept = json.loads(KEPT.read_text())
    files: dict[str, Any] = kept["files"]
    rows = [_row(file, found["run_on"], [found]) for file, found in files.items()]
    rows.append(_row("all", "", list(files.values())))
    failures, is_good = [], True
    for test, why in ((t, why) for found in files.values() for t, why in found["differ"].items()):
        reason = next((why for name, why in expected.items() if name in test), None)
        is_good &= reason is not None
        failures.append(f"* `{test}`: {reason or '**no reason given**: ' + why}")
    told = _sum(found["told"] for found in files.values())
    causes = [
        f"| {kind} | {count} | {text} |"
        for kind in ("skipped", "failed")
        for text, count in _sum(found[kind] for found in files.values()).most_common()
    ]
    n_second = sum(found["second_runs"] for found in files.values())
    text = (HERE / "RESULTS.journal.head.md").read_text()
    text += "\n".join(f"* {name}: {version}" for name, version in kept["versions"].items())
    text += (
        "\n\n| File | Run on | Collected | Skipped by the suite | Fail on stock too | Applicable "
        "| Pass through the journal |\n|---|---|---|---|---|---|---|\n"
    )
    text += "\n".join(rows)
    text += f"\n\n{n_second} of these passed in a second run only.\n"
    text += "\n## Pass on stock, not through the journal\n\n" + ("\n".join(failures) or "None.")
    text += "\n\n## Passed, and a user would be told of\n\n"
    text += "\n".join(f"* {count}: {line}" for line, count in told.most_common()) or "Nothing."
    text += "\n\n## Not applicable here, by cause\n\n"
    text += "| On stock | Tests | What the suite says |\n|---|---|---|\n"
    return text + "\n".join(causes) + "\n", is_good


def _row(name: str, run_on: str, found: list[dict[str, Any]]) -> str:
    passed = sum(one["passed"] for one in found)
    skipped, failed = (_sum(one[kind] for one in found).total() for kind in ("skipped", "failed"))
    differ = sum(len(one["differ"]) for one in found)
    return (
        f"| {name} | {run_on} | {passed + skipped + failed} | {skipped} | {failed} "
        f"| {passed} | {passed - differ} |"
    )


def _sum(counters: Iterable[dict[str, int]]) -> Counter[str]:
    return sum(map(Counter, counters), Counter())


def main() -> int:
    """Run what the command line says and write RESULTS.journal.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="a checkout of MLflow")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("files", nargs="*", metavar="FILE", help="only these, relative to DIR")
    arguments = parser.parse_args()
    source = arguments.source.resolve()
    run_files(source, arguments.files or collect(source), arguments.processes)
    text, is_good = report()
    (HERE / "RESULTS.journal.md").write_text(text)
    print(text.split("\n## Not applicable")[0])
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
