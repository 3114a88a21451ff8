"""Links in the database: their tokens, passwords, states, runs and access logs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.entities import Metric, Param, RunStatus, RunTag

from mlflow_weir.errors import ConfigError
from mlflow_weir.store import schema
from mlflow_weir.store.runs import filter_language, listing, run_columns
from mlflow_weir.store.runs.conditions import Scope
from mlflow_weir.store.runs.reading_runs import StoredRuns
from mlflow_weir.store.sharing import frozen_runs, links
from mlflow_weir.store.sharing.frozen_runs import FrozenRuns
from mlflow_weir.store.sharing.links import Terms
from mlflow_weir.store.sharing.shown import Shown
from mlflow_weir.store.tracking_store import WeirStore

AT_MS = 1_700_000_000_000


@pytest.fixture
def store(
    mlflow_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WeirStore]:
    found = WeirStore(mlflow_database_url, str(tmp_path_factory.mktemp("artifacts")))
    yield found
    found.engine.dispose()


def terms(**changed: Any) -> Terms:
    return Terms(
        **{
            "kind": "experiment",
            "title": " Größe 🙂 ",
            "experiment_ids": ["0"],
            "workspace": None,
            "is_live": True,
            "as_of_ms": None,
            "shown": Shown(metrics=frozenset({"loss"}), notes=True),
            "run_filter": links.Filter("params.lr = '1'"),
            "view": {"a": "ü"},
            "replaces_names": False,
            "expires_ms": None,
            "password": None,
            "is_preview": False,
            "created_by": "alice",
            **changed,
        }
    )


def run_of(store: WeirStore, name: str = "r", **more: Any) -> str:
    run = store.create_run("0", "alice", AT_MS, [], name)
    store.log_batch(
        run.info.run_id,
        more.get("metrics", []),
        [Param(key, value) for key, value in more.get("params", {}).items()],
        [RunTag(key, value) for key, value in more.get("tags", {}).items()],
    )
    return str(run.info.run_id)


def test_a_link_is_found_by_its_token_alone_which_is_not_kept(store: WeirStore) -> None:
    share, token = links.create(store.engine, terms(), None)
    assert len(token) == 43
    assert links.find_by_token(store.engine, token) == share
    assert (share.title, share.shown.notes, share.view) == ("Größe 🙂", True, {"a": "ü"})
    assert share.run_filter == links.Filter("params.lr = '1'")
    digest = hashlib.sha256(token.encode()).hexdigest()
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(schema.share)).mappings().all()
    assert [row["token_sha256"] for row in rows] == [digest]
    assert token not in str(rows)
    # Neither what is kept nor what names it to its managers opens it, nor anything like a token.
    for other in (digest, share.share_id, token[:-1], token + "A", token.lower(), "", "-" * 43):
        assert links.find_by_token(store.engine, other) is None
    for other in ("%", "' OR 1=1 --", "\0", "\ud800" * 43, "x" * 100_000, f" {token}"):
        assert links.find_by_token(store.engine, other) is None


def test_every_token_costs_one_look_up_of_the_same_kind(store: WeirStore) -> None:
    """A guess is answered alike, however near or far it is: by the hash's place in an index."""
    _, token = links.create(store.engine, terms(), None)
    asked: list[tuple[str, int]] = []

    def note(_: Any, cursor: Any, statement: str, values: Any, *more: Any) -> None:
        found = values.values() if isinstance(values, dict) else values
        asked.append((statement, len(str(*found))))

    sa.event.listen(store.engine, "before_cursor_execute", note)
    for guess in (
        token,
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        "A" * 43,
        "",
        "x" * 9_999,
    ):
        links.find_by_token(store.engine, guess)
    sa.event.remove(store.engine, "before_cursor_execute", note)
    assert len(asked) == 5
    assert len(set(asked)) == 1
    assert asked[0][1] == 64
    with store.engine.connect() as connection:
        found = sa.inspect(connection)
        unique: list[Any] = [
            one["column_names"]
            for one in (
                *found.get_unique_constraints("weir_share"),
                *found.get_indexes("weir_share"),  # as MySQL tells of them
            )
        ]
    assert ["token_sha256"] in unique


def test_a_link_is_paused_rotated_and_ended(store: WeirStore) -> None:
    share, token = links.create(store.engine, terms(expires_ms=AT_MS), None)
    assert share.state(AT_MS - 1) == links.ACTIVE
    assert share.state(AT_MS) == links.EXPIRED
    links.set_paused(store.engine, share.share_id, True)
    paused = links.read(store.engine, share.share_id)
    assert paused is not None
    assert paused.state(0) == links.PAUSED
    links.set_paused(store.engine, share.share_id, False)
    other = links.rotate(store.engine, share.share_id)
    assert links.find_by_token(store.engine, token) is None
    found = links.find_by_token(store.engine, other)
    assert found is not None
    assert (found.share_id, found.state(0)) == (share.share_id, links.ACTIVE)
    links.revoke(store.engine, share.share_id)
    links.set_paused(store.engine, share.share_id, False)
    with pytest.raises(ConfigError, match="stays so"):
        links.rotate(store.engine, share.share_id)
    ended = links.find_by_token(store.engine, other)
    assert ended is not None
    assert ended.state(0) == links.REVOKED


def test_a_password_is_kept_as_a_hash_and_its_key_holds_for_a_while(store: WeirStore) -> None:
    share, _ = links.create(store.engine, terms(password="correct horse"), None)
    again, _ = links.create(store.engine, terms(password="correct horse"), None)
    assert share.secret is not None
    assert "horse" not in share.secret
    assert share.secret != again.secret
    assert links.is_password(share, "correct horse")
    for wrong in ("", "correct hors", "Correct horse", "x" * 300, "\ud800"):
        assert not links.is_password(share, wrong)
    key = links.make_key(share, AT_MS)
    assert links.is_key(share, key, AT_MS - 1)
    assert not links.is_key(share, key, AT_MS)
    until, _, signature = key.partition(".")
    for forged in (
        "",
        ".",
        f"{AT_MS + 1}.{signature}",
        f"{until}.{'0' * 64}",
        f"{until}.é",
        key[:-1],
    ):
        assert not links.is_key(share, forged, AT_MS - 1), forged
    assert not links.is_key(again, key, AT_MS - 1)
    links.rotate(store.engine, share.share_id)
    rotated = links.read(store.engine, share.share_id)
    assert rotated is not None
    assert not links.is_key(rotated, key, AT_MS - 1)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"kind": "report"},
    {"title": " "},
    {"title": "x" * 251},
    {"experiment_ids": []},
    {"experiment_ids": [str(10**17 + n) for n in range(40)]},
    {"run_filter": None},
    {"is_live": False},
    {"password": "123"},
    {"password": "x" * 201},
]


def test_what_cannot_be_a_link_is_refused(store: WeirStore) -> None:
    for changed in IMPOSSIBLE:
        with pytest.raises(ConfigError):
            links.create(store.engine, terms(**changed), None)
    with pytest.raises(ConfigError):
        links.create(store.engine, terms(), [])
    with pytest.raises(ConfigError):
        links.create(store.engine, terms(), [f"{n:032x}" for n in range(1_001)])
    assert links.list_links(store.engine, None, None) == []


def test_there_are_limits_and_previews_go_by_themselves(
    store: WeirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 1)
    monkeypatch.setattr(links, "MAX_PREVIEWS", 1)
    kept, _ = links.create(store.engine, terms(), None)
    with pytest.raises(ConfigError, match="too many"):
        links.create(store.engine, terms(), None)
    preview, _ = links.create(store.engine, terms(is_preview=True, expires_ms=None), None)
    assert preview.expires_ms == preview.created_ms + links.PREVIEW_MS
    with pytest.raises(ConfigError, match="too many"):
        links.create(store.engine, terms(is_preview=True), None)
    assert links.list_links(store.engine, "0", None) == [kept]
    assert links.list_links(store.engine, "00", None) == []
    assert links.list_links(store.engine, None, "team-a") == []
    later = preview.created_ms + links.PREVIEW_MS
    monkeypatch.setattr(links, "now_ms", lambda: later)
    links.create(store.engine, terms(is_preview=True), None)
    assert links.read(store.engine, preview.share_id) is None


def test_the_access_log_keeps_the_last_visits(
    store: WeirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MAX_VISITS", 3)
    share, _ = links.create(store.engine, terms(), None)
    other, _ = links.create(store.engine, terms(), None)
    links.note_visit(store.engine, other.share_id, "opened", "10.0.0.9")
    for n in range(5):
        links.note_visit(store.engine, share.share_id, "opened", f"10.0.0.{n}")
        links.note_hit(store.engine, share.share_id)
    found = [visit.address for visit in links.read_visits(store.engine, share.share_id)]
    assert found == ["10.0.0.4", "10.0.0.3", "10.0.0.2"]
    assert len(links.read_visits(store.engine, other.share_id)) == 1
    counted = links.read(store.engine, share.share_id)
    assert counted is not None
    assert counted.hits == 5


def test_runs_that_are_deleted_or_gone_leave_a_link(store: WeirStore) -> None:
    named = [run_of(store, name) for name in ("a", "b", "c")]
    share, _ = links.create(store.engine, terms(run_filter=None), named[::-1])
    assert links.named_runs(store.engine, share) == named[::-1]
    store.delete_run(named[0])
    assert links.named_runs(store.engine, share) == [named[2], named[1]]
    store.delete_run(named[1])
    store._hard_delete_run(named[1])
    assert links.named_runs(store.engine, share) == [named[2]]
    with store.engine.connect() as connection:
        left = sa.select(sa.func.count()).select_from(schema.share_run)
        assert connection.execute(left).scalar() == 2
    elsewhere = store.create_experiment(f"elsewhere {share.share_id}")
    with store.engine.begin() as connection:
        # As a move of the run to another experiment does.
        connection.execute(sa.text(f"UPDATE runs SET experiment_id = {int(elsewhere)}"))
    assert links.named_runs(store.engine, share) == []
    assert links.are_experiments_there(store.engine, share)
    store.delete_experiment("0")
    assert not links.are_experiments_there(store.engine, share)


FILTERS = [
    "",
    *(
        "metrics.loss > 0.5",
        "metrics.loss != 1",
        "max(metrics.loss) >= 1",
        "metrics.loss is missing",
    ),
    *("params.lr = '1'", "params.lr = 1", "params.lr > 0.5", "params.lr != '1'"),
    *(
        "params.lr like '%d%'",
        "params.lr ilike 'AD_M'",
        "params.lr ~ '^a.*m$'",
        "params.lr !~ 'a'",
    ),
    *("params.lr in ('1', 'adam')", "params.lr not in (1, 2)", "params.lr is not missing"),
    *(
        "tags.team = 'vision'",
        "not (tags.team = 'vision')",
        "tags.team is missing or params.lr = 1",
    ),
    *("status = 'FINISHED'", "start_time >= 1700000000005", "start_time within last 1 h"),
    *("end_time is missing", "run_name like 'run 1%'", "run_name in ('run 1', 'run 2')"),
    "(params.lr = '1' or metrics.loss < 1) and not status = 'RUNNING'",
]


def test_frozen_runs_are_found_sorted_and_grouped_as_the_database_does(store: WeirStore) -> None:
    values = ["1", "1.0", "adam", "Adam", "0.5", "2", ""]
    for n in range(14):
        loss = [Metric("loss", (n % 5) / 2, AT_MS + n, 0), Metric("loss", 3 - n / 4, AT_MS + n, 1)]
        run = store.create_run("0", "alice", AT_MS + n, [], f"run {n}").info.run_id
        params = [Param("lr", values[n % 7])] if n % 4 else []
        tags = [RunTag("team", ["vision", "text"][n % 2])] if n % 3 else []
        store.log_batch(run, loss[: n % 3], params, tags)
        if n % 5:
            store.update_run_info(run, RunStatus.FINISHED, AT_MS + 1_000 + n, None)
    shown = Shown(
        metrics=frozenset({"loss"}), params=frozenset({"lr"}), tags=frozenset({"team"}), host=True
    )
    stored = StoredRuns(store.ManagedSessionMaker, store.engine, Scope([0], ["active"]))
    everything = stored.find(now_ms=AT_MS).run_ids
    with store.ManagedSessionMaker() as session:
        facts = frozen_runs.take(session, store.engine, everything, shown, AT_MS)
    frozen = FrozenRuns(facts)
    columns = [
        run_columns.parse(name)
        for name in (
            *("params.lr", "tags.team", "metrics.loss", "metrics.loss:min", "metrics.loss:max"),
            *("attributes.status", "attributes.duration", "attributes.run_name", "params.absent"),
        )
    ]
    orders = [
        [],
        *(
            [listing.OrderTerm(column, is_descending)]
            for column in columns
            for is_descending in (False, True)
        ),
    ]
    for text in FILTERS:
        tree = filter_language.parse(text)
        for order in orders if text in FILTERS[:2] else orders[:1]:
            asked: dict[str, Any] = {"now_ms": AT_MS + 5, "tree": tree, "order": order}
            assert frozen.find(**asked) == stored.find(**asked), (text, order)
    for search, is_regex in (("UN 1", False), ("n 1[0-3]$", True), (everything[3][:8], False)):
        asked = {"now_ms": AT_MS, "search": search, "is_regex": is_regex}
        found = stored.find(**asked)
        assert frozen.find(**asked) == found
        assert 0 < len(found.run_ids) < len(everything)
    rows = stored.rows(everything, columns)
    assert [row._replace(info={}) for row in frozen.rows(everything, columns)] == [
        row._replace(info={}) for row in rows
    ]
    assert frozen.numbers(rows) == stored.numbers(rows)
    assert frozen.group(everything, columns[:2], columns[2:4]) == stored.group(
        everything, columns[:2], columns[2:4]
    )
    for one, other in zip(
        frozen.known_keys()["params"], stored.known_keys()["params"], strict=True
    ):
        assert one._replace(values=sorted(one.values)) == other._replace(
            values=sorted(other.values)
        )
    assert frozen.metric_keys() == stored.metric_keys()
    assert frozen.standing() == stored.standing()
    # What comes later changes nothing of it.
    store.log_batch(
        everything[0], [Metric("loss", 99.0, AT_MS + 99, 9)], [], [RunTag("team", "x")]
    )
    assert frozen.find(now_ms=AT_MS, tree=filter_language.parse("tags.team = 'x'")).run_ids == []


def test_only_what_is_shown_is_written_down(store: WeirStore) -> None:
    metrics = [Metric(key, 1.0, AT_MS, 0) for key in ("open", "hidden", "system/cpu")]
    run_id = run_of(
        store,
        "secret name",
        metrics=metrics,
        params={"lr": "1", "token": "hidden"},
        tags={
            "team": "x",
            "mlflow.note.content": "hidden",
            "weir.host": "hidden",
            "own": "hidden",
        },
    )
    shown = Shown(
        metrics=frozenset({"open"}),
        params=frozenset({"lr"}),
        tags=frozenset({"team", "mlflow.note.content", "weir.host"}),
        names=False,
    )
    with store.ManagedSessionMaker() as session:
        facts = frozen_runs.take(session, store.engine, [run_id], shown, AT_MS)
    assert "hidden" not in str(facts)
    assert "secret" not in str(facts)
    assert "system" not in str(facts)
    assert facts[run_id]["params"] == {"lr": "1"}
    assert facts[run_id]["tags"] == {"team": "x"}
    assert list(facts[run_id]["metrics"]) == ["open"]
