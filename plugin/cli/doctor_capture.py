"""What ``weir doctor`` says of capture: what a run that began here and now would keep."""

from __future__ import annotations

import re
from pathlib import Path

from mlflow_weir import settings
from mlflow_weir.plugin.capture import git, gpu, processes
from mlflow_weir.plugin.capture.visible_gpus import VARIABLES, visible_gpus
from mlflow_weir.plugin.cli.doctor_spool import Finding
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.redaction import Redactor


def check_captures() -> Finding:
    """What would be captured of a run that begins in this folder?"""
    if not settings.CAPTURE.get():
        return Finding("capture", True, "off (WEIR_CAPTURE)")
    said = []
    if settings.CAPTURE_ENVIRONMENT.get():
        said.append("command line, packages and machine")
    else:
        said.append("no environment (WEIR_CAPTURE_ENVIRONMENT)")
    if not settings.CAPTURE_GIT.get():
        return Finding("capture", True, "; ".join([*said, "no git (WEIR_CAPTURE_GIT)"]))
    state = git.capture(Path.cwd(), Redactor(settings.REDACT.get()))
    if state is None:
        return Finding("capture", True, "; ".join([*said, "no git repository here"]))
    said.append(_in_words(state))
    if state.faults:
        return Finding(
            "capture",
            False,
            "; ".join([*said, *map(plain, state.faults)]),
            "Runs begin all the same; WEIR_CAPTURE_GIT=off leaves git alone.",
        )
    return Finding("capture", True, "; ".join(said))


def check_hardware() -> Finding:
    """What would be sampled of this machine, and can its GPUs be read?"""
    if not settings.CAPTURE.get() or not settings.CAPTURE_HARDWARE.get():
        return Finding("hardware", True, "off (WEIR_CAPTURE_HARDWARE)")
    sampler = gpu.GpuSampler()
    devices = sampler.devices()
    sampler.close()
    every = f"every {settings.HARDWARE_INTERVAL_SECONDS.get():g} s"
    if sampler.trouble:
        return Finding("hardware", False, f"processor and memory {every}", sampler.trouble)
    visible = visible_gpus(devices, settings.pick_environment(VARIABLES))
    shown = devices if settings.HARDWARE_GPUS.get() == "all" else visible.devices
    said = [f"{plain(one.name)} ({one.label.replace('_mig_', ':')})" for one in shown]
    hidden = len(devices) - len(shown)
    if hidden:
        said.append(f"not {_number(hidden, 'GPU')} that CUDA_VISIBLE_DEVICES hides")
    if visible.doubt:
        said.append(visible.doubt)
    if devices and not processes.counts_as_nvml():
        said.append("GPU use by process perhaps not: this container numbers processes itself")
    said.append(f"processor and memory, {every}" if said else f"no GPU; the rest {every}")
    return Finding("hardware", True, ", ".join(said))


def _in_words(state: git.GitState) -> str:
    where = plain(state.branch) or "no branch"
    words = [f"git commit {state.commit[:10] or 'none yet'} on {where}"]
    n_files = len(re.findall(rb"^diff --git ", state.patch, re.MULTILINE))
    if state.is_dirty:
        words.append(f"a patch of {_number(n_files, 'file')}, {len(state.patch):,} bytes")
    if state.n_redacted:
        words.append(f"{_number(state.n_redacted, 'secret')} taken out of it")
    if state.left_out:
        words.append(f"{_number(len(state.left_out), 'changed file')} left out")
    if state.untracked:
        words.append(f"names of {_number(len(state.untracked), 'untracked file')}")
    return ", ".join(words)


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
