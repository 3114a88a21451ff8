"""What a training runs on and with: program, Python, packages, machine, its place in a job.

Of the environment variables only those on a list, which hold no secrets by their meaning; their
values pass the redactor all the same. Never the whole environment, and no list of what to leave
out, which always misses one.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow_weir import settings
from mlflow_weir.plugin.capture import cgroups
from mlflow_weir.redaction import Redactor, without_userinfo

VARIABLES = frozenset(
    "CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER CUDA_LAUNCH_BLOCKING HIP_VISIBLE_DEVICES "
    "ROCR_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES WORLD_SIZE RANK LOCAL_RANK LOCAL_WORLD_SIZE "
    "NODE_RANK GROUP_RANK GROUP_WORLD_SIZE ROLE_RANK ROLE_WORLD_SIZE "
    "MASTER_ADDR MASTER_PORT TORCHELASTIC_RUN_ID "
    "TORCHELASTIC_RESTART_COUNT TORCHELASTIC_MAX_RESTARTS OMPI_COMM_WORLD_RANK "
    "OMPI_COMM_WORLD_SIZE PMI_RANK PMI_SIZE OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS "
    "NUMEXPR_NUM_THREADS TF_CONFIG_ROLE XLA_FLAGS TOKENIZERS_PARALLELISM PYTHONHASHSEED "
    "CUBLAS_WORKSPACE_CONFIG NCCL_DEBUG NCCL_IB_DISABLE NCCL_P2P_DISABLE NCCL_SOCKET_IFNAME "
    "NCCL_ALGO NCCL_PROTO SLURM_JOB_ID SLURM_JOB_NAME SLURM_JOB_PARTITION SLURM_JOB_NUM_NODES "
    "SLURM_JOB_NODELIST SLURM_NODEID SLURM_NODELIST SLURM_NNODES SLURM_NTASKS SLURM_PROCID "
    "SLURM_LOCALID SLURM_STEP_ID SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SLURM_CPUS_PER_TASK "
    "SLURM_GPUS SLURM_GPUS_ON_NODE SLURM_JOB_GPUS SLURM_STEP_GPUS "
    "SLURM_RESTART_COUNT SLURM_CLUSTER_NAME PBS_JOBID PBS_NODENUM "
    "LSB_JOBID JOB_ID JOB_COMPLETION_INDEX KUBERNETES_SERVICE_HOST HOSTNAME CONDA_DEFAULT_ENV "
    "CONTAINER_IMAGE SINGULARITY_NAME APPTAINER_NAME POD_NAME POD_NAMESPACE NODE_NAME "
    "AWS_BATCH_JOB_ID AWS_BATCH_JOB_ARRAY_INDEX AWS_BATCH_JOB_NODE_INDEX TRAINING_JOB_NAME "
    "COLAB_RELEASE_TAG KAGGLE_KERNEL_RUN_TYPE CUDA_VERSION NVIDIA_DRIVER_CAPABILITIES "
    "PYTORCH_CUDA_ALLOC_CONF NCCL_IB_HCA NCCL_NET SLURM_SUBMIT_HOST SLURM_JOB_QOS "
    "SLURM_TASKS_PER_NODE SLURM_MEM_PER_NODE".split()
)
"""The environment variables that are captured, where they are set."""

MAX_COMMAND_LINE_CHARACTERS = 100_000
MAX_VARIABLE_CHARACTERS = 10_000

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# What schedulers and container programs call the image that they started.
_IMAGES = (
    *("CONTAINER_IMAGE", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "SLURM_CONTAINER_IMAGE"),
    *("ENROOT_CONTAINER_IMAGE", "SM_DOCKER_IMAGE", "WANDB_DOCKER"),
)


def facts(argv: Sequence[str], redactor: Redactor) -> dict[str, Any]:
    """Return what there is to know, for a JSON file.

    Args:
        argv: The training's command line, the interpreter first.
        redactor: Takes out what is secret in it.
    """
    return {
        "argv": _cut(redactor.argv(argv)),
        "working_directory": redactor.text(os.getcwd()),
        "executable": sys.executable,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "prefix": sys.prefix,
        "platform": platform.platform(),
        "system": next(iter(_lines(Path("/etc/os-release"), r'PRETTY_NAME="?([^"\n]+)')), ""),
        "host": platform.node(),
        "cpu": _cpu(),
        "memory_bytes": memory_bytes(),
        "container": container(),
        "container_image": redactor.text(container_image()),
        "container_id": container_id(),
        "kubernetes_namespace": next(iter(_lines(_NAMESPACE, r"\A([\w.-]{1,253})\s*\Z")), ""),
        "variables": variables(settings.child_environment(), redactor),
    }


def variables(environment: Mapping[str, str], redactor: Redactor) -> dict[str, str]:
    """Return the listed variables that are set, without what is secret in them."""
    return {
        name: redactor.text(environment[name])[:MAX_VARIABLE_CHARACTERS]
        for name in sorted(VARIABLES & environment.keys())
        if environment[name]
    }


def _cut(words: Sequence[str]) -> list[str]:
    """Return the words of a command line as far as there is room, and how many more there are."""
    lengths = itertools.accumulate(len(word) + 1 for word in words)
    kept = [
        word for word, n in zip(words, lengths, strict=False) if n <= MAX_COMMAND_LINE_CHARACTERS
    ]
    n_more = len(words) - len(kept)
    return [*kept, f"[and {n_more:,} more]"] if n_more else kept


def requirements(redactor: Redactor) -> str:
    """Return the installed packages as a requirements file, sorted, one a line.

    A package installed from an address or a folder names that, as PEP 610 records it.
    """
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions():
        name = package.metadata["Name"]
        if not name or not package.version:
            continue  # a damaged one
        found.setdefault(name.lower().replace("_", "-"), _requirement(package, name))
    return redactor.text("".join(f"{found[name]}\n" for name in sorted(found)))


def _requirement(package: importlib.metadata.Distribution, name: str) -> str:
    try:
        source = json.loads(package.read_text("direct_url.json") or "{}")
        address = without_userinfo(str(source["url"]))
    except (OSError, ValueError, KeyError, TypeError):
        return f"{name}=={package.version}"
    version = source.get("vcs_info") or {}
    if version:
        return f"{name} @ {version.get('vcs')}+{address}@{version.get('commit_id')}"
    editable = "-e " if (source.get("dir_info") or {}).get("editable") else ""
    return f"# {editable}{name}=={package.version} from {address}"


def _cpu() -> dict[str, Any]:
    model = next(iter(_lines(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)")), "")
    try:
        usable = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        usable = os.cpu_count() or 1
    return {"model": model or platform.processor(), "logical": os.cpu_count(), "usable": usable}


def memory_bytes() -> dict[str, int | None]:
    """Return the machine's memory and the limit of this container or job, None where unknown."""
    total = next(iter(_lines(Path("/proc/meminfo"), r"MemTotal:\s*(\d+) kB")), "")
    limit = cgroups.read(os.getpid()).memory_limit_bytes
    return {"total": int(total) << 10 if total else None, "limit": limit}


def container() -> str:
    """Return the kind of container that this is; "" where it does not look like one."""
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    environment = settings.child_environment()
    if "KUBERNETES_SERVICE_HOST" in environment:
        return "kubernetes"
    if "APPTAINER_NAME" in environment or "SINGULARITY_NAME" in environment:
        return "apptainer"
    return ""


def container_image() -> str:
    """Return the image that this container was made from; "" where nothing inside tells it."""
    environment = settings.child_environment()
    for name in _IMAGES:
        if environment.get(name):
            return environment[name]
    return next(iter(_lines(Path("/run/.containerenv"), r'(?m)^image="([^"\n]+)"')), "")


def container_id(
    tables: Sequence[Path] = (Path("/proc/self/cgroup"), Path("/proc/self/mountinfo")),
) -> str:
    """Return the container's id, by which its host knows it; "" where it is not to be seen."""
    for table in tables:
        found = next(
            iter(
                _lines(table, r"(?:docker|containers|libpod|cri|kubepods)\S*?[/:-]([0-9a-f]{64})")
            ),
            "",
        )
        if found:
            return found
    return ""


def _lines(path: Path, pattern: str) -> Iterator[str]:
    """Give what the pattern's group finds in a file of the kernel's, line by line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for match in re.finditer(pattern, text):
        yield match[1].strip()
