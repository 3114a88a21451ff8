"""The agent's thread that samples GPUs, machine and processes for the runs that train here.

It lives while a run wants it (``capture/wishes.py``). The machine is looked at once for all runs
that are due, whose moments lie on one grid, so that runs with the same interval share a sample.
Each then gets its own points: of the devices it may see, of its own processes, under its names.

Points go the way of everything else: as records of a journal, delivered exactly once. The agent
writes one for each place where runs go, with the credentials of the trainings' own. It answers for
no run, so that it keeps none going; it is closed with the last run that it is for, delivered and
removed as that of any process which is gone, also by an agent after this one.

Steps count samples, from behind the last that the run has. An agent that takes over after another
counts the intervals since the run began, which are at least as many.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.plugin.agent.worker import Tracked
from mlflow_weir.plugin.capture import host, processes, wishes
from mlflow_weir.plugin.capture.amd import AmdSampler, visible_amd_gpus
from mlflow_weir.plugin.capture.gpu import Device, DeviceSample, GpuSampler
from mlflow_weir.plugin.capture.gpu_queries import METRICS as GPU_METRICS
from mlflow_weir.plugin.capture.visible_gpus import visible_gpus
from mlflow_weir.plugin.capture.wishes import Wish
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.records import encode_operation, encode_points

_log = logging.getLogger(__name__)

PROGRAM = "weir agent (hardware)"
NOTES_TAG = "weir.hardware"
"""What a person should know of a run's figures."""

_FREQUENT_S = 2.0  # below it samples leave out what is slow to ask of a GPU
_FIRST_S = 0.25  # what is a difference of two moments needs so much between them
_HELD_BYTES = 1 << 20
_STOP_S = 5.0
_SETTLED_NS = 100_000_000
_ENERGY = "energy_joules"
_REFUSED_RUN = re.compile(r"\d+ points of run (\S+)")
_MLFLOW_GPU = frozenset(metric.name for metric in GPU_METRICS if metric.is_mlflow)
_MLFLOW_HOST = frozenset(metric.name for metric in host.METRICS if metric.is_mlflow)
_UNRESOLVED = (
    "what the run's own processes use of the GPUs is not known: this container numbers processes "
    "in its own way (run it with the machine's, such as `docker run --pid=host`)"
)


@dataclass
class _Process:
    """A process that has a run open."""

    tracked: Tracked
    wish: Wish


@dataclass
class _Run:
    """One run in one place; several processes of the machine may have it open."""

    run_id: str
    address: Address
    processes: list[_Process]
    step: int | None = None
    due_s: float = 0.0
    begun: dict[str, float] | None = None
    use: host.RunUse = field(default_factory=host.RunUse)
    notes: tuple[str, ...] = ()

    @property
    def wish(self) -> Wish:
        """What it wants: as the first of its processes has it."""
        return self.processes[0].wish

    @property
    def interval_s(self) -> float:
        return min(one.wish.interval_s for one in self.processes)

    def journals(self) -> list[JournalFolder]:
        return [one.tracked.folder for one in self.processes]


Key = tuple[Address, str]


class Sampling:
    """What is sampled; the agent's main thread looks for it, a thread of its own does it."""

    def __init__(self, spool: Spool) -> None:
        """Prepare; nothing is started before a run wants it."""
        self._spool = spool
        self._signal = threading.Condition()
        self._known: dict[str, tuple[int, list[Wish]]] = {}
        self._runs: dict[Key, _Run] = {}
        self._refused: set[Key] = set()
        self._thread: threading.Thread | None = None
        self._is_stopping = self._has_failed = False

    def look(self, tracked: Iterable[Tracked]) -> None:
        """Find out which runs want to be sampled now."""
        known: dict[str, tuple[int, list[Wish]]] = {}
        living = []
        is_changed = False
        for one in tracked:
            name = one.header.journal_id
            if one.evidence is not None or one.is_released:
                continue
            self._note_refused(one)
            at_ns = wishes.changed_ns(one.folder.path)
            if not at_ns:
                continue
            before = self._known.get(name)
            if before is None or before[0] != at_ns:
                # A folder's time moves in steps: what is read in the same one may change in it.
                is_settled = time.time_ns() - at_ns > _SETTLED_NS
                found = wishes.read_all(one.folder.path)
                is_changed = is_changed or before is None or before[1] != found
                before = (at_ns if is_settled else 0, found)
            known[name] = before
            living.append((one, before[1]))
        is_changed = is_changed or known.keys() != self._known.keys()
        self._known = known
        if not is_changed:
            return
        wanted: dict[Key, list[_Process]] = {}
        for one, wished in living:
            for wish in wished:
                wanted.setdefault((one.address, wish.run_id), []).append(_Process(one, wish))
        self._change(wanted)

    def stop(self) -> None:
        """End the thread; what it wrote is delivered by the next agent if not by this one."""
        with self._signal:
            self._is_stopping = True
            thread = self._thread
            self._signal.notify()
        if thread is not None:
            thread.join(_STOP_S)

    def _note_refused(self, one: Tracked) -> None:
        """Stop asking for a run whose points the store refuses, such as a deleted one."""
        if one.header.program != PROGRAM or one.delivery is None:
            return
        for refused in one.delivery.noted.rejected:
            found = _REFUSED_RUN.match(refused.get("what", ""))
            if found is not None and (one.address, found[1]) not in self._refused:
                self._refused.add((one.address, found[1]))
                _log.info("run %s is not sampled any more: %s", found[1], refused.get("reason"))

    def _change(self, found: Mapping[Key, list[_Process]]) -> None:
        with self._signal:
            runs = {}
            for key, there in found.items():
                run = self._runs.get(key)
                if run is None:
                    run = _Run(key[1], key[0], there)
                else:
                    run.processes = there
                runs[key] = run
            self._runs = runs
            self._refused &= found.keys()
            if runs and self._thread is None and not self._is_stopping:
                self._thread = threading.Thread(target=self._work, name="weir-sample", daemon=True)
                self._thread.start()
            self._signal.notify()

    def _work(self) -> None:
        machine = _Machine(self._spool)
        try:
            machine.prime()
            with self._signal:
                self._signal.wait_for(lambda: self._is_stopping, _FIRST_S)
            while True:
                with self._signal:
                    runs = [run for key, run in self._runs.items() if key not in self._refused]
                    if not self._runs or self._is_stopping:
                        self._thread = None
                        return
                self._round(machine, runs)
        finally:
            machine.close()

    def _round(self, machine: _Machine, runs: list[_Run]) -> None:
        """Sample for the runs that are due, and wait until one is."""
        now = time.monotonic()
        due = [run for run in runs if run.due_s <= now]
        if due and now - machine.sampled_s >= _FIRST_S:
            try:
                machine.sample(due)
            except Exception:  # noqa: BLE001 - the next sample may go better
                if not self._has_failed:
                    _log.exception("a sample of the machine")
                self._has_failed = True
            for run in due:
                run.due_s = (math.floor(now / run.interval_s) + 1) * run.interval_s
        machine.close_others({run.address for run in runs})
        next_s = min((run.due_s for run in runs), default=now + 60.0)
        wait_s = max(next_s, machine.sampled_s + _FIRST_S) - time.monotonic()
        with self._signal:
            before = self._runs
            if wait_s > 0:
                self._signal.wait_for(
                    lambda: self._is_stopping or self._runs is not before, wait_s
                )


class _Machine:
    """The machine, and the journals that its samples go to; of the sampling thread alone."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._gpus, self._amd, self._is_amd = GpuSampler(), AmdSampler(), False
        self._host = host.HostSampler()
        self._journals: dict[Address, Journal] = {}
        self._is_first_namespace = processes.counts_as_nvml()
        self._said: set[str] = set()
        self.sampled_s = -math.inf

    def prime(self) -> None:
        """Begin the interval that the first sample is over."""
        self._host.prime()
        self._gpus.sample()

    def close(self) -> None:
        """Give the journals up for delivery, and the library back."""
        self.close_others(set())
        self._gpus.close()
        self._amd.close()

    def close_others(self, wanted: set[Address]) -> None:
        """Close the journals of places to which no run goes any more."""
        for address in self._journals.keys() - wanted:
            self._journals.pop(address).close()

    def sample(self, runs: Collection[_Run]) -> None:
        """Look at the machine, and write what it is like for each run."""
        at_ms, self.sampled_s = time.time_ns() // 1_000_000, time.monotonic()
        # A run's first sample has all, so that its counters begin with the run.
        is_frequent = all(run.interval_s < _FREQUENT_S and run.begun is not None for run in runs)
        machine, gpus = self._host.sample(), self._gpus.sample(is_frequent=is_frequent)
        devices = self._gpus.devices()
        self._is_amd = not devices and bool(self._amd.devices())
        if self._is_amd:
            gpus, devices = self._amd.sample(), self._amd.devices()
        self._say(self._gpus.trouble)
        for run in runs:
            try:
                journal = self._journal(run)
                values = self._values(run, machine, gpus, devices)
            except (WeirError, OSError) as exc:
                self._say(f"run {run.run_id}: {exc}")
                continue
            self._write(journal, run, values, at_ms)

    def _values(
        self,
        run: _Run,
        machine: host.HostSample,
        gpus: list[DeviceSample],
        devices: list[Device],
    ) -> dict[str, float]:
        """Return a run's metrics, without what their names begin with."""
        wish, notes = run.wish, [self._gpus.trouble] if self._gpus.trouble else []
        trees: dict[int, list[processes.Process]] = {}
        for one in run.processes:
            header = one.tracked.header
            pid = machine.table.find(header.pid, header.pid_start_ticks)
            if pid is not None:
                trees[pid] = machine.table.tree(pid)
        values = dict(machine.values)
        counters = dict(machine.counters)
        values.update(machine.of_run(trees, run.use))
        if wish.has_monitor:
            values = {name: value for name, value in values.items() if name not in _MLFLOW_HOST}
            counters = {
                name: value for name, value in counters.items() if name not in _MLFLOW_HOST
            }
        labels = {device.label for device in devices}
        if not wish.all_gpus:
            shown: set[Device] = set()
            for one in run.processes:
                choose = visible_amd_gpus if self._is_amd else visible_gpus
                visible = choose(devices, one.wish.variables)
                shown.update(visible.devices)
                notes += [visible.doubt] if visible.doubt else []
            labels = {device.label for device in shown}
            labels |= {str(device.index) for device in shown if device.is_slice}
        tree = [process for found in trees.values() for process in found]
        for sample in gpus:
            if sample.device.label not in labels and not (
                wish.all_gpus and not sample.device.is_slice
            ):
                continue
            found = dict(sample.values)
            if not self._add_processes(sample, tree, found):
                notes.append(_UNRESOLVED)
            if wish.has_monitor:
                found = {name: value for name, value in found.items() if name not in _MLFLOW_GPU}
            name_of = f"gpu_{sample.device.label}_"
            if _ENERGY in found:
                counters[name_of + _ENERGY] = found.pop(_ENERGY)
            values.update({name_of + name: value for name, value in found.items()})
        self._begin(run, counters)
        for name, value in counters.items():
            values[name] = value - (run.begun or {}).get(name, value)
        self._note(run, tuple(dict.fromkeys(notes)))
        return values

    def _add_processes(
        self, sample: DeviceSample, tree: list[processes.Process], found: dict[str, float]
    ) -> bool:
        """Add what a run's own processes use of a device; False where nobody can tell which."""
        if sample.processes is None:
            return True
        ours = processes.on_device(tree, sample.processes, is_machine=self._is_first_namespace)
        if ours is None:
            return False
        uses = [sample.processes[pid] for pid in ours]
        memory = [use.memory_bytes for use in uses]
        if None not in memory:
            found["process_memory_megabytes"] = sum(n or 0 for n in memory) / 1e6
        if sample.has_utilization:
            found["process_utilization_percentage"] = sum(use.utilization or 0.0 for use in uses)
        return True

    def _begin(self, run: _Run, counters: Mapping[str, float]) -> None:
        """Keep what counters were when the run began, or find what another agent has kept."""
        folders = [folder.path for folder in run.journals()]
        if run.begun is None:
            kept = [wishes.read_begun(folder, run.run_id) for folder in folders]
            known = next((one for one in kept if one is not None), None)
            run.begun = dict(known or {})
            run.step = run.wish.first_step
            if known is not None:
                since_s = time.time() - run.wish.began_ms / 1000
                run.step += max(int(since_s // run.interval_s), 0) + 2
        new = {name: value for name, value in counters.items() if name not in run.begun}
        if new:  # a device that came later, too
            run.begun.update(new)
            wishes.write_begun(folders[0], run.run_id, run.begun)
        for name, value in counters.items():
            if value < run.begun[name]:  # it has begun anew: a driver was loaded again
                run.begun[name] = 0.0

    def _note(self, run: _Run, notes: tuple[str, ...]) -> None:
        run.notes = (*run.notes, *(note for note in notes if note not in run.notes))

    def _write(self, journal: Journal, run: _Run, values: dict[str, float], at_ms: int) -> None:
        step = run.step or 0
        prefix = run.wish.prefix
        points = [
            (prefix + name, at_ms, step, value)
            for name, value in values.items()
            if math.isfinite(value)
        ]
        if points:
            journal.append(encode_points(run.run_id, points))
            run.step = step + 1
        text = "; ".join(run.notes)
        if text and run.run_id + text not in self._said:
            self._said.add(run.run_id + text)
            _log.warning("run %s: %s", run.run_id, text)
            tags = [[NOTES_TAG, text]]
            journal.append(encode_operation("set_tags", {"run_id": run.run_id, "tags": tags}))

    def _journal(self, run: _Run) -> Journal:
        """Return the journal for a run's place, begun if need be.

        Raises:
            WeirError: The spool takes none.
        """
        journal = self._journals.get(run.address)
        if journal is not None and journal.folder.is_dir():
            return journal
        first = run.processes[0].tracked
        journal = Journal.create(
            self._spool,
            first.header.target,
            first.folder.credentials(),
            node=first.header.node,
            program=PROGRAM,
            max_held_bytes=_HELD_BYTES,
        )
        journal.on_dropped = self._dropped
        self._journals[run.address] = journal
        return journal

    def _dropped(self, payload: bytes) -> Any:
        self._say("samples are dropped: neither the disk nor memory has room for them")

    def _say(self, text: str) -> None:
        """Say something in the agent's log, once."""
        if text and text not in self._said:
            self._said.add(text)
            _log.warning("%s", text)
