"""Where pages go: a folder, or what a place has to do; and how they come and go there.

A place belongs to whoever wrote there first: pages go to one that is empty or holds their own
earlier set, by its manifest. What is written and taken away is what the manifests name, and no
other file. A manifest that names old and new files alike goes first, so that what was cut short is
still Weir's own the next time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mlflow_weir.errors import ConfigError
from mlflow_weir.ui_extensions.publishing import manifest
from mlflow_weir.ui_extensions.publishing.manifest import Written
from mlflow_weir.ui_extensions.publishing.page_files import PAGE

Say = Callable[[str], None]


class Place(Protocol):
    """Somewhere that pages can be."""

    address: str

    def read(self, name: str, most: int) -> bytes | None:
        """Return a file's content, at most so many bytes of it; None where there is none."""
        ...

    def sizes(self) -> dict[str, int]:
        """Return the size of every file there, by its name below the place."""
        ...

    def is_as_written(self, name: str, one: Written) -> bool:
        """Say whether a file that is there is still what was written."""
        ...

    def write(self, name: str, path: Path) -> None:
        """Write a file, in one step."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Take files away, and the folders of ours that are empty then."""
        ...


class Outcome(NamedTuple):
    """What was done.

    Attributes:
        n_files: Files of the set.
        n_bytes: Their size.
        written: Those that had to be written.
        removed: Those of the set before that are gone now.
        kept: Those of the set before that somebody has changed, and that stay.
    """

    n_files: int
    n_bytes: int
    written: list[str]
    removed: list[str]
    kept: list[str]


def put(
    place: Place, folder: Path, names: list[str], about: Mapping[str, Any], say: Say
) -> Outcome:
    """Bring a place to what a folder holds.

    Args:
        place: Empty, or with an earlier set in it.
        folder: With the files.
        names: Of the files, the page last.
        about: For the manifest.
        say: Told how far it is.

    Raises:
        ConfigError: The place holds somebody else's files.
    """
    sizes = place.sizes()
    old = _own(place, sizes)
    new = manifest.describe(folder, names)
    foreign = next((name for name in names if name in sizes and name not in old), None)
    if foreign is not None:
        raise ConfigError(f"{place.address} has a {foreign} of somebody else's")
    changed = [
        name for name in names if old.get(name) != new[name] or sizes.get(name) != new[name].size
    ]
    gone = [name for name in old if name not in new]
    # The page is still the one before, which must be known as that if this ends here.
    _write_manifest(place, about, {**old, **new, PAGE: old.get(PAGE, new[PAGE])})
    for done, name in enumerate(changed, start=1):
        place.write(name, folder / name)
        if done % 50 == 0 or done == len(changed):
            say(f"{done:,} of {len(changed):,} files written")
    removable, kept = _removable(place, {name: old[name] for name in gone}, sizes)
    place.delete(removable)
    _write_manifest(place, about, new)
    total = sum(one.size for one in new.values())
    return Outcome(len(new), total, changed, removable, kept)


def take_away(place: Place) -> Outcome:
    """Take away what was published at a place, and nothing else.

    Raises:
        ConfigError: Nothing of Weir's is there.
    """
    sizes = place.sizes()
    if manifest.NAME not in sizes:
        raise ConfigError(f"nothing was published at {place.address}: it has no {manifest.NAME}")
    old = _own(place, sizes)
    removable, kept = _removable(place, old, sizes)
    # The page first, so that nobody opens it without its data; the list last.
    removable.sort(key=lambda name: name != PAGE)
    place.delete(removable)
    place.delete([manifest.NAME])
    return Outcome(0, 0, [], removable, kept)


def _own(place: Place, sizes: Mapping[str, int]) -> dict[str, Written]:
    """Return what the set before wrote there."""
    content = place.read(manifest.NAME, manifest.MAX_BYTES + 1)
    if content is not None:
        return manifest.decode(content)
    if sizes:
        raise ConfigError(
            f"{place.address} holds files that Weir did not publish",
            hint="name an empty place, or one that Weir published to before",
        )
    return {}


def _removable(
    place: Place, files: Mapping[str, Written], sizes: Mapping[str, int]
) -> tuple[list[str], list[str]]:
    there = [name for name in files if name in sizes]
    ours = [name for name in there if place.is_as_written(name, files[name])]
    return ours, [name for name in there if name not in ours]


def _write_manifest(place: Place, about: Mapping[str, Any], files: Mapping[str, Written]) -> None:
    with tempfile.TemporaryDirectory(prefix="weir-publish-") as folder:
        path = Path(folder, manifest.NAME)
        path.write_bytes(manifest.encode(about, files))
        place.write(manifest.NAME, path)


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        """Take its path; it is made when the first file is written.

        Raises:
            ConfigError: There is something else.
        """
        self._path = path.absolute()
        self.address = str(self._path)
        if self._path.exists() and not self._path.is_dir():
            raise ConfigError(f"{self.address} is no folder")

    @property
    def page(self) -> str:
        """The address of the page, for a browser."""
        return (self._path / PAGE).as_uri()

    def read(self, name: str, most: int) -> bytes | None:
        """Return a file's content, at most so many bytes of it; None where there is none."""
        try:
            with self._open(name) as file:
                content: bytes = file.read(most)
        except FileNotFoundError:
            return None
        return content

    def sizes(self) -> dict[str, int]:
        """Return the size of every file there, by its name below the place."""
        found = {}
        for parent, folders, names in os.walk(self._path):
            for name in (*names, *(one for one in folders if Path(parent, one).is_symlink())):
                path = Path(parent, name)
                found[path.relative_to(self._path).as_posix()] = path.lstat().st_size
        return found

    def is_as_written(self, name: str, one: Written) -> bool:
        """Say whether a file that is there is still what was written."""
        try:
            with self._open(name) as file:
                digest = hashlib.sha256()
                while content := file.read(1 << 20):
                    digest.update(content)
                return digest.hexdigest() == one.sha256
        except OSError:
            return False

    def write(self, name: str, path: Path) -> None:
        """Write a file, in one step."""
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        self._require_own_folder(target)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".weir-", delete=False) as file:
            try:
                file.write(path.read_bytes())
                os.chmod(file.name, 0o666 & ~_umask())
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise

    def delete(self, names: Iterable[str]) -> None:
        """Take files away, and the folders of ours that are empty then."""
        for name in names:
            self._require_own_folder(self._path / name)
            (self._path / name).unlink(missing_ok=True)
        for folder in (self._path / "data", self._path / "assets"):
            with contextlib.suppress(OSError):  # somebody else's files are in it, or it is gone
                folder.rmdir()
        if not (self._path / manifest.NAME).exists():
            with contextlib.suppress(OSError):
                self._path.rmdir()

    def _open(self, name: str) -> Any:
        self._require_own_folder(self._path / name)
        file = os.open(self._path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(f"{name} is no file")
        return os.fdopen(file, "rb")

    def _require_own_folder(self, path: Path) -> None:
        """Refuse a way that leads out of the place: ``data`` may have become a link."""
        if path.parent != self._path and path.parent.is_symlink():
            raise ConfigError(f"{path.parent} is a link: nothing is written or removed behind it")


def _umask() -> int:
    # Only by setting it can it be read; no other thread of this command makes files.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
