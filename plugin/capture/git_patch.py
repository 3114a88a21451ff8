"""Patches of what differs from a commit, without secrets and without what is too large.

Left out and said: files whose names say that they hold secrets, notebooks for their outputs, files
that LFS keeps elsewhere, those that cannot be read, binary files with a secret in them, and, where
the patch would be too large, the largest files. What remains passes the redactor
(docs/capture.md).
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from mlflow_weir.plugin.capture import binary_patch
from mlflow_weir.plugin.capture.git_command import Git, GitFault
from mlflow_weir.redaction import Redactor

MAX_PATCH_BYTES = 5 << 20
MAX_UNTRACKED_FILE_BYTES = 1 << 20
MAX_UNTRACKED_BYTES = MAX_PATCH_BYTES // 2
"""Of all untracked files together."""
MAX_FILE_BYTES = 64 << 20
"""Of a changed file, before or after: git would hold it several times in memory to compare it."""
_LARGEST_FILES_BYTES = (1 << 20, 1 << 16)  # left out first, where a patch is too large

SECRET_FILES = (
    ".env*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "credentials*", ".netrc", "_netrc",
    ".pypirc", ".npmrc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials", "secrets.*",
    "*.tfstate*", "*.tfvars", "kubeconfig*", "service-account*.json", "service_account*.json",
)  # fmt: skip
"""Names of files whose contents are never captured; capitals do not matter."""

_DIFF = (*("diff", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color"),)
_MAX_ARGUMENT_CHARACTERS = 100_000
_POINTER = re.compile(rb"version \S+\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")
_MAX_POINTER_BYTES = 1024


@dataclass
class Patch:
    """What differs.

    Attributes:
        content: For ``git apply``; b"" where nothing differs or all is left out. A list of the
            changed files where ``left_out`` has "*".
        n_changed: Files that differ, those left out included.
        left_out: Changed files that are not in it, and why; "*" for all.
    """

    content: bytes = b""
    n_changed: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def make_patch(
    git: Git, base: str, redactor: Redactor, *, without: Mapping[str, str] = MappingProxyType({})
) -> Patch:
    """Return the patch from ``base`` to the files as they are.

    Args:
        git: In the repository's top folder.
        base: A commit, or the empty tree.
        redactor: Takes the secrets out.
        without: Files to leave out, and why: those that another patch has left out.

    Raises:
        GitFault: Git fails, or has no time left.
    """
    changed = _changed(git, base)
    elsewhere = _filtered(git, changed)
    same = _same_as_pointers(git, base, elsewhere)
    changed = [name for name in changed if name not in same]
    patch = Patch(n_changed=len(changed))
    patch.left_out = _left_out(git, changed, elsewhere)
    patch.left_out.update({name: without[name] for name in changed if name in without})
    wanted = [name for name in changed if name not in patch.left_out]
    content = _within_limit(git, base, wanted, patch)
    if content is not None:
        content += _submodules(git, wanted, patch, MAX_PATCH_BYTES - len(content), "")
        patch.content = _redacted(content, git.folder, patch, redactor)
        return patch
    patch.left_out["*"] = f"the patch is larger than {MAX_PATCH_BYTES:,} bytes"
    if not git.left_s():
        patch.left_out["*"] = "git took too long"
    with contextlib.suppress(GitFault):
        said = git.raw("diff", "--stat=200", "--no-color", base, most=MAX_PATCH_BYTES)
        patch.content = redactor.block(said)
    return patch


def _changed(git: Git, base: str) -> list[str]:
    """Return the files that differ, and the submodules in which something does."""
    return git.names(
        *("diff", "--name-only", "--no-renames", "--ignore-submodules=untracked", "-z", base)
    )


def untracked_patch(
    git: Git,
    names: Sequence[str],
    redactor: Redactor,
    *,
    below: str = "",
    most: int = MAX_UNTRACKED_BYTES,
) -> Patch:
    """Return a patch that makes files which git does not know.

    Args:
        git: In the repository's top folder.
        names: Of the files, from there.
        redactor: Takes the secrets out.
        below: Where that folder is, from the top of all; "" or with a slash at its end.
        most: Bytes of all files together.

    Raises:
        GitFault: Git fails, or has no time left.
    """
    patch = Patch(n_changed=len(names))
    patch.left_out = _left_out(git, names, _filtered(git, names))
    total, wanted = 0, []
    for name in names:
        if name in patch.left_out:
            continue
        try:
            status = os.lstat(git.folder / name)
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
            patch.left_out[name] = "a repository of its own, or no file"
        elif status.st_size > MAX_UNTRACKED_FILE_BYTES:
            patch.left_out[name] = f"larger than {MAX_UNTRACKED_FILE_BYTES:,} bytes"
        elif total + status.st_size > most:
            patch.left_out[name] = f"all together are larger than {MAX_UNTRACKED_BYTES:,} bytes"
        else:
            total += status.st_size
            wanted.append(name)
    patch.left_out = {f"{below}{name}": why for name, why in patch.left_out.items()}
    if wanted:
        with tempfile.TemporaryDirectory(prefix="weir-index-") as folder:
            there = Git(git.folder, git.deadline_s, _index_of_its_own(git, Path(folder)))
            listed = "\0".join(wanted).encode("utf-8", "surrogateescape")
            there.raw(
                *("--literal-pathspecs", "add", "--intent-to-add", "--force"),
                *("--pathspec-from-file=-", "--pathspec-file-nul"),
                stdin=listed,
            )
            prefixes = (f"--src-prefix=a/{below}", f"--dst-prefix=b/{below}")
            content = there.raw(*_DIFF, *prefixes, most=2 * MAX_PATCH_BYTES)
        patch.content = _redacted(content, git.folder, patch, redactor)
    return patch


def _index_of_its_own(git: Git, folder: Path) -> dict[str, str]:
    """Return variables that keep git from writing anything into the repository."""
    objects = git.text("rev-parse", "--git-path", "objects")
    (folder / "objects").mkdir()
    return {
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_OBJECT_DIRECTORY": str(folder / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((git.folder / objects).absolute()),
    }


def _left_out(git: Git, names: Sequence[str], elsewhere: Collection[str]) -> dict[str, str]:
    found = {name: "its name says that it holds secrets" for name in names if is_secret(name)}
    notebooks = [name for name in names if name.lower().endswith(".ipynb")]
    found.update(dict.fromkeys(notebooks, "a notebook, whose outputs would be in it"))
    large = [name for name in names if name in elsewhere]
    found.update(dict.fromkeys(large, "a large file kept elsewhere (LFS)"))
    for name in names:
        path = git.folder / name
        if not os.access(path, os.R_OK) and path.is_file() and not path.is_symlink():
            found[name] = "it cannot be read"  # by git neither, which would give up all others
    return found


def _within_limit(
    git: Git,
    base: str,
    wanted: Sequence[str],
    patch: Patch,
    below: str = "",
    limit: int | None = None,
) -> bytes | None:
    """Return the patch of files, without the largest if need be; None where it stays too large.

    Large files that take longer than there is time must not take the code's time.
    """
    sizes = _sizes(git, base, wanted)
    tried: list[str] | None = None
    for most in (MAX_FILE_BYTES, *_LARGEST_FILES_BYTES):
        large = [name for name in wanted if sizes.get(name, 0) > most]
        why = f"larger than {most:,} bytes"
        if most != MAX_FILE_BYTES:
            why += f", and the patch larger than {MAX_PATCH_BYTES:,} or too slow to make"
        patch.left_out.update(
            (name, f"a large file: {why}") for name in large if name not in patch.left_out
        )
        left = [name for name in wanted if name not in patch.left_out]
        if left == tried:
            continue
        tried = left
        is_last = max((sizes.get(name, 0) for name in left), default=0) <= min(
            _LARGEST_FILES_BYTES
        )
        in_time = git if is_last else git.with_half_the_time()
        content = _diff(in_time, base, left, below, MAX_PATCH_BYTES if limit is None else limit)
        if content is not None or is_last:
            return content
    return None


def _diff(git: Git, base: str, wanted: Sequence[str], below: str, limit: int) -> bytes | None:
    """Return the patch of these files; None where it is too large, or takes too long."""
    content = b""
    prefixes = (f"--src-prefix=a/{below}", f"--dst-prefix=b/{below}")
    for names in _batches(wanted):
        try:
            content += git.raw(
                *("--literal-pathspecs", *_DIFF, *prefixes, "--ignore-submodules=dirty"),
                *("--submodule=short", base, "--", *names),
                most=limit - len(content),
            )
        except GitFault:
            return None
    return content


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    """Give the names in lists that are not too long for a command line."""
    batch: list[str] = []
    n = 0
    for name in names:
        if batch and n + len(name) > _MAX_ARGUMENT_CHARACTERS:
            yield batch
            batch, n = [], 0
        batch.append(name)
        n += len(name) + 1
    if batch:
        yield batch


def _sizes(git: Git, base: str, names: Sequence[str]) -> dict[str, int]:
    """Return how large files are, before or after, whichever is more."""
    found: dict[str, int] = {}
    for batch in _batches(names):
        words = ("ls-tree", "-r", "-l", "-z", base, "--", *batch)
        for line in git.names("--literal-pathspecs", *words):
            about, _, name = line.partition("\t")
            size = about.split()[-1]
            found[name] = int(size) if size.isdigit() else 0
    for name in names:
        try:
            found[name] = max(found.get(name, 0), os.lstat(git.folder / name).st_size)
        except OSError:
            continue  # deleted
    return found


def _submodules(git: Git, changed: Iterable[str], patch: Patch, most: int, below: str) -> bytes:
    """Return the patches of what is changed inside submodules, with paths from the top.

    Args:
        git: In the repository that has them.
        changed: Its changed files, submodules among them.
        patch: What is left out is noted there.
        most: Bytes.
        below: Where that repository is, from the top; "" or with a slash at its end.
    """
    content = b""
    for name in changed:
        inside, path = git.folder / name, f"{below}{name}"
        if inside.is_symlink() or not (inside / ".git").exists():
            continue
        there = Git(inside, git.deadline_s)
        found = Patch()
        try:
            names = _changed(there, "HEAD")
            found.left_out = _left_out(there, names, _filtered(there, names))
            wanted = [one for one in names if one not in found.left_out]
            part = _within_limit(there, "HEAD", wanted, found, f"{path}/", most - len(content))
        except GitFault as exc:
            patch.left_out[path] = str(exc)
            continue
        patch.left_out.update({f"{path}/{one}": why for one, why in found.left_out.items()})
        if part is None:
            patch.left_out[path] = "what is changed inside it is too large"
            continue
        content += part
        content += _submodules(there, wanted, patch, most - len(content), f"{path}/")
    return content


def _same_as_pointers(git: Git, base: str, names: Iterable[str]) -> set[str]:
    """Return those files of LFS that are what the commit points to.

    With its filter off, git takes each for changed whose times are not those of its checkout, as
    in a copied folder. What there is no time to look at stays changed.
    """
    found: set[str] = set()
    git = git.with_half_the_time().with_half_the_time()
    for name in names:
        if not git.left_s():
            break
        path = git.folder / name
        try:
            said = git.raw("cat-file", "blob", f"{base}:{name}", most=_MAX_POINTER_BYTES)
            pointer = _POINTER.fullmatch(said)
            if pointer is None or path.is_symlink() or path.stat().st_size != int(pointer[2]):
                continue
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while git.left_s() and (part := file.read(1 << 20)):
                    digest.update(part)
        except (GitFault, OSError):
            continue
        if digest.hexdigest() == pointer[1].decode():
            found.add(name)
    return found


def _filtered(git: Git, names: Sequence[str]) -> list[str]:
    """Return those of the files that a filter keeps elsewhere."""
    if not names:
        return []
    listed = "\0".join(names).encode("utf-8", "surrogateescape")
    words = git.raw("check-attr", "-z", "--stdin", "filter", stdin=listed).split(b"\0")
    triples = zip(words[::3], words[2::3], strict=False)
    return [name.decode("utf-8", "surrogateescape") for name, value in triples if value == b"lfs"]


def is_secret(name: str) -> bool:
    """Say whether a file's name says that its contents are secret."""
    last = name.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(last, pattern) for pattern in SECRET_FILES)


def _redacted(patch: bytes, folder: Path, result: Patch, redactor: Redactor) -> bytes:
    """Take the secrets out of a patch, file by file.

    A binary file stays whole, or goes where there is a secret in it.
    """
    kept = []
    for section in re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE):
        head, mark, body = section.partition(b"\nGIT binary patch\n")
        if not mark:
            kept.append(redactor.block(section, is_source=True))
            continue
        name = os.fsdecode(head.partition(b"\n")[0].rpartition(b" b/")[2])
        scout = redactor.another()
        for content in binary_patch.contents(body, folder / name):
            scout.block(content)
        if scout.n_redacted:
            result.left_out[name] = "a binary file with a secret in it"
            redactor.counts["binary file"] += 1
        else:
            kept.append(section)
    return b"".join(kept)
