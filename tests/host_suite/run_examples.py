"""Run MLflow's published example scripts through the journal, and compare what they leave.

    python tests/host_suite/run_examples.py --source DIR [FILE …]

``DIR`` is a checkout of MLflow. Every Python script of its ``examples`` that calls what a training
calls is taken, unchanged, and run as a user would: twice with stock MLflow on SQLite, once with
``MLFLOW_TRACKING_URI=weir:`` and an agent. It has no network, and a processor's time limit.
A script is *applicable* where both stock runs end well and leave something in the store. What is
compared is all that MLflow's client then tells (runs, params, histories, tags, data sets, logged
models, artifacts, traces, registered models) and that is alike in both stock runs.

``FILE …`` runs only these. What came of each is kept in RESULTS.examples.json, in the place of
what its run before had left there, and RESULTS.examples.md is written from all that is there.
Exits with 1 where a script leaves something else through the journal, or ends otherwise.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from run import cause, versions
from run_journal import LOGS

from mlflow_weir.processes import stop_group

HERE = Path(__file__).resolve().parent
KEPT = HERE / "RESULTS.examples.json"
LIMIT_S = 150.0
# A namespace without a network, its own loopback up: nothing is fetched, local servers work.
OFFLINE = ["unshare", "--net", "sh", "-c", 'ip link set lo up 2>/dev/null; exec "$@"', "sh"]
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MPLBACKEND": "agg", "PYTHONHASHSEED": "0"}
STOCK = {"WEIR_DISABLE": "1"}
JOURNAL = {"WEIR_CAPTURE": "0"}  # what Weir adds to each run is not what is compared
# Names that are made up anew each time: ids, times, names of runs and of temporary folders. No
# fractions: where they are alike in both stock runs, all their digits are to be.
MADE_UP = re.compile(
    r"(?:m-|tr-|t-)?[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<![\d.])\d{6,}(?!\.?\d)"
)
OWN_TAGS = ("weir.", "mlflow.source.git")


class Ended(NamedTuple):
    """What a script came to.

    Attributes:
        why: Why it did not end well, or nothing.
        left: What the store then tells, one entry a fact.
    """

    why: str
    left: dict[str, str]


def collect(source: Path) -> list[str]:
    """List the scripts, relative to ``source``."""
    found = [
        path
        for path in sorted((source / "examples").rglob("*.py"))
        if LOGS.search(path.read_text()) or "@mlflow.trace" in path.read_text()
    ]
    if not found:
        raise SystemExit(f"{source}: no examples of MLflow's there")
    return [str(path.relative_to(source)) for path in found]


def missing_packages(script: Path) -> list[str]:
    """Return what it imports that is not installed."""
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    beside = {path.stem for path in script.parent.iterdir()}
    return sorted(n for n in names - beside if importlib.util.find_spec(n) is None)


def run_script(script: Path, folder: Path, environment: dict[str, str], uri: str) -> Ended:
    """Run it in a copy of its folder and read what it left."""
    shutil.copytree(script.parent, folder / "work")
    own = {**os.environ, **QUIET, **environment, "MLFLOW_TRACKING_URI": uri}
    own["HOME"] = str(folder)
    own["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), own.get("PATH", "")])
    why = _run([*OFFLINE, sys.executable, script.name], folder / "work", own)
    if why:
        return Ended(why, {})
    if environment is not STOCK:
        why = _run([str(Path(sys.executable).with_name("weir")), "sync"], folder, own)
        if why:
            return Ended(f"not delivered: {why}", {})
    # Read without the journal, past the agent: what is in the store.
    command = [sys.executable, __file__, "--source", ".", "--read"]
    said = subprocess.run(
        command,
        cwd=folder / "work",
        env={**own, "WEIR_CLIENT": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    return Ended("", json.loads(said.stdout.splitlines()[-1]))


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command; return why it did not end well."""
    with (folder / "output.txt").open("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            text=True,
        )
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            stop_group(process, grace_s=0.0)
            return "takes too long"
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.strip()]
    return "" if code == 0 else (lines[-1] if lines else f"exit code {code}")


def read_store() -> dict[str, str]:
    """Tell all that MLflow's client knows of the store, one entry a fact."""
    from mlflow.entities import ViewType
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    facts: dict[str, str] = {}
    told: dict[str, Any]
    for experiment in client.search_experiments(view_type=ViewType.ALL):
        where = f"experiment {experiment.name}"
        _tell(facts, where, {"stage": experiment.lifecycle_stage, "tags": dict(experiment.tags)})
        ids = [experiment.experiment_id]
        runs = client.search_runs(ids, run_view_type=ViewType.ALL, order_by=["start_time ASC"])
        # Those of a search begin in the same millisecond; what they are given tells them apart.
        for at, run in enumerate(
            sorted(runs, key=lambda one: json.dumps(one.data.params, sort_keys=True))
        ):
            _tell(facts, f"{where} run {at}", _run_facts(client, run))
        for at, model in enumerate(reversed(client.search_logged_models(ids))):
            told = {
                "name": model.name,
                "status": str(model.status),
                "params": model.params,
                "tags": _tags(model.tags),
                "metrics": sorted((m.key, m.step, m.value) for m in model.metrics or ()),
            }
            _tell(facts, f"{where} model {at}", told)
        traces = client.search_traces(experiment_ids=ids, order_by=["timestamp_ms ASC"])
        for at, trace in enumerate(traces):
            spans = [(s.name, s.span_type, str(s.status.status_code)) for s in trace.data.spans]
            told = {
                "state": str(trace.info.state),
                "request": trace.info.request_preview,
                "response": trace.info.response_preview,
                "spans": spans,
                "assessments": sorted(a.name for a in trace.info.assessments),
                "tags": sorted(trace.info.tags),
            }
            _tell(facts, f"{where} trace {at}", told)
    for registered in client.search_registered_models():
        found = client.search_model_versions(f"name='{registered.name}'")
        told = {"versions": len(found), "aliases": registered.aliases, "tags": registered.tags}
        _tell(facts, f"registered model {registered.name}", told)
    return facts


def _run_facts(client: Any, run: Any) -> dict[str, Any]:
    run_id = run.info.run_id
    histories = {
        key: [(m.step, m.value) for m in client.get_metric_history(run_id, key)]
        for key in run.data.metrics
    }
    return {
        "status": run.info.status,
        "name": run.info.run_name,
        "stage": run.info.lifecycle_stage,
        "params": run.data.params,
        "latest": run.data.metrics,
        "histories": histories,
        "points": {key: len(history) for key, history in histories.items()},
        "tags": _tags(run.data.tags),
        "inputs": sorted((d.dataset.name, d.dataset.digest) for d in run.inputs.dataset_inputs),
        "models": len(run.outputs.model_outputs) if run.outputs else 0,
        "files": sorted(_files(client, run_id, None)),
    }


def _files(client: Any, run_id: str, folder: str | None) -> list[str]:
    found: list[str] = []
    for file in client.list_artifacts(run_id, folder):
        found += _files(client, run_id, file.path) if file.is_dir else [file.path]
    return found


def _tags(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith(OWN_TAGS)}


def _tell(facts: dict[str, str], where: str, told: dict[str, Any]) -> None:
    for name, value in told.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, one in parts:
            fact = " ".join(filter(None, [where, name, str(part)]))
            facts[MADE_UP.sub("#", fact)] = MADE_UP.sub("#", json.dumps(one, default=str))


def differences(first: dict[str, str], second: dict[str, str], ours: dict[str, str]) -> list[str]:
    """List what is alike in both stock runs and otherwise in ours, or only in ours."""
    alike = {fact: value for fact, value in first.items() if second.get(fact) == value}
    found = [
        f"{fact}: {value} is {ours.get(fact, 'missing')}"
        for fact, value in alike.items()
        if ours.get(fact) != value
    ]
    always = first.keys() & second.keys()  # what varies must be there too
    found += [f"{fact}: missing" for fact in sorted(always - alike.keys() - ours.keys())]
    if first.keys() == second.keys():
        found += [f"{fact}: only ours" for fact in sorted(ours.keys() - always)]
    return found


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="a checkout of MLflow")
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", metavar="FILE", help="only these, relative to DIR")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read_store()))
        return 0
    source = arguments.source.resolve()
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {"scripts": {}}
    names = ("suite", "mlflow", "Python", "SQLite")
    kept["versions"] = {
        name: version for name, version in versions(source).items() if name in names
    }
    for file in arguments.files or collect(source):
        why, n_facts, found = compare(source / file)
        one = {"why": why, "n_facts": n_facts, "differs": [cause(line) for line in found]}
        kept["scripts"][file] = one
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        print(file, *one.values(), flush=True)
    (HERE / "RESULTS.examples.md").write_text(written(kept))
    return 1 if any(one["differs"] for one in kept["scripts"].values() if not one["why"]) else 0


def compare(script: Path) -> tuple[str, int, list[str]]:
    """Run a script three times.

    Returns:
        Why it is not applicable, how many facts both stock runs share, what differs in ours.
    """
    if missing := missing_packages(script):
        return "imports what is not installed", 0, missing
    with tempfile.TemporaryDirectory(prefix="weir-examples-") as name:
        homes = [Path(name) / part for part in ("first", "second", "ours")]
        for home in homes:
            home.mkdir()
        stock = []
        for home in homes[:2]:
            stock.append(run_script(script, home, STOCK, f"sqlite:///{home}/stock.db"))
            if stock[-1].why:
                return f"fails on stock: {cause(stock[-1].why)}", 0, []
        first, second = stock
        if not any(
            kind in fact for fact in first.left for kind in (" run ", " trace ", " model ")
        ):
            return "leaves nothing in the store that the tracking URI names", 0, []
        uri = f"weir://{homes[2]}/weir"
        ours = run_script(script, homes[2], {**JOURNAL, "WEIR_SPOOL": f"{homes[2]}/spool"}, uri)
        n_alike = sum(second.left.get(fact) == value for fact, value in first.left.items())
        if ours.why:
            return "", n_alike, [ours.why]
        return "", n_alike, differences(first.left, second.left, ours.left)


def written(kept: dict[str, Any]) -> str:
    """Write up what is kept of all scripts."""
    text = (HERE / "RESULTS.examples.head.md").read_text()
    text += "\n".join(f"* {name}: {version}" for name, version in kept["versions"].items())
    text += "\n\n| Example | Facts alike in both stock runs | Through the journal |\n"
    text += "|---|---:|---|\n"
    causes = Counter[str]()
    for file, one in sorted(kept["scripts"].items()):
        if one["why"]:
            causes[one["why"]] += 1
            continue
        result = "; ".join(f"**{line}**" for line in one["differs"][:3]) or "the same"
        text += f"| {file} | {one['n_facts']} | {result} |\n"
    text += "\n## Not applicable here, by cause\n\n| Scripts | Why |\n|---:|---|\n"
    return text + "".join(f"| {count} | {why} |\n" for why, count in causes.most_common())


if __name__ == "__main__":
    sys.exit(main())
