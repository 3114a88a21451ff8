"""Registered models and prompts of stock MLflow, with versions, aliases, tags and stages.

A version keeps its number: where the numbers of the source have gaps, because versions were
deleted, so have those of the target. Its times are those of the import, since no store of MLflow's
takes others; when it was made is its tag ``weir.created_at``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlparse

from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.contact import says_unknown
from mlflow_weir.plugin.importing.bringing import Bringer, Brought
from mlflow_weir.plugin.importing.mlflow_models import find_model
from mlflow_weir.plugin.importing.mlflow_place import Place, pages

_PAGE = 100
PROMPT = "prompt"
_PROMPT_TAG = "mlflow.prompt.is_prompt"
_PROMPTS = f"tags.`{_PROMPT_TAG}` = 'true'"
_LOGGED_MODEL = re.compile(r"models:/(m-[^/]+)/?\Z")
_IMPORTED = ("weir.imported_from", "mlflow")
_GAP = "weir.gap"  # a version that was made for the sake of the next one's number


def find_registered(place: Place) -> Iterator[tuple[str, str]]:
    """Give the kind (``registered model`` or ``prompt``) and name of all that a registry has."""
    for kind, query in (("registered model", None), (PROMPT, _PROMPTS)):
        for one in pages(place.registry.search_registered_models, _PAGE, filter_string=query):
            yield kind, one.name


class Registered:
    """One registered model, or prompt, on its way."""

    def __init__(self, place: Place, bringer: Bringer, brought: Brought, name: str) -> None:
        """Prepare to bring.

        Args:
            place: Where it is.
            bringer: Knows where it goes.
            brought: Takes note of what became of it; its kind is known.
            name: Its name.
        """
        self._is_prompt = brought.kind == PROMPT
        self._place, self._bringer, self._brought, self._name = place, bringer, brought, name
        self._source = place.registry
        self._target = mlflow_private.registry_store(bringer.client.tracking_uri)

    def bring(self) -> None:
        """Bring it, or what is new of it.

        Raises:
            ConfigError: There is one of its name that was not imported.
        """
        name = self._name
        wanted = self._source.get_registered_model(name)
        there = self._find()
        if there is None:
            tags = {**self._tags_of(wanted), **_origin(wanted)}
            self._target.create_registered_model(
                name,
                [RegisteredModelTag(key, text) for key, text in sorted(tags.items())],
                wanted.description,
            )
            there = self._find()
        known_tags = self._tags_of(there)
        self._require_imported(known_tags, f"{name!r}")
        for key, text in sorted(self._tags_of(wanted).items()):
            if known_tags.get(key) != text:
                self._target.set_registered_model_tag(name, RegisteredModelTag(key, text))
        if (wanted.description or "") != (there.description or ""):
            self._target.update_registered_model(name, wanted.description)
        versions = {int(one.version): one for one in self._versions(self._source)}
        known = {int(one.version): one for one in self._versions(self._target)}
        for number, one in known.items():
            if _GAP in one.tags and number not in versions:  # an import was broken off
                self._delete_gap(one, _model_of(one))
        for number, version in sorted(versions.items()):
            self._update(version, known.get(number) or self._create(version))
        for alias, number in sorted(wanted.aliases.items()):
            if str(there.aliases.get(alias)) != str(number):
                self._target.set_registered_model_alias(name, alias, str(number))

    def _tags_of(self, registered: Any) -> dict[str, str]:
        """Return all tags, that which makes it a prompt among them: MLflow does not show it."""
        return {**registered.tags, **({_PROMPT_TAG: "true"} if self._is_prompt else {})}

    def _find(self) -> Any:
        try:
            return self._target.get_registered_model(self._name)
        except MlflowException as exc:
            if says_unknown(exc):
                return None
            raise

    def _versions(self, store: Any) -> Iterator[Any]:
        quote = '"' if "'" in self._name else "'"
        query = f"name = {quote}{self._name}{quote}"
        if self._is_prompt:  # of which a search finds no version unless it says so
            query += f" AND {_PROMPTS}"
        return pages(store.search_model_versions, _PAGE, filter_string=query)

    def _create(self, version: Any) -> Any:
        """Create a version with the number that it has there.

        Raises:
            ConfigError: The number is taken by a version that was deleted here.
        """
        number = int(version.version)
        source, model_id = self._address(version)
        while True:
            made = self._make(version, source, model_id)
            if int(made.version) == number:
                self._brought.n_new += 1
                self._bringer.note(self._brought)
                return made
            self._delete_gap(made, model_id)
            if int(made.version) > number:
                raise ConfigError(
                    f"version {number} of {self._name!r} was deleted here, and no other version "
                    "can have its number",
                    hint="delete the registered model, then import it again",
                )

    def _delete_gap(self, version: Any, model_id: str | None) -> None:
        """Delete a version that was made for the next one's number, and what names it."""
        number = str(version.version)
        model = find_model(self._bringer.client, model_id) if model_id else None
        if model is not None:  # a server has noted there that it was made, and would not forget
            listed = json.loads(model.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
            gap = (self._name, number)
            left = [one for one in listed if (one["name"], str(one["version"])) != gap]
            if left != listed:
                tags = {MLFLOW_MODEL_VERSIONS: json.dumps(left)}
                self._bringer.client.set_logged_model_tags(model.model_id, tags)
        self._target.delete_model_version(self._name, number)

    def _make(self, version: Any, source: str, model_id: str | None) -> Any:
        """Create a version with the next number, and as if it were made for that alone."""
        tags = {**version.tags, **_origin(version), _GAP: "true"}
        return self._target.create_model_version(
            self._name,
            source,
            version.run_id or None,
            [ModelVersionTag(key, text) for key, text in sorted(tags.items())],
            version.run_link or None,
            version.description,
            model_id=model_id,
        )

    def _update(self, version: Any, there: Any) -> None:
        """Give a version that is there what it has now in the source."""
        name, number = self._name, str(version.version)
        self._require_imported(there.tags, f"version {number} of {name!r}")
        if _GAP in there.tags:
            self._target.delete_model_version_tag(name, number, _GAP)
        for key, text in sorted(version.tags.items()):
            if there.tags.get(key) != text:
                self._target.set_model_version_tag(name, number, ModelVersionTag(key, text))
        if (version.description or "") != (there.description or ""):
            self._target.update_model_version(name, number, version.description)
        stage = version.current_stage or "None"
        if stage != (there.current_stage or "None"):
            self._target.transition_model_version_stage(name, number, stage, False)

    def _require_imported(self, tags: dict[str, str], what: str) -> None:
        if tags.get(_IMPORTED[0]) != _IMPORTED[1]:
            raise ConfigError(
                f"{what} is there, and was not imported", hint="rename one of the two"
            )

    def _address(self, version: Any) -> tuple[str, str | None]:
        """Return where a version's model is here, and its id if it is a logged one."""
        source = str(version.source)
        model_id = _model_of(version)
        if urlparse(source).scheme in {"models", "runs"} or self._is_prompt:
            return source, model_id
        clients = (self._place.client, self._bringer.client)
        if model_id:
            models = [find_model(client, model_id) for client in clients]
            roots = [one.artifact_location for one in models if one is not None]
        else:
            roots = []
        if len(roots) < 2 and version.run_id:
            roots = [client.get_run(version.run_id).info.artifact_uri for client in clients]
        if len(roots) == 2:
            below = _below(source, roots[0])
            if below is not None:
                return f"{roots[1].rstrip('/')}{below}", model_id
        self._brought.leave_out("versions whose files are in no run or logged model: left there")
        return source, model_id


def _model_of(version: Any) -> str | None:
    """Return the id of the logged model that a version is; of a server its address alone tells."""
    named = _LOGGED_MODEL.match(str(version.source))
    return version.model_id or (named[1] if named else None)


def _below(address: str, root: str) -> str | None:
    """Return what of an address comes after a root, "" or ``/…``; None where it is not below."""
    address, root = (_plain(one).rstrip("/") for one in (address, root))
    if address == root or address.startswith(f"{root}/"):
        return address[len(root) :]
    return None


def _plain(address: str) -> str:
    is_local = urlparse(address).scheme in {"", "file"}
    return str(local_file_uri_to_path(address)) if is_local else address


def _origin(one: Any) -> dict[str, str]:
    """Return the tags that say where something is from, and when it was made there."""
    made = datetime.fromtimestamp((one.creation_timestamp or 0) / 1000, timezone.utc)
    return dict((_IMPORTED, ("weir.created_at", made.isoformat(timespec="milliseconds"))))
