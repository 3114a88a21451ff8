"""The process that follows a run's files, beside the training and beyond its death.

    in      {"folder", "root", "target", "credentials", "environment", "max_bytes"}, one line;
            then {"pattern", "since_ns"} a pattern, and {"is_end": true}

It looks every two seconds, and a last time when the run has ended or the training is gone, however
it went. What changed goes into the run's artifacts under its path in the working folder: straight
into a local folder, else through a journal of its own, whose files the agent uploads as it does
those of a training. Nothing here imports MLflow, and nothing of it slows the training.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow_weir import settings
from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.capture.following import Follower
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.spool import Credentials, Target
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.processes import is_readable
from mlflow_weir.redaction import Redactor
from mlflow_weir.store.delivery import records

INTERVAL_S = 2.0
_MAX_SHARE = 0.1  # of a core, for looking at large trees
_LONGEST_PAUSE_S = 60.0
_DELIVER_S = 10.0
_NICE = 5
SAID = "weir/files.json"
"""The artifact that says what was taken and what was left out."""


class _Folder:
    """A local artifact folder."""

    def __init__(self, root: str) -> None:
        self.root = root

    def take(self, path: str, name: str) -> str:
        there = Path(self.root, name)
        new = there.with_name(f".{there.name}.weir-new")
        try:
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, new)
            os.replace(new, there)
        except OSError as exc:
            new.unlink(missing_ok=True)
            return str(exc.strerror)
        return ""

    def finish(self) -> None:
        """Nothing is left to be done."""


class _Spool:
    """A remote artifact store, by way of a journal of this process's."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.root, self._environment = str(asked["root"]), asked["environment"]
        credentials = asked["credentials"]
        self._recorder = Recorder(
            Target(*asked["target"]), Credentials(**credentials) if credentials else None
        )

    def take(self, path: str, name: str) -> str:
        below, _, last = name.rpartition("/")
        try:
            size = os.stat(path).st_size
            folder, position = self._recorder.room_for(size)
            upload = files.Upload(self.root, below, last, size, self._environment)
            files.add(folder, position, upload, [(path, last)])
            said = {"run_id": None, "artifact_uri": self.root, "artifact_path": below}
            self._recorder.append(
                records.encode_operation("log_artifact", {**said, "name": last, "size": size})
            )
        except (OSError, WeirError) as exc:
            return str(exc)
        return ""

    def finish(self) -> None:
        """Let the agent take it, if that is soon; it goes on with it in any case."""
        self._recorder.deliver(_DELIVER_S)


def main() -> None:
    """Follow until the run ends or the training does."""
    os.nice(_NICE)
    redactor = Redactor(settings.REDACT.get())
    parent = os.getppid()
    pipe = open(sys.stdin.fileno(), "rb", buffering=0)  # what is buffered is not seen by a poll
    asked: dict[str, Any] = json.loads(pipe.readline())
    os.chdir(asked["folder"])
    local = local_folder(asked["root"])
    sink: _Folder | _Spool = _Folder(local) if local else _Spool(asked)
    follower = Follower(
        Path(asked["folder"]), sink.take, not_below=local, max_bytes=asked["max_bytes"]
    )
    pause_s, is_last = 0.0, False
    while not is_last:
        if is_readable(pipe, pause_s):
            is_last = not _obey(pipe.readline(), follower)
            if not is_last:
                continue
        is_last = is_last or os.getppid() != parent
        began_s = time.monotonic()
        follower.look(is_last=is_last)
        took_s = time.monotonic() - began_s
        pause_s = min(max(INTERVAL_S, took_s / _MAX_SHARE), _LONGEST_PAUSE_S)
    _say(follower, sink, redactor)
    sink.finish()


def _obey(line: bytes, follower: Follower) -> bool:
    """Do what a line asks; False where it, or the pipe's end, says that the run has ended."""
    asked: dict[str, Any] = json.loads(line) if line.strip() else {"is_end": True}
    if "pattern" in asked:
        follower.add(asked["pattern"], asked["since_ns"])
    return not asked.get("is_end")


def _say(follower: Follower, sink: _Folder | _Spool, redactor: Redactor) -> None:
    left_out = sorted(follower.left_out.items())[:1_000]
    said = {
        "n_files": follower.n_files,
        "n_versions": follower.n_versions,
        "n_left_out": len(follower.left_out),
        "left_out": {redactor.text(name): why for name, why in left_out},
    }
    if not follower.n_files and not follower.left_out:
        return
    with tempfile.TemporaryDirectory(prefix="weir-files-") as folder:
        path = Path(folder, "files.json")
        path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        sink.take(str(path), SAID)


def local_folder(root: str) -> str:
    """Return the folder of an artifact root on this machine; "" for any other."""
    parts = urlsplit(root)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return unquote(parts.path)
    return root if not parts.scheme and os.path.isabs(root) else ""


if __name__ == "__main__":
    main()
