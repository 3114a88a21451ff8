"""The wheel holds every module of the tree, and what its metadata names is there."""

from __future__ import annotations

import configparser
import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from browser import build_hook
from tree import FOLDERS, ROOT, modules

STATIC = "mlflow_weir/ui_extensions/static/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy: setuptools leaves build/ and *.egg-info where it builds."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("plugin", "store", "ui_extensions"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for name in ("pyproject.toml", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-c", "import build_hook as b, sys; b.build_wheel(sys.argv[1])"]
    environment = {**os.environ, "PYTHONPATH": str(copy / "ui_extensions" / "web")}
    subprocess.run(
        [*command, str(out)], cwd=copy, env=environment, check=True, capture_output=True
    )
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def as_packed(path: Path) -> str:
    """Return where a file of the tree lies in the wheel."""
    package, folder = next((p, f) for p, f in FOLDERS.items() if f in path.parents)
    return f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}"


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = {
        name
        for name in wheel.namelist()
        if ".dist-info/" not in name and not name.startswith(STATIC)
    }
    expected = {as_packed(module.path) for module in modules()} | {"mlflow_weir/py.typed"}
    assert packed == expected


@pytest.mark.slow
def test_the_wheel_holds_the_pages_that_were_built_of_these_sources(
    wheel: zipfile.ZipFile,
) -> None:
    packed = {name.removeprefix(STATIC) for name in wheel.namelist() if name.startswith(STATIC)}
    manifest = json.loads(wheel.read(f"{STATIC}manifest.json"))
    named = {entry["file"] for entry in manifest.values()}
    named |= {file for entry in manifest.values() for file in entry.get("css", ())}
    assert {"assets", "index.html", "public", "published"} <= {
        name.partition("/")[0] for name in packed
    }
    assert named <= packed
    assert wheel.read(f"{STATIC}sources.sha256").decode() == build_hook().source_digest()


def test_a_changed_source_makes_a_build_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = build_hook()
    monkeypatch.delenv("WEIR_WEB_BUILD", raising=False)
    for name in ("WEB_DIR", "BUNDLE", "PUBLIC_BUNDLE", "PUBLISHED_BUNDLE", "DIGEST"):
        monkeypatch.setattr(hook, name, tmp_path / name)
    (tmp_path / "WEB_DIR" / "node_modules").mkdir(parents=True)
    source = tmp_path / "WEB_DIR" / "main.tsx"
    source.write_text("1")
    assert hook.build_is_due()
    hook.BUNDLE.write_text("built")
    hook.DIGEST.write_text(hook.source_digest())
    assert hook.build_is_due()
    hook.PUBLIC_BUNDLE.write_text("built")
    assert hook.build_is_due()
    hook.PUBLISHED_BUNDLE.write_text("built")
    (tmp_path / "WEB_DIR" / "node_modules" / "x.js").write_text("no source")
    assert not hook.build_is_due()
    source.write_text("2")
    assert hook.build_is_due()
    monkeypatch.setenv("WEIR_WEB_BUILD", "never")
    assert not hook.build_is_due()
    monkeypatch.setenv("WEIR_WEB_BUILD", "perhaps")
    with pytest.raises(hook.WebBuildError, match="perhaps"):
        hook.build_is_due()


def test_node_comes_from_a_wheel_where_there_is_none_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hook = build_hook()
    monkeypatch.setenv("WEIR_WEB_BUILD", "always")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hook.node_requirement() == [hook.NODE_WHEEL]
    monkeypatch.setenv("WEIR_WEB_BUILD", "never")
    assert hook.node_requirement() == []


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
