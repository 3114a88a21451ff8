"""The wheel holds every module of the tree, and what its metadata names is there."""

from __future__ import annotations

import configparser
import importlib
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tree import FOLDERS, ROOT, modules


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy: setuptools leaves build/ and *.egg-info where it builds."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("plugin", "store", "ui_extensions"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-c",
        "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])",
    ]
    subprocess.run([*command, str(out)], cwd=copy, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def as_packed(path: Path) -> str:
    """Return where a file of the tree lies in the wheel."""
    package, folder = next((p, f) for p, f in FOLDERS.items() if f in path.parents)
    return f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}"


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {as_packed(module.path) for module in modules()} | {"mlflow_weir/py.typed"}
    assert packed == expected


@pytest.mark.slow
def test_the_wheel_names_its_licence_and_python(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = wheel.read(name).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.10" in metadata


def test_setup_cfg_lists_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    found = {m.name for m in modules() if m.path.name == "__init__.py"}
    assert sorted(listed) == sorted(found)
    assert listed == sorted(listed), "keep the list sorted"


@pytest.mark.slow
def test_every_entry_point_resolves() -> None:
    importlib.import_module("mlflow")
    entries = distribution("mlflow-weir").entry_points
    assert {entry.group for entry in entries} >= {
        "console_scripts",
        "mlflow.tracking_store",
        "sqlalchemy.dialects",
    }
    for entry in entries:
        assert callable(entry.load()), entry


def test_ci_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
