"""The state of the git repositories that a training runs from, and the patches that bring it back.

Only reads (``git_command.py``). The repository of the working folder comes first. Others are those
that the user names, that of the script where it lies elsewhere, and, by commit alone, those of
packages installed in editable mode, whose code is part of the training too.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow_weir.plugin.capture.git_command import Git, GitFault
from mlflow_weir.plugin.capture.git_patch import MAX_UNTRACKED_BYTES, make_patch, untracked_patch
from mlflow_weir.redaction import Redactor, without_userinfo

MAX_UNTRACKED = 1_000
TIME_LIMIT_S = 5.0
"""For all of git's work in a repository together."""

# Where runs are kept, by default beside the code: what is in there is no part of it, and would be
# captured again with each run.
_STORES = (
    *("weir.db", "weir.db-*", "weir-artifacts/"),
    *("mlflow.db", "mlflow.db-*", "mlruns/", "mlartifacts/"),
)
_MAX_SUBMODULES = 50
_SSH_USER = re.compile(r"\A(?!git@)[^/@:\s]+@(?=[^/:\s]+:)")  # of user@host:path
_OWNED = re.compile(r"in repository at '(.+)'")
_MAX_OTHERS = 10
_OTHERS_TIME_LIMIT_S = 3.0
_BRIEF_TIME_LIMIT_S = 1.0


@dataclass
class GitState:
    """A repository as a training found it.

    Attributes:
        root: Its top folder.
        name: The folder's last name, which tells several of a training apart.
        commit: What HEAD is; "" in a repository without commits.
        branch: "" where HEAD is on none.
        tags: That point at the commit.
        remote: Address of ``origin`` or the only remote, user and password dropped; "" if none.
        is_dirty: Tracked files differ from the commit; None where that is not known.
        ahead: Commits that the upstream branch does not have; None without one.
        behind: Commits that it has and HEAD has not.
        patch: From the commit to the files as they were, for ``git apply``; b"" if clean.
        upstream: The same from the newest commit that is on the remote, and which; where the
            commit itself is not there.
        submodules: The commits that are checked out in them, by their paths.
        untracked: Files that git does not know and does not ignore, relative to ``root``.
        untracked_patch: What makes them, where their contents are captured.
        left_out: Changed files that are not in the patches, and why.
        packages: Installed in editable mode from here; for repositories besides the first.
        n_redacted: Values that were taken out of the patches and of names.
        faults: What could not be found out, and why.
    """

    root: str = ""
    name: str = ""
    commit: str = ""
    branch: str = ""
    tags: list[str] = field(default_factory=list)
    remote: str = ""
    is_dirty: bool | None = None
    ahead: int | None = None
    behind: int | None = None
    patch: bytes = b""
    upstream: tuple[str, bytes] | None = None
    submodules: dict[str, str] = field(default_factory=dict)
    untracked: list[str] = field(default_factory=list)
    untracked_patch: bytes = b""
    left_out: dict[str, str] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    n_redacted: int = 0
    faults: list[str] = field(default_factory=list)


def capture(
    folder: Path,
    redactor: Redactor,
    *,
    has_untracked: bool = False,
    time_limit_s: float = TIME_LIMIT_S,
) -> GitState | None:
    """Look at the repository that a folder is in.

    Args:
        folder: Where the training was started.
        redactor: What takes secrets out of the patches.
        has_untracked: Keep what is in files that git does not know, too.
        time_limit_s: For everything; what is not known by then is a fault, the rest stays.

    Returns:
        None where there is no repository, or no git; a state that has faults alone where there is
        one that git cannot read.
    """
    git = Git(folder, time.monotonic() + time_limit_s)
    try:
        root = git.text("rev-parse", "--show-toplevel")
    except GitFault as exc:
        fault = redactor.text(_trouble(exc, folder))
        return GitState(root=str(folder), name=folder.name, faults=[fault]) if fault else None
    state = GitState(root=root, name=Path(root).name)
    n_before = redactor.n_redacted
    git = Git(Path(root), git.deadline_s)
    for part in (_head, _place, _changes, _upstream, _submodules, _untracked):
        try:
            part(git, state, redactor)
        except GitFault as exc:
            state.faults.append(str(exc))
    if has_untracked and state.untracked:
        for below in ("", *(f"{path}/" for path in state.submodules)):
            there = Git(git.folder / below, git.deadline_s)
            most = MAX_UNTRACKED_BYTES - len(state.untracked_patch)
            try:
                names = _untracked_names(there)
                found = untracked_patch(there, names, redactor, below=below, most=most)
                state.untracked_patch += found.content
                state.left_out.update(found.left_out)
            except GitFault as exc:
                state.faults.append(f"untracked files: {exc}")
    _clean_names(state, redactor)
    state.n_redacted = redactor.n_redacted - n_before
    return state


def _trouble(fault: GitFault, folder: Path) -> str:
    """Say why git does not read a repository; "" where there is none, or no git."""
    if "dubious ownership" in fault.complaint:
        named = _OWNED.search(fault.complaint)
        return (
            "the repository belongs to somebody else, and git does not read it: "
            f"git config --global --add safe.directory {named[1] if named else folder}"
        )
    is_there = any(os.path.lexists(one / ".git") for one in (folder, *folder.parents))
    has_answered = bool(fault.complaint) or fault.is_late
    if not is_there or not has_answered or "must be run in a work tree" in fault.complaint:
        return ""
    return str(fault)


def capture_others(
    main: GitState | None,
    folders: Sequence[Path],
    redactor: Redactor,
    *,
    script: Path | None = None,
    has_untracked: bool = False,
) -> list[GitState]:
    """Look at the repositories besides the first: their names differ, and so do their roots.

    Args:
        main: The first.
        folders: In repositories whose patches are wanted as well.
        redactor: What takes secrets out.
        script: What is run; its repository is wanted too.
        has_untracked: As in ``capture``.
    """
    give_up_s = time.monotonic() + 2 * _OTHERS_TIME_LIMIT_S
    roots = {main.root} if main else set()
    found: list[GitState] = []
    wanted = [*folders, *([script.parent] if script and script.is_file() else [])]
    for folder in wanted[:_MAX_OTHERS]:
        left_s = min(_OTHERS_TIME_LIMIT_S, give_up_s - time.monotonic())
        if _root(folder, left_s) in roots:
            continue
        state = capture(folder, redactor, has_untracked=has_untracked, time_limit_s=left_s)
        if state is None and folder in folders:
            state = GitState(root=str(folder), name=folder.name, faults=["no git repository"])
        if state is not None:
            roots.add(state.root)
            found.append(state)
    for package, folder in sorted(_editable_packages().items()):
        left_s = min(_BRIEF_TIME_LIMIT_S, give_up_s - time.monotonic())
        state = next(
            (one for one in [main, *found] if one and one.is_dirty is not None
             and _is_in(folder, one.root)),
            None,
        )  # fmt: skip
        if state is None and len(found) < 2 * _MAX_OTHERS and left_s > 0:
            state = _brief(folder, redactor, left_s)
            if state is not None:
                found.append(state)
        if state is not None:
            state.packages.append(package)
    names = [main.name] if main else []
    for state in found:
        state.name = _new_name(state.name or "repository", names)
        names.append(state.name)
    return found


def _root(folder: Path, time_limit_s: float) -> str | None:
    try:
        return Git(folder, time.monotonic() + time_limit_s).text("rev-parse", "--show-toplevel")
    except GitFault:
        return None


def _brief(folder: Path, redactor: Redactor, time_limit_s: float) -> GitState | None:
    """Return commit, branch, remote and whether files differ; no patch."""
    git = Git(folder, time.monotonic() + time_limit_s)
    try:
        root = git.text("rev-parse", "--show-toplevel")
        if not git.names("ls-files", "-z", "--", "."):
            return None  # one that ignores this folder: a virtual environment in a project
    except GitFault:
        return None
    state = GitState(root=root, name=Path(root).name)
    git = Git(Path(root), git.deadline_s)
    try:
        _head(git, state, redactor)
        _place(git, state, redactor)
        state.is_dirty = bool(git.names("diff", "--name-only", "-z", state.commit or "HEAD"))
    except GitFault as exc:
        state.faults.append(str(exc))
    _clean_names(state, redactor)
    return state


def _clean_names(state: GitState, redactor: Redactor) -> None:
    """Take secrets out of what people call branches, tags and files, and of what git says."""
    state.name = redactor.text(state.name)
    state.branch = redactor.text(state.branch)
    state.tags = list(map(redactor.text, state.tags))
    state.submodules = {redactor.text(path): at for path, at in state.submodules.items()}
    state.left_out = {redactor.text(name): why for name, why in state.left_out.items()}
    state.faults = list(map(redactor.text, state.faults))


def _editable_packages() -> dict[str, Path]:
    """Return the folders of packages installed in editable mode, as PEP 610 records them."""
    found = {}
    for package in importlib.metadata.distributions():
        try:
            source = json.loads(package.read_text("direct_url.json") or "{}")
            address = urlsplit(str(source["url"]))
            name = str(package.metadata["Name"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if address.scheme == "file" and (source.get("dir_info") or {}).get("editable"):
            folder = Path(unquote(address.path))
            if folder.is_dir():
                found[name] = folder
    return found


def _is_in(folder: Path, root: str) -> bool:
    try:
        return folder.resolve().is_relative_to(Path(root).resolve())
    except OSError:
        return False


def _new_name(name: str, taken: Sequence[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def digest(content: bytes) -> str:
    """Return what tells one patch from another: the same tree gives the same."""
    return hashlib.sha256(content).hexdigest() if content else ""


# The parts of the state


def _head(git: Git, state: GitState, redactor: Redactor) -> None:
    try:
        state.commit = git.text("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except GitFault:
        state.commit = ""  # nothing was committed yet
    try:
        state.branch = git.text("symbolic-ref", "--quiet", "--short", "HEAD")
    except GitFault:
        state.branch = ""  # detached
    if state.commit:
        state.tags = git.text("tag", "--points-at", "HEAD").splitlines()


def _place(git: Git, state: GitState, redactor: Redactor) -> None:
    remotes = git.text("remote").splitlines()
    name = "origin" if "origin" in remotes else remotes[0] if len(remotes) == 1 else ""
    if name:
        address = without_userinfo(git.text("remote", "get-url", name))
        state.remote = redactor.text(_SSH_USER.sub("", address))
    if not state.commit:
        return
    try:
        both = git.text("rev-list", "--left-right", "--count", "@{upstream}...HEAD")
        state.behind, state.ahead = map(int, both.split())
    except (GitFault, ValueError):
        return  # no upstream


def _changes(git: Git, state: GitState, redactor: Redactor) -> None:
    base = state.commit or git.text("hash-object", "-t", "tree", "--stdin")
    found = make_patch(git, base, redactor)
    state.is_dirty, state.patch = found.n_changed > 0, found.content
    state.left_out.update(found.left_out)


def _upstream(git: Git, state: GitState, redactor: Redactor) -> None:
    if not state.commit:
        return
    pushed = _newest_pushed(git)
    if pushed and pushed != state.commit:
        found = make_patch(git, pushed, redactor, without=state.left_out)
        state.upstream = (pushed, found.content)
        if "*" in found.left_out:
            state.upstream = (pushed, b"")
            found.left_out["upstream.patch"] = found.left_out.pop("*")
        state.left_out.update(found.left_out)


def _newest_pushed(git: Git) -> str:
    """Return the newest commit of HEAD's history that a remote has, as far as is known here."""
    try:
        if not git.text("for-each-ref", "--count=1", "refs/remotes"):
            return ""  # or all of the history would be listed
        unpushed = git.text("rev-list", "--boundary", "HEAD", "--not", "--remotes")
    except GitFault:
        return ""
    edges = [line[1:] for line in unpushed.splitlines() if line.startswith("-")]
    return edges[0] if edges else ""


def _submodules(git: Git, state: GitState, redactor: Redactor, below: str = "") -> None:
    if not (git.folder / ".gitmodules").exists():
        return
    links = [line for line in git.names("ls-files", "--stage", "-z") if line.startswith("160000 ")]
    for line in links:
        name = line.partition("\t")[2]
        inside = git.folder / name
        if inside.is_symlink() or not (inside / ".git").exists():
            continue  # not checked out
        if len(state.submodules) >= _MAX_SUBMODULES:
            return
        there = Git(inside, git.deadline_s)
        try:
            state.submodules[f"{below}{name}"] = there.text("rev-parse", "HEAD")
            _submodules(there, state, redactor, f"{below}{name}/")
        except GitFault:
            continue


def _untracked_names(git: Git) -> list[str]:
    stores = [f"--exclude={pattern}" for pattern in _STORES]
    return sorted(git.names("ls-files", "--others", "--exclude-standard", *stores, "-z"))


def _untracked(git: Git, state: GitState, redactor: Redactor) -> None:
    names = _untracked_names(git)
    for path in state.submodules:
        there = Git(git.folder / path, git.deadline_s)
        names += [f"{path}/{name}" for name in _untracked_names(there)]
    state.untracked = [redactor.text(name) for name in names[:MAX_UNTRACKED]]
    if len(names) > MAX_UNTRACKED:
        state.faults.append(
            f"{len(names):,} untracked files, of which {MAX_UNTRACKED:,} are listed"
        )
