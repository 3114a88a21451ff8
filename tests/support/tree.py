"""The source tree as tests see it: which modules there are, and what each imports."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

# Import name of each mapped folder, as setup.cfg has it; the root first, for it lies in another.
FOLDERS = {
    "mlflow_weir": ROOT / "plugin" / "_root",
    "mlflow_weir.plugin": ROOT / "plugin",
    "mlflow_weir.store": ROOT / "store",
    "mlflow_weir.ui_extensions": ROOT / "ui_extensions",
}

# Folders inside those that are no part of the package, or part of another.
NOT_PACKED = {("mlflow_weir.plugin", "_root"), ("mlflow_weir.ui_extensions", "web")}


class Module(NamedTuple):
    """One module of the package: its import name and its file."""

    name: str
    path: Path


class Import(NamedTuple):
    """One imported module or name.

    Attributes:
        target: ``a.b`` for ``import a.b``; ``a.b.c`` for ``from a.b import c``.
        line: Where.
        lazy: Inside a function, so not run on import.
    """

    target: str
    line: int
    lazy: bool


def modules() -> list[Module]:
    """Return every module of the package, by import name."""
    found = []
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder)
            if (package, inner.parts[0]) in NOT_PACKED:
                continue
            parts = [*package.split("."), *inner.with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            found.append(Module(".".join(parts), path))
    return found


@functools.cache
def imports(path: Path) -> list[Import]:
    """Return every import of a file that runs; those for type checkers alone are left out."""
    return list(_imports(ast.parse(path.read_text()), lazy=False))


def _imports(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, lazy)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                prefix = "." * child.level + (child.module or "")
                yield Import(f"{prefix}.{alias.name}", child.lineno, lazy)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _imports(other, lazy=lazy)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, lazy=lazy or inside)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
