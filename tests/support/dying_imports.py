"""``weir import`` in a process that kills itself in its middle, again and again, to its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from warm_python import warm_python

_DYING = """
import os, signal, sys

from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracing.client import TracingClient
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.agent.sql_target import SqlTarget
from mlflow_weir.plugin.cli import main

left = int(sys.argv.pop(1))


def mortal(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return call


for place, names in (
    (SqlTarget, ("apply",)),
    (LocalArtifactRepository, ("log_artifact",)),
    (TracingClient, ("log_spans", "start_trace")),
):
    for name in names:
        setattr(place, name, mortal(getattr(place, name)))
registry_store = mlflow_private.registry_store


def find(uri):
    store = registry_store(uri)
    if not hasattr(store, "is_mortal"):
        store.is_mortal = True
        for name in ("create_registered_model", "create_model_version",
                     "delete_model_version", "set_registered_model_alias"):
            setattr(store, name, mortal(getattr(store, name)))
    return store


mlflow_private.registry_store = find
main()
"""


def import_dying(words: Sequence[str], n_calls: int, folder: Path) -> int:
    """Import, with a kill -9 after so many writes each time, until it gets to its end.

    Returns:
        How often it was killed.
    """
    environment = {**os.environ, "WEIR_CLIENT": "off"}
    for n_kills in range(200):
        code, out, err = warm_python().outcome(
            _DYING, [str(n_calls), "import", *words], environment, folder
        )
        if code != -signal.SIGKILL:
            assert code == 0, (code, out, err)
            return n_kills
    raise AssertionError("it does not get on")
