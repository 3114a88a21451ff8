"""``weir import`` in a process that kills itself in its middle, again and again, to its end."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from warm_python import warm_python

BETWEEN = "between two writes"

_DYING = """
import os, signal, sys, threading, time

from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracing.client import TracingClient
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.agent.http_target import HttpTarget
from mlflow_weir.plugin.agent.sql_target import SqlTarget
from mlflow_weir.plugin.cli import main

left, share, told = int(sys.argv.pop(1)), float(sys.argv.pop(1)), sys.argv.pop(1)
inside, took_s = BETWEEN, {}


def die():
    with open(told, "a") as file:
        file.write(inside + "\\n")
    os.kill(os.getpid(), signal.SIGKILL)


def mortal(name, function):
    def call(*arguments, **options):
        global left, inside
        left -= 1
        if left == -1:
            if share < 0:
                die()
            threading.Timer(share * took_s.get(name, 0.005), die).start()
        outer, inside = inside, name
        began_s = time.monotonic()
        try:
            return function(*arguments, **options)
        finally:
            took_s[name], inside = time.monotonic() - began_s, outer

    return call


for place, names in (
    (SqlTarget, ("apply",)),
    (HttpTarget, ("apply",)),
    (LocalArtifactRepository, ("log_artifact",)),
    (HttpArtifactRepository, ("log_artifact",)),
    (TracingClient, ("log_spans", "start_trace")),
):
    for name in names:
        setattr(place, name, mortal(f"{place.__name__}.{name}", getattr(place, name)))
registry_store = mlflow_private.registry_store


def find(uri):
    store = registry_store(uri)
    if not hasattr(store, "is_mortal"):
        store.is_mortal = True
        for name in ("create_registered_model", "create_model_version",
                     "delete_model_version", "set_registered_model_alias"):
            setattr(store, name, mortal(name, getattr(store, name)))
    return store


mlflow_private.registry_store = find
main()
""".replace("BETWEEN", repr(BETWEEN))


def import_dying(words: Sequence[str], n_calls: int, folder: Path) -> int:
    """Import, with a kill -9 before each so-manieth write, until it gets to its end.

    Returns:
        How often it was killed.
    """
    for n_kills in range(200):
        if not _dies(words, n_calls, -1, folder):
            return n_kills
    raise AssertionError("it does not get on")


def import_killed_inside(
    words: Sequence[str], folder: Path, seed: int, n_kills: int, n_calls: float
) -> Counter[str]:
    """Import, with a kill -9 at random moments inside its writes, until it gets to its end.

    Args:
        words: Of the command, after ``import``.
        folder: The current directory.
        seed: Of the moments.
        n_kills: At most so many of them; then it may come to its end.
        n_calls: Writes between two kills, on the average.

    Returns:
        How often it was killed inside which write, or between two.
    """
    rng = random.Random(seed)
    told = folder / "killed"
    told.write_text("")
    for _ in range(n_kills):
        if not _dies(words, round(rng.expovariate(1 / n_calls)), rng.random(), folder):
            break
    else:
        assert not _dies(words, 1 << 30, -1, folder)
    return Counter(told.read_text().splitlines())


def _dies(words: Sequence[str], n_calls: int, share: float, folder: Path) -> bool:
    """Import once; say whether it was killed.

    Args:
        words: Of the command, after ``import``.
        n_calls: The write after so many is the one at which it dies.
        share: Of the time that such a write takes, after which it does; before it where negative.
        folder: The current directory.
    """
    environment = {**os.environ, "WEIR_CLIENT": "off"}
    arguments = [str(n_calls), str(share), str(folder / "killed"), "import", *words]
    code, out, err = warm_python().outcome(_DYING, arguments, environment, folder)
    assert code in (0, -signal.SIGKILL), (code, out, err)
    return code != 0
