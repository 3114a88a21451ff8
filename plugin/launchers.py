"""What a launcher (torchrun, SLURM, MPI) says of a process that it has started."""

from __future__ import annotations

from mlflow_weir import settings


def rank() -> int | None:
    """Return which of a job's processes this is, as its launcher counts; None without one."""
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        found = settings.foreign(name)
        if found is not None and found.isascii() and found.isdigit() and len(found) < 9:
            return int(found)
    return None
