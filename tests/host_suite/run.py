"""Run MLflow's published tests of its tracking store on Weir, and write RESULTS.md.

    python tests/host_suite/run.py --source DIR [--database sqlite|postgresql|mariadb …]

``DIR`` is a checkout of MLflow, best of the installed version's tag; nothing of it is kept. The
tests are collected by pattern, not chosen: every file of the suite that tests the SQL tracking
store (plain and workspace-aware) and the tracking REST API. Each runs on each database twice, on
the stock store of the installed MLflow and on Weir's. A test is *applicable* where it passes on
stock; what the suite itself skips, and what fails on stock too (another version of MLflow, a
package that is not installed), is counted by cause. A test that fails on Weir runs once more, with
no other beside it, and counts by that second run.

The outcomes are kept in ``build/host-suite``, so that one database can be run anew; RESULTS.md is
written from all that are there. Each test that passes on stock and not on Weir needs a reason in
expected.toml. Exits with 1 where one has none, or where fewer than 99 % pass on a database.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KEPT = ROOT / "build" / "host-suite"
DATABASES = ("sqlite", "postgresql", "mariadb")
MUST_PASS = 0.99

# Where MLflow keeps its tests of the SQL tracking store and of the tracking REST API, in the
# layout of 3.11 (a folder) and the one before it (one file a store).
PATTERNS = (
    "tests/store/tracking/test_sqlalchemy_*store*.py",
    "tests/store/tracking/sqlalchemy_store/test_*.py",
    "tests/tracking/test_rest_tracking.py",
)

Outcomes = dict[str, tuple[str, str]]


def collect(source: Path) -> list[str]:
    """List the suite's files, relative to ``source``."""
    found = [path for pattern in PATTERNS for path in sorted(source.glob(pattern))]
    if not found:
        raise SystemExit(f"{source}: no tests of MLflow's there ({', '.join(PATTERNS)})")
    return [str(path.relative_to(source)) for path in found]


def copy_tests(source: Path, target: Path) -> None:
    """Copy the suite without MLflow's package, which would shadow the installed one."""
    shutil.copytree(source / "tests", target / "tests")
    shutil.copy(source / "pyproject.toml", target)
    with (target / "tests" / "conftest.py").open("a") as conftest:
        conftest.write("\nfrom suite_plugin import db_uri  # noqa\n")


def run(
    tests: Sequence[str],
    copy: Path,
    store: str,
    database: str,
    processes: int,
    *,
    dist: str = "load",
) -> Outcomes:
    """Run tests once and return what came of each, by its id."""
    outcomes = copy / "outcomes.json"
    outcomes.unlink(missing_ok=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    listed = copy / "tests.txt"
    listed.write_text("\n".join(tests))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(HERE), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
        ),
        # For tests that call `mlflow`.
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
        "WEIR_SUITE_STORE": store,
        "WEIR_SUITE_DATABASE": database,
        "WEIR_SUITE_OUTCOMES": str(outcomes),
        "WEIR_SPOOL_PARENT": str(copy),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "pytest", f"@{listed}", "-p", "databases"]
    command += ["-p", "suite_plugin", "-p", "no:cacheprovider", "--override-ini", "addopts="]
    command += ["-q", "--no-header", "--tb=short", "--color=no", "--timeout=120"]
    command += ["-n", str(processes), "--dist", "loadfile" if processes == 1 else dist]
    with (KEPT / f"{database}-{store}.log").open("w") as log:
        subprocess.run(command, cwd=copy, env=environment, stdout=log, stderr=log, check=False)
    if not outcomes.exists():
        raise SystemExit(f"pytest said nothing: see {log.name}")
    return {test: (kind, why) for test, (kind, why) in json.loads(outcomes.read_text()).items()}


def run_database(source: Path, database: str, processes: int) -> None:
    """Run the suite on stock and on Weir over one kind of database and keep the outcomes."""
    with tempfile.TemporaryDirectory(prefix="weir-host-suite-") as folder:
        copy = Path(folder)
        copy_tests(source, copy)
        files = collect(source)
        stock = run(files, copy, "stock", database, processes)
        weir = run(files, copy, "weir", database, processes)
        again = [test for test in failing(stock, weir) if "::" in test]
        retried = run(again, copy, "weir", database, 1) if again else {}
    kept = {
        "versions": versions(source),
        "stock": stock,
        "weir": {**weir, **retried},
        "second_runs": [test for test, (kind, _) in retried.items() if kind == "passed"],
    }
    (KEPT / f"{database}.json").write_text(json.dumps(kept, indent=1))


def failing(stock: Outcomes, weir: Outcomes) -> list[str]:
    """List the tests that pass on stock and do not on Weir."""
    return [
        test
        for test, (kind, _) in sorted(stock.items())
        if kind == "passed" and weir.get(test, ("absent", ""))[0] != "passed"
    ]


def versions(source: Path) -> dict[str, str]:
    """Name what ran."""
    git = ["git", "-C", str(source), "log", "-1", "--format=%h of %cs"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    declared = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    packages = ("mlflow", "sqlalchemy", "psycopg", "pymysql", "pytest")
    return {
        "suite": f"MLflow {declared}" + (f", commit {commit}" if commit else ""),
        **{name: importlib.metadata.version(name) for name in packages},
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": server_version("postgres"),
        "MariaDB": server_version("mariadbd"),
    }


def server_version(program: str) -> str:
    """Return what a database server says of its version, or ``not installed``."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(program, path=path)
    if found is None:
        return "not installed"
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\d+(\.\d+)+", said.stdout)
    return version.group() if version else "unknown"


def cause(why: str) -> str:
    """Shorten a failure to what many of its kind share."""
    line = why.strip().splitlines()[0] if why.strip() else "no message"
    line = re.sub(r"(?<![\w.])/(?:[\w.+-]+/)+", "…/", line)  # where it was run is nobody's matter
    line = re.sub(r"(?<![\w.])\d+(\.\d+)?", "N", line)
    return line.replace("|", "\\|").replace("`", "'")[:110]


def report() -> tuple[str, bool]:
    """Write up what is kept.

    Returns:
        RESULTS.md, and whether all is as it must be.
    """
    expected: dict[str, str] = tomllib.loads((HERE / "expected.toml").read_text())["reasons"]
    kept = {
        database: json.loads((KEPT / f"{database}.json").read_text())
        for database in DATABASES
        if (KEPT / f"{database}.json").exists()
    }
    is_good = True
    rows, causes, failures = [], [], []
    for database, results in kept.items():
        stock, weir = results["stock"], results["weir"]
        kinds = Counter(kind for kind, _ in stock.values())
        failed = failing(stock, weir)
        share = 1 - len(failed) / max(1, kinds["passed"])
        is_good &= share >= MUST_PASS
        rows.append(
            f"| {database} | {len(stock)} | {kinds['skipped']} | {kinds['failed']} "
            f"| {kinds['passed']} | {kinds['passed'] - len(failed)} | {100 * share:.2f} % "
            f"| {len(results['second_runs'])} |"
        )
        for test in failed:
            reason = next((why for name, why in expected.items() if name in test), None)
            is_good &= reason is not None
            why = weir.get(test, ("absent", "not collected on Weir"))[1]
            failures.append(
                f"* {database}: `{test}`: {reason or '**no reason given**: ' + cause(why)}"
            )
        for kind in ("skipped", "failed"):
            counted = Counter(cause(why) for found, why in stock.values() if found == kind)
            causes += [
                f"| {database} | {kind} | {count} | {text} |"
                for text, count in counted.most_common()
            ]
    text = (HERE / "RESULTS.head.md").read_text()
    first = next(iter(kept.values()))["versions"] if kept else {}
    text += "\n".join(f"* {name}: {version}" for name, version in first.items())
    text += (
        "\n\n| Database | Collected | Skipped by the suite | Fail on stock too | Applicable "
        "| Pass on Weir | Share | of these in a second run |\n|---|---|---|---|---|---|---|---|\n"
    )
    text += "\n".join(rows)
    text += "\n\n## Pass on stock, not on Weir\n\n" + ("\n".join(failures) or "None.")
    text += "\n\n## Not applicable here, by cause\n\n"
    text += "| Database | On stock | Tests | What the suite says |\n|---|---|---|---|\n"
    return text + "\n".join(causes) + "\n", is_good


def main() -> int:
    """Run what the command line says and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="a checkout of MLflow")
    parser.add_argument("--database", choices=DATABASES, action="append", help="only this one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    for database in arguments.database or DATABASES:
        run_database(arguments.source.resolve(), database, arguments.processes)
    text, is_good = report()
    (HERE / "RESULTS.md").write_text(text)
    print(text.split("\n## Not applicable")[0])
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
