"""PyTorch for the tests that need it; without it they are skipped with the reason."""

from __future__ import annotations

from typing import Any

import pytest

torch: Any = pytest.importorskip(
    "torch", reason="missing component: PyTorch (pip install --group gradients)"
)
