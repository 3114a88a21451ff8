"""The state of the git repository that a training runs from, and the patch that brings it back.

Only reads: git runs with an argument list, without hooks, pagers, prompts, locks, external diff
or text conversion, without the caller's ``GIT_*`` variables, and never longer than its deadline.
Filters for large files (LFS) are switched off, which is what lets others freeze; files that have
one are left out of the patch and listed. So are files whose names say that they hold secrets.
The rest passes the redactor (docs/capture.md).
"""

from __future__ import annotations

import base64
import fnmatch
import re
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mlflow_weir import settings
from mlflow_weir.processes import is_readable
from mlflow_weir.redaction import Redactor, without_userinfo

MAX_PATCH_BYTES = 5 << 20
MAX_UNTRACKED = 1_000
TIME_LIMIT_S = 5.0
"""For all of git's work together."""

SECRET_FILES = (
    ".env*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "credentials*", ".netrc", "_netrc",
    ".pypirc", ".npmrc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials", "secrets.*",
    "*.tfstate*", "*.tfvars", "kubeconfig*", "service-account*.json", "service_account*.json",
)  # fmt: skip
"""Names of files whose contents are never captured; capitals do not matter."""

_OPTIONS = (
    "core.fsmonitor=false",
    "core.quotepath=off",
    "core.pager=cat",
    "diff.external=",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.renames=true",
    "filter.lfs.clean=",
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
)
_DIFF = ("diff", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color")
_GIT_KEPT = frozenset(
    ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES")
)
_BASE85 = re.compile(rb"[A-Za-z][0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]+\Z")
_LONGEST_OUTPUT = 64 << 20
_READ_BYTES = 1 << 16


class GitFault(Exception):
    """Git could not say something; the text is for a person."""


@dataclass
class GitState:
    """A repository as a training found it.

    Attributes:
        root: Its top folder.
        commit: What HEAD is; "" in a repository without commits.
        branch: "" where HEAD is on none.
        tags: That point at the commit.
        remote: Address of ``origin`` or the only remote, user and password dropped; "" if none.
        is_dirty: Tracked files differ from the commit.
        ahead: Commits that the upstream branch does not have; None without one.
        behind: Commits that it has and HEAD has not.
        patch: From the commit to the files as they were, for ``git apply``; b"" if clean.
        upstream: The same from the newest commit that is on the remote, and which; where the
            commit itself is not there.
        untracked: Files that git does not know and does not ignore, relative to ``root``.
        left_out: Changed files that are not in the patch, and why.
        n_redacted: Values that were taken out of the patches.
        faults: What could not be found out, and why.
    """

    root: str = ""
    commit: str = ""
    branch: str = ""
    tags: list[str] = field(default_factory=list)
    remote: str = ""
    is_dirty: bool = False
    ahead: int | None = None
    behind: int | None = None
    patch: bytes = b""
    upstream: tuple[str, bytes] | None = None
    untracked: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    n_redacted: int = 0
    faults: list[str] = field(default_factory=list)


def capture(
    folder: Path, redactor: Redactor, *, time_limit_s: float = TIME_LIMIT_S
) -> GitState | None:
    """Look at the repository that a folder is in.

    Args:
        folder: Where the training was started.
        redactor: What takes secrets out of the patches.
        time_limit_s: For everything; what is not known by then is a fault, the rest stays.

    Returns:
        None where there is no repository, or no git.
    """
    git = Git(folder, time.monotonic() + time_limit_s)
    try:
        root = git.text("rev-parse", "--show-toplevel")
    except GitFault:
        return None
    state = GitState(root=root)
    n_before = redactor.n_redacted
    git = Git(Path(root), git.deadline_s)
    for part in (_head, _place, _untracked, _changes):
        try:
            part(git, state, redactor)
        except GitFault as exc:
            state.faults.append(str(exc))
    state.n_redacted = redactor.n_redacted - n_before
    return state


class Git:
    """Runs git in one folder until a deadline.

    Attributes:
        deadline_s: On the monotonic clock.
    """

    def __init__(self, folder: Path, deadline_s: float) -> None:
        self.folder, self.deadline_s = folder, deadline_s

    def text(self, *words: str) -> str:
        """Return what git says, without the line's end.

        Raises:
            GitFault: It fails.
        """
        return self.raw(*words).decode("utf-8", "replace").strip()

    def names(self, *words: str) -> list[str]:
        """Return a list of names that end with NUL."""
        return [
            one.decode("utf-8", "surrogateescape") for one in self.raw(*words).split(b"\0") if one
        ]

    def raw(self, *words: str, stdin: bytes = b"", most: int = _LONGEST_OUTPUT) -> bytes:
        """Return what git writes to its standard output.

        Args:
            words: The command and its arguments.
            stdin: What it reads.
            most: Bytes; more is a fault.

        Raises:
            GitFault: It fails, says too much, or takes too long.
        """
        if time.monotonic() >= self.deadline_s:
            raise GitFault(f"git {words[0]}: no time left")
        options = [word for option in _OPTIONS for word in ("-c", option)]
        try:
            with tempfile.TemporaryFile() as file:  # a pipe may be full before git reads it
                file.write(stdin)
                file.seek(0)
                process = subprocess.Popen(
                    ["git", "--no-optional-locks", *options, *words],
                    cwd=self.folder,
                    env=_environment(),
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
        except OSError as exc:
            raise GitFault(f"git: {exc.strerror}") from exc
        with process:
            try:
                assert process.stdout is not None
                found = _read(process.stdout, most, self.deadline_s)
                process.wait(0.0 if found is None else self.left_s())
            except subprocess.TimeoutExpired:
                found = None
            finally:
                process.kill()
        if found is None:
            raise GitFault(f"git {words[0]}: took longer than it may, or says too much")
        if process.returncode:
            raise GitFault(f"git {words[0]}: ended with code {process.returncode}")
        return found

    def left_s(self) -> float:
        """Return the seconds until the deadline."""
        return max(self.deadline_s - time.monotonic(), 0.0)


def _read(pipe: IO[bytes], most: int, deadline_s: float) -> bytes | None:
    parts: list[bytes] = []
    n = 0
    while True:
        if not is_readable(pipe, max(deadline_s - time.monotonic(), 0.0)):
            return None
        part = pipe.read1(_READ_BYTES)  # type: ignore[attr-defined]
        if not part:
            return b"".join(parts)
        parts.append(part)
        n += len(part)
        if n > most:
            return None


def _environment() -> dict[str, str]:
    """Return the variables for git: none that points it at another repository or program."""
    mine = settings.child_environment()
    kept = {name: mine[name] for name in mine if not name.startswith("GIT_") or name in _GIT_KEPT}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


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
        state.remote = redactor.text(without_userinfo(git.text("remote", "get-url", name)))
    if not state.commit:
        return
    try:
        both = git.text("rev-list", "--left-right", "--count", "@{upstream}...HEAD")
        state.behind, state.ahead = map(int, both.split())
    except (GitFault, ValueError):
        return  # no upstream


def _untracked(git: Git, state: GitState, redactor: Redactor) -> None:
    names = git.names("ls-files", "--others", "--exclude-standard", "-z")
    state.untracked = [redactor.text(name) for name in sorted(names)[:MAX_UNTRACKED]]
    if len(names) > MAX_UNTRACKED:
        state.faults.append(
            f"{len(names):,} untracked files, of which {MAX_UNTRACKED:,} are listed"
        )


def _changes(git: Git, state: GitState, redactor: Redactor) -> None:
    base = state.commit or git.text("hash-object", "-t", "tree", "--stdin")
    state.patch = _patch(git, base, state, redactor)
    if not state.commit or state.ahead == 0:
        return
    pushed = _newest_pushed(git)
    if pushed and pushed != state.commit:
        state.upstream = (pushed, _patch(git, pushed, state, redactor))


def _newest_pushed(git: Git) -> str:
    """Return the newest commit of HEAD's history that a remote has, as far as is known here."""
    try:
        unpushed = git.text("rev-list", "--boundary", "HEAD", "--not", "--remotes")
    except GitFault:
        return ""
    edges = [line[1:] for line in unpushed.splitlines() if line.startswith("-")]
    return edges[0] if edges else ""


def _patch(git: Git, base: str, state: GitState, redactor: Redactor) -> bytes:
    """Return the patch from ``base`` to the files as they are, without secret and large files."""
    changed = git.names(
        *_DIFF[:1], "--name-only", "--no-renames", "--ignore-submodules=none", "-z", base
    )
    if not changed:
        return b""
    if base == state.commit or not state.commit:
        state.is_dirty = True
    left_out = {name: "its name says that it holds secrets" for name in changed if is_secret(name)}
    notebooks = [name for name in changed if name.lower().endswith(".ipynb")]
    left_out.update(dict.fromkeys(notebooks, "a notebook, whose outputs would be in it"))
    left_out.update(dict.fromkeys(_filtered(git, changed), "a large file kept elsewhere (LFS)"))
    state.left_out.update(left_out)
    wanted = [name for name in changed if name not in left_out]
    if not wanted:
        return b""
    most = MAX_PATCH_BYTES
    pathspecs = "\0".join(f":(top,literal){name}" for name in wanted)
    try:
        found = git.raw(
            *_DIFF, "--ignore-submodules=dirty", "--submodule=short", base,
            *_as_arguments(wanted, pathspecs), most=most,
        )  # fmt: skip
    except GitFault:
        if time.monotonic() >= git.deadline_s:
            raise
        state.left_out["*"] = f"the patch is larger than {most:,} bytes"
        return git.raw(*_DIFF[:1], "--stat=200", "--no-color", base, most=most)
    found += b"".join(_submodules(git, wanted))
    return _redacted(found, state, redactor)


def _as_arguments(wanted: Sequence[str], pathspecs: str) -> list[str]:
    """Return path arguments; none, and so all, where they would be too many for a call."""
    return ["--", *pathspecs.split("\0")] if len(pathspecs) < 100_000 else []


def _submodules(git: Git, changed: Iterable[str]) -> Iterable[bytes]:
    """Give the patches of what is changed inside submodules, with paths from the top."""
    for name in changed:
        inside = git.folder / name
        if not (inside / ".git").exists():
            continue
        prefixes = (f"--src-prefix=a/{name}/", f"--dst-prefix=b/{name}/")
        there = Git(inside, git.deadline_s)
        yield there.raw(
            *_DIFF, *prefixes, "--ignore-submodules=dirty", "HEAD", most=MAX_PATCH_BYTES
        )


def _filtered(git: Git, names: Sequence[str]) -> list[str]:
    """Return those of the files that a filter keeps elsewhere."""
    listed = "\0".join(names).encode("utf-8", "surrogateescape")
    words = git.raw("check-attr", "-z", "--stdin", "filter", stdin=listed).split(b"\0")
    triples = zip(words[::3], words[2::3], strict=False)
    return [name.decode("utf-8", "surrogateescape") for name, value in triples if value == b"lfs"]


def is_secret(name: str) -> bool:
    """Say whether a file's name says that its contents are secret."""
    last = name.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(last, pattern) for pattern in SECRET_FILES)


def _redacted(patch: bytes, state: GitState, redactor: Redactor) -> bytes:
    """Take the secrets out of a patch, file by file.

    A binary file stays whole, or goes where there is a secret in it.
    """
    kept = []
    for section in re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE):
        head, mark, body = section.partition(b"\nGIT binary patch\n")
        if not mark:
            kept.append(redactor.block(section, is_source=True))
            continue
        scout = Redactor()
        for content in _binary_contents(body):
            scout.block(content)
        if scout.n_redacted:
            name = head.partition(b"\n")[0].decode("utf-8", "replace").rpartition(" b/")[2]
            state.left_out[name] = "a binary file with a secret in it"
            redactor.counts["binary file"] += 1
        else:
            kept.append(section)
    return b"".join(kept)


def _binary_contents(body: bytes) -> Iterable[bytes]:
    """Give what the parts of a binary patch hold, which are deflated and in base 85."""
    for part in re.split(rb"^(?:literal|delta) \d+\n", body, flags=re.MULTILINE)[1:]:
        lines = [line for line in part.split(b"\n") if line]
        try:
            packed = b"".join(
                base64.b85decode(line[1:])[: _length(line[0])]
                for line in lines
                if _BASE85.match(line)
            )
            yield zlib.decompress(packed)
        except (ValueError, zlib.error):
            yield part


def _length(letter: int) -> int:
    """Return how many bytes a line holds: A to Z are 1 to 26, a to z 27 to 52."""
    return letter - 64 if letter <= 90 else letter - 70
