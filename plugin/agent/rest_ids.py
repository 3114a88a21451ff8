"""The ids that a process gave its experiments, runs and logged models, and the server's."""

from __future__ import annotations

import re
from collections.abc import Callable

from mlflow_weir.errors import RunNotThereYet
from mlflow_weir.plugin.agent.stock_server import StockServer

_ID = re.compile(r"(?<![0-9a-z])(?:m-)?[0-9a-f]{32}(?![0-9a-z])")
_PARENT_TAG = "mlflow.parentRunId"


class Ids:
    """What is known of them; the rest the server is asked for.

    An id that is neither known nor the server's own may be of another journal's process (a child
    logs to its parent's run), which has been delivered: the server finds it by its tag.
    """

    def __init__(
        self,
        server: StockServer,
        aliases: dict[str, str],
        known_runs: set[str],
        *,
        is_patient: bool,
    ) -> None:
        """Begin with what is known.

        Args:
            server: To ask.
            aliases: The process's ids and the server's; added to.
            known_runs: Runs that are there, by the server's ids; added to.
            is_patient: Raise ``RunNotThereYet`` where a run is nowhere.
        """
        self._server, self._aliases, self._known_runs = server, aliases, known_runs
        self._is_patient = is_patient
        self._missing: set[str] = set()

    def experiment(self, experiment_id: str) -> str:
        """Return the server's id of an experiment."""
        return self._aliases.get(experiment_id, experiment_id)

    def run(self, run_id: str) -> str | None:
        """Return the server's id of a run, None where there is none.

        Raises:
            RunNotThereYet: There is none yet.
        """
        found = self._there(run_id)
        if found is None and run_id not in self._missing:
            found = self._anywhere(lambda ids: self._server.run_with_key(run_id, ids))
            if found is not None:
                self.learn_run(run_id, found)
            elif self._is_patient:
                raise RunNotThereYet(run_id)
            else:
                self._missing.add(run_id)
        return found

    def run_in(self, run_id: str, experiment_id: str) -> str | None:
        """Return the server's id of a run that is in an experiment, if it is anywhere."""
        found = self._there(run_id)
        if found is None:
            found = self._server.run_with_key(run_id, [experiment_id])
            if found is not None:
                self.learn_run(run_id, found)
        return found

    def _there(self, run_id: str) -> str | None:
        found = self._aliases.get(run_id)
        if found is None and run_id in self._known_runs:
            found = run_id
        if found is None and self._server.run(run_id) is not None:
            self._known_runs.add(run_id)
            found = run_id
        return found

    def learn_run(self, run_id: str, real: str) -> None:
        """Note the server's id of a run."""
        self._aliases[run_id] = real
        self._known_runs.add(real)
        self._missing.discard(run_id)

    def is_active(self, real: str) -> bool:
        """Say whether a run is there and not deleted, by the server's id."""
        found = self._server.run(real)
        return found is not None and found["info"].get("lifecycle_stage") == "active"

    def model(self, model_id: str) -> str:
        """Return the server's id of a logged model; the same where there is none."""
        if model_id not in self._aliases and not self._server.has_model(model_id):
            found = self._anywhere(lambda ids: self._server.model_with_key(model_id, ids))
            if found is None:
                return model_id
            self._aliases[model_id] = found
        return self._aliases.get(model_id, model_id)

    def model_in(self, model_id: str, experiment_id: str) -> str | None:
        """Return the server's id of a logged model in an experiment, if it is there."""
        found = self._aliases.get(model_id)
        if found is None and self._server.has_model(model_id):
            found = model_id
        if found is None:
            found = self._server.model_with_key(model_id, [experiment_id])
        if found is not None:
            self._aliases[model_id] = found
        return found

    def learn_model(self, model_id: str, real: str) -> None:
        """Note the server's id of a logged model."""
        self._aliases[model_id] = real

    def in_tag(self, key: str, value: str) -> str:
        """Return the value of a tag, with the server's ids where MLflow itself wrote ids."""
        if key == _PARENT_TAG:
            return self.run(value) or value
        if not key.startswith("mlflow."):
            return value
        return _ID.sub(lambda found: self._aliases.get(found[0], found[0]), value)

    def _anywhere(self, look: Callable[[list[str]], str | None]) -> str | None:
        for some in self._server.experiments():
            found = look(some)
            if found is not None:
                return found
        return None
