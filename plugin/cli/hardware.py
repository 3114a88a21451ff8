"""``weir hardware``: what the machine of a run is or was doing, as a table.

Read from the store, and from this machine's journals what is still on its way there; so it answers
with the server away, for a run of this machine.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import click

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, WeirError
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.store.delivery.records import Points, RecordError, decode, is_points

_PREFIX = "system/"
_LOOK_S = 1.0
_GPU = re.compile(r"(?P<node>.*/)?gpu_(?P<label>\d+(?:_mig_\d+)?)_(?P<name>\w+)")


class Reading(NamedTuple):
    """The last value of a metric.

    Attributes:
        at_ms: When it was sampled, wall time.
    """

    value: float
    step: int
    at_ms: int


class Answer(NamedTuple):
    """What is known of a run's hardware.

    Attributes:
        status: Of the run; "" where the store does not know it yet.
        readings: By the metric's name without ``system/``.
    """

    run_name: str
    status: str
    notes: str
    readings: dict[str, Reading]

    @property
    def at_ms(self) -> int:
        """When it was last sampled; 0 if it never was."""
        return max((one.at_ms for one in self.readings.values()), default=0)


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--uri", default="weir:", envvar="MLFLOW_TRACKING_URI", help="Store that has the run."
)
@click.option("--follow", is_flag=True, help="Go on until the run ends.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON; with --follow, a line a sample."
)
def hardware(run_id: str, uri: str, follow: bool, as_json: bool) -> None:
    """Show GPUs, processors and memory of RUN, which is its id: the last sample of each."""
    shown_ms = -1
    while True:
        answer = look(run_id, uri)
        if answer.at_ms != shown_ms:
            shown_ms = answer.at_ms
            click.echo(_as_json(run_id, answer, is_line=follow) if as_json else table(answer))
        if not follow or answer.status not in ("RUNNING", "SCHEDULED", ""):
            return
        time.sleep(_LOOK_S)


def look(run_id: str, uri: str) -> Answer:
    """Find the last readings of a run.

    Raises:
        ConfigError: Neither the store nor a journal knows the run.
    """
    # MLflow would try a server that is away for minutes; here the journals have the answer.
    settings.adopt_environment({"WEIR_CLIENT": "off", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from mlflow_weir.plugin.mlflow_private import latest_metrics_of

    readings: dict[str, Reading] = {}
    waiting = list(_waiting(run_id))
    name, status, notes = run_id, "", ""
    try:
        run = MlflowClient(uri).get_run(run_id)
    except MlflowException as exc:
        if not waiting:
            raise ConfigError(f"run {run_id!r}: {exc.message}") from exc
    else:
        name, status = run.info.run_name or run_id, run.info.status
        notes = run.data.tags.get("weir.hardware", "")
        for metric in latest_metrics_of(run.data):
            if metric.key.startswith(_PREFIX):
                key = metric.key.removeprefix(_PREFIX)
                readings[key] = Reading(metric.value, metric.step, metric.timestamp)
    for points in waiting:
        for key, at_ms, step, value in points.points():
            if key.startswith(_PREFIX):
                short = key.removeprefix(_PREFIX)
                if short not in readings or readings[short].at_ms < at_ms:
                    readings[short] = Reading(value, step, at_ms)
    return Answer(name, status, notes, readings)


def _waiting(run_id: str) -> Iterable[Points]:
    """Give the points of a run that are in this user's journals still."""
    spool = Spool.look()
    for folder in [] if spool is None else spool.journals():
        try:
            with JournalReader(folder.path, folder.delivered().position) as reader:
                while payloads := reader.read().payloads:
                    for payload in payloads:
                        if is_points(payload):
                            record = decode(payload)
                            if isinstance(record, Points) and record.run_id == run_id:
                                yield record
        except (WeirError, RecordError):  # delivered and removed meanwhile, or damaged
            continue


def _as_json(run_id: str, answer: Answer, *, is_line: bool) -> str:
    said = {
        "run_id": run_id,
        "status": answer.status,
        "notes": answer.notes,
        "metrics": {
            f"{_PREFIX}{name}": {"value": one.value, "step": one.step, "timestamp": one.at_ms}
            for name, one in sorted(answer.readings.items())
        },
    }
    return json.dumps(said, indent=None if is_line else 2)


def table(answer: Answer) -> str:
    """Return what is known as lines of text."""
    head = f"Run {plain(answer.run_name)}"
    head += f" ({answer.status})" if answer.status else ""
    if not answer.readings:
        return f"{head}: no samples (is WEIR_CAPTURE_HARDWARE off?)"
    ago_s = max(time.time() - answer.at_ms / 1000, 0.0)
    lines = [f"{head}, sampled {ago_s:,.0f} s ago"]
    nodes: dict[str, dict[str, dict[str, float]]] = {}
    for name, one in answer.readings.items():
        found = _GPU.fullmatch(name)
        if found is not None:
            node, label, short = found["node"] or "", found["label"], found["name"]
        else:
            node, label = name[: name.rfind("/") + 1], ""
            short = name[len(node) :]
        nodes.setdefault(node, {}).setdefault(label, {})[short] = one.value
    for node in sorted(nodes):
        if node:
            lines.append(f"\n{plain(node.rstrip('/'))}")
        lines += _of_node(nodes[node])
    if answer.notes:
        lines.append(plain(answer.notes))
    return "\n".join(lines)


def _of_node(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    gpus = sorted((label for label in found if label), key=_order)
    rows = [_of_gpu(label, found[label]) for label in gpus]
    heads = ("GPU", "busy", "SMs", "memory", "the run's", "power", "heat", "clock", "held by")
    lines = _aligned([heads, *rows], n_heads=1) if rows else []
    return lines + _of_machine(found.get("", {}))


def _order(label: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", label))


def _of_gpu(label: str, values: Mapping[str, float]) -> tuple[str, ...]:
    def said(name: str, form: str, scale: float = 1.0) -> str:
        return form.format(values[name] * scale) if name in values else ""

    used, total = said("memory_usage_megabytes", "{:.1f}", 1e-3), ""
    if used:
        total = said("memory_total_megabytes", "/{:.1f}", 1e-3)
    mine = said("process_memory_megabytes", "{:.1f} GB", 1e-3)
    mine += said("process_utilization_percentage", ", {:.0f} %")
    reasons = ("power", "heat", "hardware")
    return (
        label.replace("_mig_", ":"),
        said("utilization_percentage", "{:.0f} %"),
        said("sm_active_percentage", "{:.0f} %"),
        f"{used}{total} GB" if used else "",
        mine.lstrip(", "),
        said("power_usage_watts", "{:.0f}") + said("power_limit_watts", "/{:.0f} W"),
        said("temperature_celsius", "{:.0f} °C"),
        said("sm_clock_mhz", "{:.0f} MHz"),
        ", ".join(reason for reason in reasons if values.get(f"throttled_by_{reason}")),
    )


def _of_machine(values: Mapping[str, float]) -> list[str]:
    def said(name: str, form: str, scale: float = 1.0) -> str:
        return form.format(values[name] * scale) if name in values else ""

    rows = [
        (
            "CPU",
            said("cpu_utilization_percentage", "{:.0f} % of the machine"),
            said("process_cpu_cores", "the run {:.1f} cores")
            + said("cgroup_cpu_limit", " of {:.1f}"),
            said("process_threads", "{:.0f} threads")
            + said("process_count", " of {:.0f} processes"),
        ),
        (
            "memory",
            said("system_memory_usage_megabytes", "{:.1f} GB", 1e-3)
            + said("system_memory_usage_percentage", " ({:.0f} %)"),
            said("process_memory_megabytes", "the run {:.1f} GB", 1e-3),
            said("cgroup_memory_usage_megabytes", "container {:.1f}", 1e-3)
            + said("cgroup_memory_limit_megabytes", " of {:.1f} GB", 1e-3),
        ),
        (
            "disk",
            said("disk_usage_percentage", "/ {:.0f} % full"),
            said("disk_read_megabytes", "{:,.0f} MB read"),
            said("disk_write_megabytes", "{:,.0f} MB written"),
        ),
        (
            "network",
            said("network_receive_megabytes", "{:,.0f} MB in"),
            said("network_transmit_megabytes", "{:,.0f} MB out"),
            "",
        ),
    ]
    return _aligned([row for row in rows if any(row[1:])])


def _aligned(rows: list[tuple[str, ...]], *, n_heads: int = 0) -> list[str]:
    """Return rows as lines, without columns that hold nothing but their heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    kept = [place for place in range(len(widths)) if any(row[place] for row in rows[n_heads:])]
    return ["  ".join(row[place].ljust(widths[place]) for place in kept).rstrip() for row in rows]
