"""The way into the journal for MLflow's own tests, and out of it before a test's database goes.

``begin`` makes every SQLite tracking URI of the process one of Weir's, whether it stands in the
suite's fixture ``db_uri`` or in a test: it takes the way of a user's ``sqlite+weir:`` through the
entry points, and ends in the store of a training process. An agent runs beside each process of the
suite, with a spool of its own. MLflow's app, which some tests serve from their own process, gets
the extension, as it does in ``mlflow server`` on a Weir store.

MLflow's calls wait for what this machine has logged; a request that a test writes by hand
(``requests.post``) is as one from elsewhere, and sees it within a second. So all is delivered
before each of those.

A training process lives for one training, one of the suite for thousands of tests. So each test
ends as a process does: all is delivered, and the journals are given up.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mlflow_weir import settings
from mlflow_weir.plugin import uri
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.journal.spool import JournalFolder
from mlflow_weir.plugin.recorder import recorders
from mlflow_weir.plugin.uri import scheme_of

_DELIVERY_S = 120.0
_asks_for_weir = uri.is_weir


def begin() -> None:
    """Lead this process's tracking URIs through the journal."""
    spool = tempfile.mkdtemp(prefix="spool-", dir=os.environ["WEIR_SPOOL_PARENT"])
    # The default, not the variable: tests empty the environment.
    object.__setattr__(settings.SPOOL, "default", spool)
    object.__setattr__(settings.CAPTURE, "default", False)  # what Weir adds to each run
    uri.is_weir = _is_weir
    _serve_extension()
    _deliver_before_requests_by_hand()


def _is_weir(uri: str) -> bool:
    return _asks_for_weir(uri) or scheme_of(uri) == "sqlite"


def _serve_extension() -> None:
    from mlflow.utils.import_hooks import register_post_import_hook

    from mlflow_weir.ui_extensions import app

    register_post_import_hook(lambda server: app.install(server.app), "mlflow.server")


def _deliver_before_requests_by_hand() -> None:
    import requests.api

    request = requests.api.request

    def delivered_first(*words: Any, **options: Any) -> Any:
        for recorder in list(recorders):
            if recorder.journal is not None:
                recorder.deliver(_DELIVERY_S, partial(_goes_on, recorder.target.uri))
        return request(*words, **options)

    requests.api.request = delivered_first


def deliver() -> list[str]:
    """Deliver everything and give up the journals.

    Returns:
        What a user would be told of: refused and undelivered records.
    """
    told: list[str] = []
    for recorder in list(recorders):
        journal = recorder.journal
        if journal is None:
            continue
        uri = recorder.target.uri
        is_delivered = recorder.deliver(_DELIVERY_S, partial(_goes_on, uri))
        if not is_delivered:
            gone = "a database that is gone, which was logged to afterwards"
            told.append(f"not delivered to {gone if _is_gone(uri) else uri}")
        elif recorder.n_refused():
            refused = JournalFolder(journal.folder).delivered().rejected
            told += [f"refused {one['what']}: {one['reason']}" for one in refused]
        journal.close()
        recorder._journal = None
        if not is_delivered and _is_gone(uri):  # or the agent would try to the suite's end
            shutil.rmtree(journal.folder, ignore_errors=True)
    return told


def _goes_on(uri: str, state: client.DeliveryState) -> bool:
    return not _is_gone(uri)


def _is_gone(uri: str) -> bool:
    """Say whether a test has removed its database: nothing can be delivered to it any more."""
    url = sa.make_url(uri)
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    return not Path(url.database).exists()


def end() -> None:
    """End the agent."""
    client.nudge(Path(settings.SPOOL.default), client.STOP)
