"""Patches of what differs from a commit, without secrets and without what is too large.

Left out and said: files whose names say that they hold secrets, notebooks for their outputs, files
that LFS keeps elsewhere, binary files with a secret in them, and, where the patch would be too
large, the largest files. What remains passes the redactor (docs/capture.md).
"""

from __future__ import annotations

import base64
import fnmatch
import os
import re
import stat
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_weir.plugin.capture.git_command import Git, GitFault
from mlflow_weir.redaction import Redactor

MAX_PATCH_BYTES = 5 << 20
MAX_UNTRACKED_FILE_BYTES = 1 << 20
_LARGEST_FILES_BYTES = (1 << 20, 1 << 16)  # left out first, where a patch is too large

SECRET_FILES = (
    ".env*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "credentials*", ".netrc", "_netrc",
    ".pypirc", ".npmrc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials", "secrets.*",
    "*.tfstate*", "*.tfvars", "kubeconfig*", "service-account*.json", "service_account*.json",
)  # fmt: skip
"""Names of files whose contents are never captured; capitals do not matter."""

_DIFF = (
    *("diff", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
_MAX_ARGUMENT_CHARACTERS = 100_000
_BASE85 = re.compile(rb"[A-Za-z][0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]+\Z")


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


def make_patch(git: Git, base: str, redactor: Redactor) -> Patch:
    """Return the patch from ``base`` to the files as they are.

    Args:
        git: In the repository's top folder.
        base: A commit, or the empty tree.
        redactor: Takes the secrets out.

    Raises:
        GitFault: Git fails, or has no time left.
    """
    changed = git.names(
        "diff", "--name-only", "--no-renames", "--ignore-submodules=none", "-z", base
    )
    patch = Patch(n_changed=len(changed))
    patch.left_out = _left_out(git, changed)
    wanted = [name for name in changed if name not in patch.left_out]
    content = _within_limit(git, base, wanted, patch)
    if content is not None:
        content += b"".join(_submodules(git, wanted, patch, MAX_PATCH_BYTES - len(content)))
        patch.content = _redacted(content, patch, redactor)
    else:
        patch.left_out["*"] = f"the patch is larger than {MAX_PATCH_BYTES:,} bytes"
        patch.content = git.raw("diff", "--stat=200", "--no-color", base, most=MAX_PATCH_BYTES)
    return patch


def untracked_patch(git: Git, names: Sequence[str], redactor: Redactor) -> Patch:
    """Return a patch that makes files which git does not know.

    Args:
        git: In the repository's top folder.
        names: Of the files, from there.
        redactor: Takes the secrets out.

    Raises:
        GitFault: Git fails, or has no time left.
    """
    patch = Patch(n_changed=len(names))
    patch.left_out = _left_out(git, names)
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
        elif total + status.st_size > MAX_PATCH_BYTES // 2:
            patch.left_out[name] = f"all together are larger than {MAX_PATCH_BYTES // 2:,} bytes"
        else:
            total += status.st_size
            wanted.append(name)
    if wanted:
        with tempfile.TemporaryDirectory(prefix="weir-index-") as folder:
            there = Git(git.folder, git.deadline_s, _index_of_its_own(git, Path(folder)))
            listed = "\0".join(wanted).encode("utf-8", "surrogateescape")
            there.raw(
                *("--literal-pathspecs", "add", "--intent-to-add", "--force"),
                *("--pathspec-from-file=-", "--pathspec-file-nul"),
                stdin=listed,
            )
            content = there.raw(*_DIFF, most=2 * MAX_PATCH_BYTES)
        patch.content = _redacted(content, patch, redactor)
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


def _left_out(git: Git, names: Sequence[str]) -> dict[str, str]:
    found = {name: "its name says that it holds secrets" for name in names if is_secret(name)}
    notebooks = [name for name in names if name.lower().endswith(".ipynb")]
    found.update(dict.fromkeys(notebooks, "a notebook, whose outputs would be in it"))
    found.update(dict.fromkeys(_filtered(git, names), "a large file kept elsewhere (LFS)"))
    return found


def _within_limit(git: Git, base: str, wanted: Sequence[str], patch: Patch) -> bytes | None:
    """Return the patch of files, without the largest if need be; None where it stays too large."""
    content = _diff(git, base, wanted)
    if content is not None:
        return content
    sizes = _sizes(git, base, wanted)
    for most in _LARGEST_FILES_BYTES:
        large = [name for name in wanted if sizes.get(name, 0) > most]
        patch.left_out.update(
            dict.fromkeys(large, f"a large file: the patch would exceed {MAX_PATCH_BYTES:,} bytes")
        )
        content = _diff(git, base, [name for name in wanted if name not in patch.left_out])
        if content is not None:
            return content
    return None


def _diff(git: Git, base: str, wanted: Sequence[str]) -> bytes | None:
    """Return the patch of these files; None where it is too large."""
    content = b""
    for names in _batches(wanted):
        most = MAX_PATCH_BYTES - len(content)
        try:
            content += git.raw(
                *("--literal-pathspecs", *_DIFF, "--ignore-submodules=dirty"),
                *("--submodule=short", base, "--", *names),
                most=most,
            )
        except GitFault:
            if time.monotonic() >= git.deadline_s:
                raise
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
    for line in git.names("ls-tree", "-r", "-l", "-z", base):
        about, _, name = line.partition("\t")
        size = about.split()[-1]
        found[name] = int(size) if size.isdigit() else 0
    for name in names:
        try:
            found[name] = max(found.get(name, 0), os.lstat(git.folder / name).st_size)
        except OSError:
            continue  # deleted
    return found


def _submodules(git: Git, changed: Iterable[str], patch: Patch, most: int) -> Iterator[bytes]:
    """Give the patches of what is changed inside submodules, with paths from the top."""
    for name in changed:
        inside = git.folder / name
        if inside.is_symlink() or not (inside / ".git").exists():
            continue
        there = Git(inside, git.deadline_s)
        names = there.names(
            "diff", "--name-only", "--no-renames", "--ignore-submodules=dirty", "-z", "HEAD"
        )
        left_out = _left_out(there, names)
        patch.left_out.update({f"{name}/{one}": why for one, why in left_out.items()})
        prefixes = (f"--src-prefix=a/{name}/", f"--dst-prefix=b/{name}/")
        for batch in _batches([one for one in names if one not in left_out]):
            try:
                content = there.raw(
                    *("--literal-pathspecs", *_DIFF, *prefixes, "--ignore-submodules=dirty"),
                    *("HEAD", "--", *batch),
                    most=most,
                )
            except GitFault:
                if time.monotonic() >= git.deadline_s:
                    raise
                patch.left_out[name] = "what is changed inside it is too large"
                break
            most -= len(content)
            yield content


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


def _redacted(patch: bytes, result: Patch, redactor: Redactor) -> bytes:
    """Take the secrets out of a patch, file by file.

    A binary file stays whole, or goes where there is a secret in it.
    """
    kept = []
    for section in re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE):
        head, mark, body = section.partition(b"\nGIT binary patch\n")
        if not mark:
            kept.append(redactor.block(section, is_source=True))
            continue
        scout = redactor.another()
        for content in _binary_contents(body):
            scout.block(content)
        if scout.n_redacted:
            name = head.partition(b"\n")[0].decode("utf-8", "replace").rpartition(" b/")[2]
            result.left_out[name] = "a binary file with a secret in it"
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
