"""Small file systems that really run full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(size: str) -> Iterator[Path]:
    """Mount a file system of ``size``, such as ``3m``, for a while; skip where that is refused."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    folder = Path(tempfile.mkdtemp(prefix="weir-disk"))
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("this container may not mount file systems")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()
