"""The names under which a model's tensors are logged, and which of them are taken together."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

MAX_SERIES = 512
"""Of one kind and model: beyond it tensors are taken together by the modules that hold them."""

_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
# MLflow takes letters, digits, _ - . space : / in a metric's name; a slash would make folders.
_FOREIGN = re.compile(r"[^\w\-. :]", re.ASCII)
_MAX_CHARACTERS = 200


def plain(name: str, *, is_wrapped: bool) -> str:
    """Return a parameter's name as a metric's name can carry it.

    Args:
        name: As ``named_parameters`` has it.
        is_wrapped: Leave out what DistributedDataParallel, torch.compile, FSDP and activation
            checkpointing put into it.
    """
    if is_wrapped:
        name = _WRAPPERS.sub("", name)
    name = _FOREIGN.sub("_", name).strip()
    if not name.strip("."):
        name = "_"  # no folder
    if len(name) > _MAX_CHARACTERS:
        digest = f"{zlib.crc32(name.encode()):08x}"
        name = f"{name[: _MAX_CHARACTERS - 9]}-{digest}"
    return name


def grouped(names: Sequence[str], limit: int = MAX_SERIES) -> list[str]:
    """Return for each name the series it belongs to: at most ``limit`` of them.

    The longest beginnings, counted in modules, of which there are few enough; where even the
    outermost modules are too many, one for all, ``all``.
    """
    if len(set(names)) <= limit:
        return list(names)
    parts = [name.split(".") for name in names]
    for depth in range(max(map(len, parts)) - 1, 0, -1):
        found = [".".join(one[:depth]) for one in parts]
        if len(set(found)) <= limit:
            return found
    return ["all"] * len(names)
