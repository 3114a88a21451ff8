"""What ``weir doctor`` says of capture: what a run that began here and now would keep."""

from __future__ import annotations

import importlib.metadata
import os
import re
from pathlib import Path

from mlflow_weir import settings
from mlflow_weir.capture_policy import CLASSES
from mlflow_weir.plugin import console, console_ways
from mlflow_weir.plugin.capture import amd, environment, following, git, gpu, processes
from mlflow_weir.plugin.capture.visible_gpus import VARIABLES
from mlflow_weir.plugin.cli.doctor_spool import Finding
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.redaction import Redactor


def check_captures() -> list[Finding]:
    """What would be captured of a run that begins in this folder: a line a class."""
    if not settings.CAPTURE.get():
        return [Finding("capture", True, "off (WEIR_CAPTURE)")]
    return [_git(), _environment(), _files(), _notebook(), _gradients()]


def as_allowed(findings: list[Finding], allowed: frozenset[str]) -> list[Finding]:
    """Say of the classes of capture that a server does not allow that nothing of them is kept."""
    return [
        one
        if (name := one.check.removeprefix("capture of ")) in allowed or name not in CLASSES
        else Finding(one.check, True, "not allowed by the server (its WEIR_SERVER_CAPTURE)")
        for one in findings
    ]


def _git() -> Finding:
    if not settings.CAPTURE_GIT.get():
        return Finding("capture of git", True, "off (WEIR_CAPTURE_GIT)")
    redactor = Redactor(settings.REDACT.get())
    has_untracked = settings.CAPTURE_UNTRACKED.get()
    state = git.capture(Path.cwd(), redactor, has_untracked=has_untracked)
    folders = [
        Path(one).expanduser() for one in settings.split_paths(settings.GIT_REPOSITORIES.get())
    ]
    others = git.capture_others(state, folders, redactor)
    said = [_in_words(state) if state else "no git repository here"]
    if others:
        names = (f"{plain(one.name)}{' (changed)' if one.is_dirty else ''}" for one in others)
        said.append(f"and of {', '.join(names)}")
    faults = [plain(fault) for one in [state, *others] if one for fault in one.faults]
    if not faults:
        return Finding("capture of git", True, "; ".join(said))
    hint = "Runs begin all the same; WEIR_CAPTURE_GIT=off leaves git alone."
    return Finding("capture of git", False, "; ".join([*said, *faults]), hint)


def _environment() -> Finding:
    if not settings.CAPTURE_ENVIRONMENT.get():
        return Finding("capture of environment", True, "off (WEIR_CAPTURE_ENVIRONMENT)")
    redactor = Redactor(settings.REDACT.get())
    n_packages = environment.requirements(redactor).count("\n")
    variables = environment.variables(settings.child_environment(), redactor)
    said = ["command line", "machine", _number(n_packages, "package")]
    said.append(f"variables {', '.join(variables)}" if variables else "none of the variables")
    if kind := environment.container():
        image = plain(redactor.text(environment.container_image()))
        said.append(f"{kind} container {image or 'of unknown image'}")
    return Finding("capture of environment", True, ", ".join(said))


def _files() -> Finding:
    patterns = settings.split_paths(settings.FILES.get())
    if not patterns:
        return Finding("capture of files", True, "none are followed (WEIR_FILES)")
    n_files, bad = following.count_matches(patterns, Path.cwd())
    said = f"{plain(' '.join(patterns))}: {_number(n_files, 'file')} here that match"
    if bad:
        return Finding(
            "capture of files",
            False,
            f"{said}; not followed: {plain(', '.join(bad))}",
            "WEIR_FILES takes patterns below the working folder; docs/capture.md has the rules.",
        )
    return Finding("capture of files", True, said)


def _notebook() -> Finding:
    if not settings.CAPTURE_NOTEBOOK.get():
        return Finding("capture of notebook", True, "off (WEIR_CAPTURE_NOTEBOOK)")
    return Finding(
        "capture of notebook", True, "in a notebook, the cells that were run, without outputs"
    )


def _gradients() -> Finding:
    if not settings.CAPTURE_GRADIENTS.get():
        return Finding("capture of gradients", True, "off (WEIR_CAPTURE_GRADIENTS)")
    try:
        said = f"with mlflow_weir.watch(model), PyTorch {importlib.metadata.version('torch')}"
    except importlib.metadata.PackageNotFoundError:
        said = "PyTorch, which mlflow_weir.watch(model) is for, is not installed"
    return Finding("capture of gradients", True, said)


def check_hardware() -> Finding:
    """What would be sampled of this machine, and can its GPUs be read?"""
    if not settings.CAPTURE.get() or not settings.CAPTURE_HARDWARE.get():
        return Finding("hardware", True, "off (WEIR_CAPTURE_HARDWARE)")
    sampler, amd_sampler = gpu.GpuSampler(), amd.AmdSampler()
    variables = settings.pick_environment({*VARIABLES, *amd.VARIABLES})
    nvidia = sampler.devices()
    devices, visible = amd.seen_gpus(nvidia, amd_sampler, variables)
    sampler.close()
    amd_sampler.close()
    every = f"every {settings.HARDWARE_INTERVAL_SECONDS.get():g} s"
    if sampler.trouble:
        return Finding("hardware", False, f"processor and memory {every}", sampler.trouble)
    shown = devices if settings.HARDWARE_GPUS.get() == "all" else visible.devices
    said = [f"{plain(one.name)} ({one.label.replace('_mig_', ':')})" for one in shown]
    hidden = len(devices) - len(shown)
    if hidden:
        names = ("CUDA_VISIBLE_DEVICES",) if nvidia else amd.DECIDING
        hiding = next(name for name in names if name in variables)
        said.append(f"not {_number(hidden, 'GPU')} that {hiding} hides")
    if visible.doubt:
        said.append(visible.doubt)
    if devices and not processes.counts_as_nvml():
        said.append("GPU use by process perhaps not: this container numbers processes itself")
    said.append(f"processor and memory, {every}" if said else f"no GPU; the rest {every}")
    return Finding("hardware", True, ", ".join(said))


def check_console() -> Finding:
    """How would what a run prints be captured that began here, in a script?"""
    how = console.mode()
    if how.name == "off":
        return Finding("console", True, f"not captured: {how.why}")
    if how.name == "wrap":
        return Finding("console", True, f"sys.stdout and sys.stderr alone: {how.why}")
    kinds = ["a terminal" if os.isatty(number) else "no terminal" for number in (1, 2)]
    said = f"stdout ({kinds[0]}) and stderr ({kinds[1]})"
    if console_ways.are_shared():
        said = f"stdout and stderr together ({kinds[0]}), in their order"
    return Finding("console", True, f"{said}, subprocesses and C code included")


def _in_words(state: git.GitState) -> str:
    where = plain(state.branch) or "no branch"
    words = [f"git commit {state.commit[:10] or 'none yet'} on {where}"]
    n_files = len(re.findall(rb"^diff --git ", state.patch, re.MULTILINE))
    if state.is_dirty:
        words.append(f"a patch of {_number(n_files, 'file')}, {len(state.patch):,} bytes")
    if state.upstream is not None:
        words.append(f"another from {state.upstream[0][:10]}, the newest commit that is pushed")
    if state.n_redacted:
        words.append(f"{_number(state.n_redacted, 'secret')} taken out")
    if state.left_out:
        words.append(f"{_number(len(state.left_out), 'changed file')} left out")
    if state.untracked_patch:
        words.append(f"{len(state.untracked_patch):,} bytes of untracked files")
    if state.untracked:
        words.append(f"names of {_number(len(state.untracked), 'untracked file')}")
    return ", ".join(words)


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
