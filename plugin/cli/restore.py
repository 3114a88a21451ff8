"""``weir restore``: the code that a run was trained with, in a worktree of its own.

The commit is checked out beside the repository and the captured patch applied to it; the files
being worked on are not touched. Where nothing had been committed yet, a new repository gets what
had been added. No hook runs, and git refuses a patch that leaves the tree or reaches into
``.git``, whoever wrote it into the store.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import click

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.cli.terminal import plain
from mlflow_weir.secret_names import MARK

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FOLDER = "weir/git"
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


class Captured(NamedTuple):
    """What a run's capture says about its code.

    Attributes:
        commit: To check out; the one it was trained with, or the newest one that was pushed; ""
            where there was none.
        patch: To apply to it; b"" where there was no change.
        untracked: A patch that makes files which git did not know, where those were captured.
        submodules: The commits that were checked out in them, by their paths.
        is_upstream: The run's own commit is not here, so that this starts from the pushed one.
        left_out: Files that were not captured, and why.
        run_name: Of the run.
    """

    commit: str
    patch: bytes
    untracked: bytes
    submodules: dict[str, str]
    is_upstream: bool
    left_out: dict[str, str]
    run_name: str


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--uri", default="weir:", envvar="MLFLOW_TRACKING_URI", help="Store that has the run."
)
@click.option("--to", "target", type=click.Path(path_type=Path), help="Folder to make; a new one.")
@click.option("--repository", help="One of the run's further repositories, by its name.")
@click.option("--branch", help="Begin a branch of this name there.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def restore(
    run_id: str,
    uri: str,
    target: Path | None,
    repository: str | None,
    branch: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Bring back the code that RUN was trained with, in a folder beside this repository.

    To be called inside a clone of the run's repository. RUN is the run's id.
    """
    root = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel"))
    found = _captured(run_id, uri, root, repository)
    target = (target or root.parent / f"{root.name}-{run_id[:8]}").absolute()
    if target.exists():
        raise ConfigError(f"{target} is there already", hint="name another folder: --to DIR")
    if not as_json:
        _describe(found, target)
    if not yes:
        click.confirm("Do it?", abort=True, err=as_json)
    if found.commit:
        where = ("-b", branch) if branch else ("--detach",)
        _git(root, "worktree", "add", "--quiet", *where, str(target), found.commit)
    else:
        begin = [f"--initial-branch={branch}"] if branch else []
        _git(root, "init", "--quiet", "--template=", *begin, str(target))
    missing = _add_submodules(root, target, found)
    refused = [*_apply(target, found.patch), *_apply(target, found.untracked)]
    if as_json:
        answer = {
            "folder": str(target),
            "commit": found.commit,
            "is_upstream": found.is_upstream,
            "left_out": found.left_out,
            "missing_submodules": missing,
            "refused": refused,
        }
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo(f"The code is in {target}")
    for name in missing:
        click.echo(f"  submodule {plain(name)}: its commit is not in {root / name}")
    for name in refused:
        click.echo(f"  only in part: {plain(name)}; what is missing is in {plain(name)}.rej")


def _captured(run_id: str, uri: str, root: Path, repository: str | None) -> Captured:
    settings.adopt_environment(
        {"WEIR_CLIENT": "off", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    )
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    try:
        run = client.get_run(run_id)
    except MlflowException as exc:
        raise ConfigError(f"run {run_id!r}: {exc.message}") from exc
    tags = run.data.tags
    is_captured = bool(_COMMIT.fullmatch(tags.get("weir.git.commit", "")))
    has_none = not tags.get("weir.git.commit") and tags.get("weir.git.dirty") == "true"
    if not is_captured and not has_none and repository is None:
        raise ConfigError(
            f"no commit was captured for run {run_id}",
            hint="runs have one that were begun in a git repository, with WEIR_CAPTURE on",
        )
    with tempfile.TemporaryDirectory(prefix="weir-restore-") as folder:
        try:
            files = Path(client.download_artifacts(run_id, _folder(repository), folder))
        except (MlflowException, OSError) as exc:
            raise ConfigError(
                f"the files captured for run {run_id} cannot be read: {exc}"
            ) from exc
        state: dict[str, Any] = json.loads((files / "state.json").read_bytes())
        commit = str(state.get("commit") or "")
        name, is_upstream = "diff.patch", False
        if not _COMMIT.fullmatch(commit) and (commit or not (files / name).is_file()):
            raise ConfigError(f"no commit was captured for run {run_id} in this repository")
        if commit and not _has(root, commit):
            pushed = str(state.get("upstream_commit") or "")
            if not _COMMIT.fullmatch(pushed) or not _has(root, pushed):
                raise ConfigError(
                    f"commit {commit} is not in {root}",
                    hint="`git fetch` it, or call this in a clone of the run's repository",
                )
            commit, name, is_upstream = pushed, "upstream.patch", True
        patch, untracked = (
            path.read_bytes() if path.is_file() else b""
            for path in (files / name, files / "untracked.patch")
        )
    left_out = {str(file): str(why) for file, why in (state.get("left_out") or {}).items()}
    if "*" in left_out and not is_upstream:
        patch = b""  # what there is says which files changed, not how
    submodules = {
        str(path): str(at)
        for path, at in (state.get("submodules") or {}).items()
        if _COMMIT.fullmatch(str(at))
    }
    name = str(run.info.run_name or "")
    return Captured(commit, patch, untracked, submodules, is_upstream, left_out, name)


def _folder(repository: str | None) -> str:
    """Return where the captured files of a repository are among the run's artifacts.

    Raises:
        ConfigError: The name is no name.
    """
    if repository is None:
        return _FOLDER
    if repository in ("", ".", "..") or "/" in repository or "\\" in repository:
        raise ConfigError(f"{repository!r} is no name of a repository")
    return f"{_FOLDER}/repositories/{repository}"


def _add_submodules(root: Path, target: Path, found: Captured) -> list[str]:
    """Check out submodules from those that are here; return those that cannot be.

    What a path leads to is for the trees and the patch to say, not for the store: a path that
    none of them has as a submodule is nothing.
    """
    missing: list[str] = []
    commits = {"": found.commit}  # of the repositories that are there, by their paths
    for path, at in sorted(found.submodules.items()):
        of = max((one for one in commits if not one or path.startswith(f"{one}/")), key=len)
        name = path[len(of) + 1 :] if of else path
        if not _is_submodule(target / of, commits[of], name) and not _adds(found.patch, path):
            continue
        here = root / path
        is_here = (here / ".git").exists() and _has(here, at) and _is_below(path, target)
        words = ("worktree", "add", "--quiet", "--force", "--detach", str(target / path), at)
        if not is_here or _run(here, *words).returncode:
            missing.append(path)
        else:
            commits[path] = at
    return missing


def _is_submodule(folder: Path, commit: str, name: str) -> bool:
    words = ("--literal-pathspecs", "ls-tree", "-z", commit, "--", name)
    return bool(commit) and _git(folder, *words).startswith("160000 ")


def _adds(patch: bytes, path: str) -> bool:
    """Say whether a patch makes a submodule of this path."""
    name = os.fsencode(path)
    return b"diff --git a/%b b/%b\nnew file mode 160000\n" % (name, name) in patch


def _is_below(path: str, folder: Path) -> bool:
    """Say whether a path stays within a folder, whatever links there are, and out of ``.git``."""
    above = (folder / path).parent.resolve()
    return above.is_relative_to(folder.resolve()) and not {"..", ".git"} & set(path.split("/"))


def _describe(found: Captured, target: Path) -> None:
    place = f"commit {found.commit}" if found.commit else "a repository without commits"
    click.echo(f"Run {plain(found.run_name)}: {place}")
    if found.is_upstream:
        click.echo("  its own commit is not here: this is the newest that was pushed")
    n_files = len(re.findall(rb"^diff --git ", found.patch, re.MULTILINE))
    click.echo(f"  with changes to {n_files:,} files" if n_files else "  without changes")
    if n_untracked := len(re.findall(rb"^diff --git ", found.untracked, re.MULTILINE)):
        click.echo(f"  and {n_untracked:,} files that git did not know")
    for name, why in found.left_out.items():
        click.echo(f"  not captured: {plain(name)}: {plain(why)}")
    if MARK in found.patch or MARK in found.untracked:
        click.echo("  secrets were taken out: lines with [redacted] differ, or are not applied")
    click.echo(f"  into the new folder {target}")


def _apply(folder: Path, patch: bytes) -> list[str]:
    """Apply a patch; return the files of which a part was refused."""
    if not patch.strip():
        return []
    words = ("apply", "--binary", "--whitespace=nowarn")
    if _run(folder, *words, "-", stdin=patch).returncode == 0:
        return []
    _run(folder, *words, "--reject", "-", stdin=patch)
    rejects = _git(folder, "ls-files", "--others", "-z", "--", "*.rej").split("\0")
    refused = sorted(name.removesuffix(".rej") for name in rejects if name)
    if not refused:
        raise ConfigError(f"the captured patch does not apply in {folder}")
    return refused


def _has(root: Path, commit: str) -> bool:
    return _run(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def _git(folder: Path, *words: str) -> str:
    done = _run(folder, *words)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise ConfigError(f"git {words[0]}: {plain(said) or f'ended with code {done.returncode}'}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def _run(folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", *_NO_HOOKS, *words], cwd=folder, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed") from None
