"""Saved views in the database: revisions, conflicts, limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.sharing import views
from mlflow_weir.store.sharing.views import ViewConflict
from mlflow_weir.store.tracking_store import WeirStore

ALICE, BOB = "user alice", "user bob"


@pytest.fixture
def engine(
    mlflow_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.Engine]:
    store = WeirStore(mlflow_database_url, str(tmp_path_factory.mktemp("artifacts")))
    yield store.engine
    store.engine.dispose()


def test_a_personal_view_is_ones_own_and_tells_of_conflicts(engine: sa.Engine) -> None:
    assert views.save_personal(engine, "1,2", ALICE, '{"a": 1}', 0) == 1
    assert views.save_personal(engine, "1,2", ALICE, '{"a": 2}', 1) == 2
    assert views.save_personal(engine, "1,2", BOB, '{"b": "Größe 🙂"}', 0) == 1
    for stale in (0, 1, 7):
        with pytest.raises(ViewConflict) as raised:
            views.save_personal(engine, "1,2", ALICE, '{"a": 3}', stale)
        assert raised.value.view.document == '{"a": 2}'
    own = views.read(engine, views.personal_id("1,2", BOB))
    assert own is not None
    assert (own.document, own.revision) == ('{"b": "Größe 🙂"}', 1)
    with engine.connect() as connection:
        kept = "SELECT count(*) FROM weir_view_revision"
        assert connection.execute(sa.text(kept)).scalar() == 2


def test_a_named_views_revisions_never_change(engine: sa.Engine) -> None:
    view_id, revision = views.save_named(engine, "1", " LR sweep ", "alice", "{}", None, 0)
    assert revision == 1
    assert views.save_named(engine, "1", "renamed", "bob", '{"x": 1}', view_id, 1) == (view_id, 2)
    with pytest.raises(ViewConflict):
        views.save_named(engine, "1", "late", "alice", '{"x": 2}', view_id, 1)
    first, last = views.read(engine, view_id, 1), views.read(engine, view_id)
    assert first is not None
    assert last is not None
    assert (first.document, first.author, first.name) == ("{}", "alice", "renamed")
    assert (last.document, last.author, last.revision) == ('{"x": 1}', "bob", 2)
    assert [one.name for one in views.list_named(engine, "1")] == ["renamed"]
    assert views.list_named(engine, "2") == []
    assert views.read(engine, view_id, 3) is None
    with pytest.raises(ConfigError, match="no such view"):
        views.save_named(engine, "2", "elsewhere", "alice", "{}", view_id, 2)
    views.delete(engine, view_id)
    assert views.read(engine, view_id, 1) is None
    with pytest.raises(ConfigError, match="no such view"):
        views.save_named(engine, "1", "gone", "alice", "{}", view_id, 2)


def test_a_state_is_named_by_its_content(engine: sa.Engine) -> None:
    one = views.keep_state(engine, "1", "alice", '{"z": [1, 2]}')
    assert views.keep_state(engine, "1", "bob", '{"z": [1, 2]}') == one
    assert views.keep_state(engine, "2", "bob", '{"z": [1, 2]}') != one
    found = views.read(engine, one)
    assert found is not None
    assert (found.document, found.author) == ('{"z": [1, 2]}', "alice")


@pytest.mark.parametrize(
    "document", ["", "[]", "{", '{"a": "' + "x" * 262_144 + '"}', "[" * 9_999], ids=range(5)
)
def test_what_is_no_view_is_refused(engine: sa.Engine, document: str) -> None:
    with pytest.raises(ConfigError):
        views.save_personal(engine, "1", ALICE, document, 0)
    with pytest.raises(ConfigError):
        views.keep_state(engine, "1", "", document)


def test_there_is_a_limit(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MAX_NAMED", 2)
    for name in ("a", "b"):
        views.save_named(engine, "1", name, "", "{}", None, 0)
    with pytest.raises(ConfigError, match="delete some"):
        views.save_named(engine, "1", "c", "", "{}", None, 0)
    for name in ("", " ", "x" * 251):
        with pytest.raises(ConfigError, match="name"):
            views.save_named(engine, "2", name, "", "{}", None, 0)
    assert views.scope_of(["10", "9", "009"]) == "9,10"
    with pytest.raises(ConfigError, match="too many"):
        views.scope_of([str(10**17 + n) for n in range(40)])
