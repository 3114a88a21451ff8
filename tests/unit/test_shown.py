"""What a link shows: closed by default, box by box, also in the arrangement of the page."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.runs import filter_language, run_columns
from mlflow_weir.store.sharing.report_panels import check_panel
from mlflow_weir.store.sharing.shared_reports import fields_of
from mlflow_weir.store.sharing.shown import BOXES, EVERYTHING, Shown, read_shown
from mlflow_weir.store.sharing.shown_view import shown_view
from mlflow_weir.ui_extensions.rate_limits import RateLimit, network_of

TAGS = {
    "mlflow.note.content": "notes",
    "weir.exit_traceback": "console",
    "weir.exit_cause": "console",
    "weir.git.remote": "git_url",
    "mlflow.source.git.repoURL": "git_url",
    "weir.git.commit": "code",
    "mlflow.source.name": "command",
    "mlflow.user": "host",
    "weir.host": "host",
    "weir.gpu": "hardware",
}


def test_nothing_is_shown_by_default_and_everything_to_members() -> None:
    closed = read_shown({}, names=True)
    for key in ("loss", "*", "system/cpu", "gradients/fc"):
        assert not closed.has_metric(key)
        assert EVERYTHING.has_metric(key)
    assert not closed.has_param("lr")
    for tag in ("team", "mlflow.anything", "weir.anything", *TAGS):
        assert not closed.has_tag(tag)
        assert EVERYTHING.has_tag(tag)
    assert not closed.has_attribute("user_id")
    assert not closed.has_attribute("artifact_uri")
    assert not closed.has_field("datasets", "name")
    assert closed.has_attribute("status")


def test_each_box_opens_its_own_fields_and_no_list_opens_what_belongs_to_one() -> None:
    for box in BOXES:
        shown = read_shown({box: True, "tags": [*TAGS, "mlflow.other", "weir.other"]}, names=True)
        for tag, of in TAGS.items():
            assert shown.has_tag(tag) == (of == box), (box, tag)
        assert not shown.has_tag("mlflow.other")
        assert not shown.has_tag("weir.other")
        assert shown.has_metric("system/cpu") == (box == "hardware")
        assert shown.has_metric("gradients/fc") == (box == "histograms")
        assert shown.has_attribute("user_id") == (box == "host")
        assert read_shown(shown.as_json(), names=True) == shown


def test_a_star_is_all_metrics_but_those_of_boxes() -> None:
    shown = read_shown({"metrics": ["*"]}, names=True)
    assert shown.has_metric("loss")
    assert not shown.has_metric("system/cpu")
    assert not shown.has_metric("parameters/fc")
    assert read_shown({"metrics": ["system/cpu"]}, names=True).has_metric("system/cpu")


@pytest.mark.parametrize(
    "given",
    [
        {"argv": True},
        {"names": True},
        {"is_everything": True},
        {"notes": 1},
        {"notes": "true"},
        {"metrics": "loss"},
        {"metrics": [1]},
        {"params": ["x" * 601]},
        {"tags": [str(n) for n in range(5_001)]},
    ],
    ids=lambda given: str(given)[:40],
)
def test_boxes_that_are_none_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        read_shown(given, names=True)


SHOWN = Shown(
    metrics=frozenset({"loss", "val/acc"}), params=frozenset({"lr"}), tags=frozenset({"team"})
)


@pytest.mark.parametrize(
    "text",
    [
        "params.token = 'x'",
        "not (params.token is missing)",
        "metrics.loss > 1 and (params.lr = 1 or tags.secret ~ 'a')",
        "max(metrics.hidden) > 1",
        "user_id = 'alice'",
        "attributes.artifact_uri like '%'",
        "datasets.name = 'x'",
        "tags.`mlflow.user` = 'alice'",
        "params.absent = 1",
    ],
)
def test_filters_on_hidden_fields_are_refused_in_the_same_words(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        SHOWN.require_tree(filter_language.parse(text))
    assert str(raised.value) == "this link does not show that field"


def test_filters_on_shown_fields_pass() -> None:
    for text in ("", "params.lr > 0.1 and not (max(metrics.loss) < 1 or tags.team in ('a'))"):
        SHOWN.require_tree(filter_language.parse(text))
        EVERYTHING.require_tree(filter_language.parse("params.token = 'x' and user_id = 'a'"))
    SHOWN.require_tree(filter_language.parse("run_name like 'a%'"))
    with pytest.raises(ConfigError):
        replace(SHOWN, names=False).require_tree(filter_language.parse("run_name like 'a%'"))
    SHOWN.require_columns([run_columns.parse("metrics.loss:min")])
    with pytest.raises(ConfigError):
        SHOWN.require_columns(map(run_columns.parse, ["metrics.loss", "params.token"]))


RUN, OTHER = "a" * 32, "b" * 32
KEYS = {"metrics": ["loss", "covert"], "params": ["lr", "token"], "tags": ["team", "secret"]}
VIEW: dict[str, Any] = {
    "version": 1,
    "filter": "params.token = 'abc'",
    "search": "covert",
    "isRegex": True,
    "order": ["-metrics.loss:min", "params.token"],
    "columns": [
        {"name": "params.lr", "isPinned": True, "width": 80},
        {"name": "params.token", "isPinned": True},
    ],
    "groupBy": ["tags.secret", "tags.team"],
    "centre": "mean",
    "band": "sd",
    "eye": {"base": "top", "n": 5, "shown": [RUN, OTHER], "hidden": [OTHER]},
    "colourBy": "params.token",
    "pins": [OTHER, RUN],
    "baseline": OTHER,
    "hidesCrashed": True,
    "showsDeleted": True,
    "higherIsBetter": ["val/acc", "covert"],
    "side": {"width": 300, "isTable": True, "isClosed": False, "note": "covert"},
    "chartSearch": "covert",
    "settings": {"x": "m:covert", "smoothing": {"kind": "ema", "amount": 0.5}, "new": "covert"},
    "layout": {
        "sections": [
            {
                "prefix": "",
                "isOpen": True,
                "columns": 3,
                "cards": [
                    {"id": "loss", "kind": "line", "keys": ["loss"], "w": 1, "h": 15},
                    {"id": "covert", "kind": "line", "keys": ["covert"], "w": 1, "h": 15},
                    {
                        "id": "own",
                        "kind": "line",
                        "isOwn": True,
                        "keys": ["covert", "loss"],
                        "title": "loss against covert",
                        "settings": {"x": "m:loss", "yMin": 0, "groups": [{"label": "token=abc"}]},
                        "w": 2,
                        "h": 15,
                    },
                    {"id": "t", "kind": "text", "keys": [], "text": "# Seen", "w": 1, "h": 9},
                    {"id": "u", "kind": "text", "keys": [], "text": "a token", "w": 1, "h": 9},
                    {"id": "p", "kind": "line", "keys": [], "pattern": "covert.*", "w": 1, "h": 9},
                ],
            },
            {"prefix": "token", "isOpen": True, "columns": 3, "cards": []},
        ],
        "favourites": ["covert", "val/acc"],
        "more": {"token": "abc"},
    },
    "more": "token",
}


def test_the_arrangement_of_the_page_names_nothing_that_is_not_shown() -> None:
    found = shown_view(VIEW, SHOWN, {RUN}, KEYS)
    text = json.dumps(found)
    for word in ("covert", "token", "secret", "abc", OTHER, "against"):
        assert word not in text, word
    assert found["order"] == ["-metrics.loss:min"]
    assert found["columns"] == [{"name": "params.lr", "width": 80, "isPinned": True}]
    assert found["groupBy"] == ["tags.team"]
    assert found["eye"] == {"base": "top", "n": 5, "shown": [RUN], "hidden": []}
    assert (found["pins"], found["baseline"], found["colourBy"]) == ([RUN], None, "")
    assert found["settings"] == {"smoothing": {"kind": "ema", "amount": 0.5}}
    assert (found["centre"], found["band"], found["filter"]) == ("mean", "sd", "")
    (section,) = found["layout"]["sections"]
    assert [card["id"] for card in section["cards"]] == ["loss", "own"]
    assert section["cards"][1]["keys"] == ["loss"]
    assert section["cards"][1]["settings"] == {"yMin": 0, "x": "m:loss"}
    assert found["layout"]["favourites"] == ["val/acc"]
    (section,) = shown_view(VIEW, replace(SHOWN, notes=True), {RUN}, KEYS)["layout"]["sections"]
    assert [card["id"] for card in section["cards"]] == ["loss", "own", "t", "u"]
    assert section["cards"][2]["text"] == "# Seen"


def test_a_view_that_is_none_is_an_empty_one() -> None:
    odd: dict[str, Any] = {key: 7 for key in VIEW} | {"eye": [], "layout": [], "columns": "x"}
    found = shown_view(odd, SHOWN, set(), KEYS)
    assert (found["columns"], found["layout"], found["pins"]) == ([], None, [])


def test_a_bucket_fills_by_time_and_each_name_has_its_own() -> None:
    now = [0.0]
    limit = RateLimit(burst=3, per_second=0.5, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(5)] == [True, True, True, False, False]
    assert limit.is_empty("a")
    assert not limit.is_empty("b")
    now[0] = 2.0
    assert [limit.take("a") for _ in range(2)] == [True, False]
    now[0] = 1_000.0
    assert [limit.take("a") for _ in range(4)] == [True, True, True, False]


def test_limits_count_a_network_of_ipv6_as_one() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:1:ffff::7")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8:0:2::1")
    assert network_of("") == ""


def test_an_expression_of_a_panel_takes_no_time_that_it_chooses() -> None:
    keys = {"train/loss", "val/loss", f"{'a' * 27}b"}

    def found(pattern: str) -> set[str]:
        card = {"id": "c", "pattern": pattern}
        runs = {"experiments": ["1"]}
        panel = check_panel({"kind": "charts", "runs": runs, "cards": [card]})
        return fields_of(panel, "metrics", keys)

    begun_s = time.monotonic()
    assert found("^(a|a)*$") == set()
    assert time.monotonic() - begun_s < 2
    assert found("^train/") == {"train/loss"}
    assert found("(?=train)") == found("(") == set()


def test_what_is_shown_is_told_in_the_words_of_show() -> None:
    shown = replace(SHOWN, metrics=frozenset({"*"}), notes=True)
    assert shown.in_words() == "metrics, params.lr, tags.team, notes"
    assert Shown().in_words() == ""
    many = Shown(params=frozenset(f"param {n}" for n in range(1_000))).in_words()
    assert len(many) == 300
    assert many.endswith("…")


def test_a_text_among_the_charts_is_a_note() -> None:
    card = {"id": "t", "kind": "text", "isOwn": True, "keys": [], "w": 2, "h": 9}
    card |= {"title": "Findings", "text": "warm-up helps", "more": "token"}
    view = {"layout": {"sections": [{"prefix": "", "cards": [card]}], "favourites": []}}

    def cards(shown: Shown) -> list[dict[str, Any]]:
        found = shown_view(view, shown, {RUN}, KEYS)["layout"]["sections"]
        return [one for section in found for one in section["cards"]]

    assert cards(SHOWN) == []
    (found,) = cards(replace(SHOWN, notes=True))
    del card["more"]
    assert found == card


def test_a_panel_among_the_charts_names_only_what_is_shown() -> None:
    def panel(kind: str, *columns: str, **more: Any) -> dict[str, Any]:
        return {"id": f"panel-{kind}", "kind": kind, "keys": [], "w": 1, "h": 15} | (
            {"columns": list(columns), **more} if columns else more
        )

    kept = [
        panel("scatter", "params.lr", "metrics.loss:min", isOwn=True, settings={"xLog": True}),
        panel("bars", "metrics.loss:latest", "tags.team", isUp=True, title="By team"),
        panel("importance"),
        panel("compare", parts=["params"], isWhole=True),
    ]
    left_out = [
        panel("scatter", "params.token", "metrics.loss:min"),
        panel("bars", "metrics.loss:latest", "params.token"),
        panel("importance", "metrics.covert:latest"),
        panel("media"),
    ]
    fewer = panel("parallel", "metrics.loss:min", "params.lr", "params.token", title="token")
    section = {"prefix": "\u21c4", "isOpen": True, "columns": 2}
    sections = [{**section, "cards": [*kept, *left_out, fewer]}]
    view = {"layout": {"sections": sections, "favourites": []}}
    (found,) = shown_view(view, SHOWN, {RUN}, KEYS)["layout"]["sections"]
    del fewer["title"]
    assert found == {**section, "cards": [*kept, {**fewer, "columns": fewer["columns"][:2]}]}
    pictures = shown_view(view, replace(SHOWN, media=True), {RUN}, KEYS)
    assert pictures["layout"]["sections"][0]["cards"][-2]["kind"] == "media"
    # All of them were taken away: they do not come back.
    view["layout"]["sections"] = [{**section, "cards": []}]
    assert shown_view(view, SHOWN, {RUN}, KEYS)["layout"]["sections"] == [{**section, "cards": []}]
