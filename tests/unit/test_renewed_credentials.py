"""The agent goes on with what a process has renewed, for the journals beside its own too."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from agents import wait_until
from mlflow_weir.plugin.agent import lease
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.agent.loop import Agent
from mlflow_weir.plugin.journal.spool import Credentials, Spool, Target, replace_private
from mlflow_weir.plugin.journal.writer import Journal

NOWHERE = "http://127.0.0.1:9"


def with_token(token: str) -> Credentials:
    return Credentials(NOWHERE, {}, {"Authorization": f"Bearer {token}"})


def test_what_one_process_renews_is_its_other_journals_too(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "s")
    training, console, stranger = (
        Journal.create(spool, Target("http", NOWHERE), with_token(token))
        for token in ("old", "old", "another's")
    )
    held = lease.try_take(AgentFiles(spool.root))
    assert held is not None
    agent = Agent(spool, held)

    def tokens() -> dict[str, str]:
        agent._next_owner_s = 0.0
        agent._look()
        return {
            name: dict(one.address.headers)["Authorization"].removeprefix("Bearer ")
            for name, one in agent._tracked.items()
            if not one.is_moved
        }

    names = [journal.journal_id for journal in (training, console, stranger)]
    try:
        assert tokens() == dict(zip(names, ("old", "old", "another's"), strict=True))
        replace_private(training.folder / "credentials.json", asdict(with_token("new")))
        wanted = dict(zip(names, ("new", "new", "another's"), strict=True))
        wait_until(lambda: tokens() == wanted, "both are with the worker of the new one")
        workers = {dict(address.headers)["Authorization"] for address in agent._workers}
        assert workers == {"Bearer new", "Bearer another's"}
    finally:
        agent._stop()
        held.release()
        for journal in (training, console, stranger):
            journal.close()
