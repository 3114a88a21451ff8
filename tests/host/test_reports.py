"""Reports in the database: drafts, versions, conflicts, comments, pictures; what one may hold."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_weir.errors import ConfigError
from mlflow_weir.store import schema
from mlflow_weir.store.sharing import report_document, reports
from mlflow_weir.store.sharing.reports import ReportConflict
from mlflow_weir.store.tracking_store import WeirStore
from reports import document, panel, paragraph, png

LINK = {"type": "link", "attrs": {"href": "https://example.com/a?b=1#c"}}
RUN_ID = "a" * 32


@pytest.fixture
def engine(
    mlflow_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.Engine]:
    store = WeirStore(mlflow_database_url, str(tmp_path_factory.mktemp("artifacts")))
    yield store.engine
    store.engine.dispose()


def draft_of(engine: sa.Engine, report_id: str) -> Any:
    text = reports.read_draft(engine, report_id)
    assert text is not None
    return json.loads(text)


def test_a_draft_is_saved_over_published_restored_and_cloned(engine: sa.Engine) -> None:
    made = reports.create(
        engine, ["10", "9", "009"], None, " Größe 🙂 ", document(paragraph("a")), "alice"
    )
    assert (made.title, made.experiment_ids, made.draft, made.revision) == (
        "Größe 🙂",
        ("9", "10"),
        1,
        0,
    )
    image = reports.add_image(engine, made.report_id, png())
    assert reports.add_image(engine, made.report_id, png()) == image
    picture = {"type": "image", "attrs": {"image": image}}
    saved = reports.save(
        engine, made.report_id, 1, "Week 12", document(paragraph("b"), picture), "bob"
    )
    assert (saved.draft, saved.saved_by, saved.published_draft) == (2, "bob", 0)
    published = reports.publish(engine, made.report_id, 2, "bob")
    assert (published.revision, published.published_draft) == (1, 2)
    # Nobody's work is lost without a word, whatever they want to do with the draft they know.
    lates: list[Callable[[], reports.Report]] = [
        lambda: reports.save(engine, made.report_id, 1, "late", document(paragraph("c")), "alice"),
        lambda: reports.publish(engine, made.report_id, 1, "alice"),
        lambda: reports.restore(engine, made.report_id, 1, 1, "alice"),
    ]
    for late in lates:
        with pytest.raises(ReportConflict) as raised:
            late()
        assert (raised.value.report.title, raised.value.report.saved_by) == ("Week 12", "bob")
        assert json.loads(raised.value.document)["content"][0] == paragraph("b")
    # What is added at the end knows no draft, and takes the place of the empty line there.
    reports.save(
        engine,
        made.report_id,
        2,
        "Week 13",
        document(paragraph("c"), {"type": "paragraph"}),
        "bob",
    )
    appended = reports.append(engine, made.report_id, [{"type": "contents"}], "carol")
    assert draft_of(engine, made.report_id)["content"] == [paragraph("c"), {"type": "contents"}]
    assert reports.publish(engine, made.report_id, appended.draft, "carol").revision == 2
    restored = reports.restore(engine, made.report_id, 1, appended.draft, "alice")
    assert (restored.title, restored.revision, restored.draft) == (
        "Week 12",
        2,
        appended.draft + 1,
    )
    assert draft_of(engine, made.report_id)["content"][0] == paragraph("b")
    assert [
        (one.revision, one.title, one.author)
        for one in reports.list_revisions(engine, made.report_id)
    ] == [
        (2, "Week 13", "carol"),
        (1, "Week 12", "bob"),
    ]
    old = reports.read_revision(engine, made.report_id, 1)
    assert old is not None
    assert json.loads(old[1])["content"][0] == paragraph("b")
    copied = reports.clone(engine, restored, "A copy", "dan")
    assert (copied.experiment_ids, copied.revision, copied.created_by) == (("9", "10"), 0, "dan")
    assert draft_of(engine, copied.report_id) == draft_of(engine, made.report_id)
    reports.add_comment(engine, made.report_id, "alice", " why? ", "quoted")
    (comment,) = reports.list_comments(engine, made.report_id)
    assert (comment.text, comment.quote, comment.resolved_ms) == ("why?", "quoted", None)
    reports.resolve_comment(engine, comment.comment_id, "bob", True)
    settled = reports.read_comment(engine, made.report_id, comment.comment_id)
    assert settled is not None
    assert settled.resolved_by == "bob"
    assert reports.read_comment(engine, copied.report_id, comment.comment_id) is None
    assert [one.report_id for one in reports.list_reports(engine, None)] == [
        copied.report_id,
        made.report_id,
    ]
    assert reports.published_titles(engine, [made.report_id, copied.report_id]) == {
        made.report_id: "Week 13"
    }
    reports.delete(engine, made.report_id)
    with engine.connect() as connection:
        for table in (schema.report_revision, schema.report_comment):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0
    kept = reports.read_image(engine, copied.report_id, image)
    assert kept is not None
    assert (kept.content_type, kept.body) == ("image/png", png())
    with pytest.raises(ConfigError, match="no such report"):
        reports.append(engine, made.report_id, [{"type": "contents"}], "")


def test_a_panel_keeps_its_id_and_what_is_said_of_it(
    engine: sa.Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever else of it changes, whoever writes the report; comments from before ids stay."""

    def table(title: str, panel_id: str | None = None, **runs: Any) -> dict[str, Any]:
        named = {} if panel_id is None else {"id": panel_id}
        return panel("1", "runs", title=title, columns=["params.lr"], runs=runs, **named)

    def ids_of(report_id: str) -> list[str]:
        return [one["id"] for one in report_document.panels(draft_of(engine, report_id))]

    def save(report: reports.Report, *blocks: dict[str, Any]) -> list[str]:
        found = reports.read(engine, report.report_id)
        assert found is not None
        reports.save(engine, report.report_id, found.draft, "t", document(*blocks), "")
        return ids_of(report.report_id)

    made = reports.create(engine, ["1"], None, "t", document(table("A"), table("A")), "")
    first, second = ids_of(made.report_id)
    assert first != second
    # A program that names none writes the same panels anew, in any order among others.
    other, *same = save(made, table("B"), table("A", most=7), paragraph("x"), table("A"))
    assert same == [first, second]
    assert other not in same
    # The editor names them: one that is renamed is the same, a copy of it is not.
    copied = save(made, table("A", second), table("C", first), table("C", first))
    assert copied[:2] == [second, first]
    assert copied[2] not in {first, second, other}
    reports.publish(engine, made.report_id, 4 - 1, "")
    appended = reports.append(engine, made.report_id, [table("A", second)], "")
    assert ids_of(made.report_id)[:3] == copied
    assert len(set(ids_of(made.report_id))) == 4
    reports.restore(engine, made.report_id, 1, appended.draft, "")
    assert ids_of(made.report_id) == copied
    reports.add_comment(engine, made.report_id, "", "of the first", "A", first)
    with pytest.raises(ConfigError, match="panel"):
        reports.add_comment(engine, made.report_id, "", "of none", "A", "<b>")
    # As it was kept before panels had ids.
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE weir_report_comment DROP COLUMN panel"))
        connection.execute(sa.text("UPDATE alembic_version_weir SET version_num = '0012'"))
    url = engine.url.render_as_string(hide_password=False)
    again = WeirStore(url, str(tmp_path_factory.mktemp("artifacts"))).engine
    (comment,) = reports.list_comments(again, made.report_id)
    assert (comment.text, comment.quote, comment.panel) == ("of the first", "A", None)
    reports.add_comment(again, made.report_id, "", "of the second", "A", second)
    assert [one.panel for one in reports.list_comments(again, made.report_id)] == [None, second]
    again.dispose()


def test_pictures_are_raster_and_have_limits(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = reports.create(engine, ["1"], None, "t", report_document.EMPTY, "")
    for body in (
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.4",
        b"GIF86a",
        b"RIFF1234WAVE",
    ):
        with pytest.raises(ConfigError, match="PNG"):
            reports.add_image(engine, made.report_id, body)
    monkeypatch.setattr(reports, "MAX_IMAGES_BYTES", len(png()) + 10)
    reports.add_image(engine, made.report_id, png())
    with pytest.raises(ConfigError, match="have at most"):
        reports.add_image(engine, made.report_id, png(grey=7))
    monkeypatch.setattr(reports, "MAX_IMAGE_BYTES", 9)
    with pytest.raises(ConfigError, match="has at most"):
        reports.add_image(engine, made.report_id, png(grey=9))


EVERYTHING = document(
    {"type": "heading", "attrs": {"level": 2}, "content": [{"type": "text", "text": "Results"}]},
    paragraph("bold", {"type": "bold"}, {"type": "italic"}, LINK),
    {
        "type": "paragraph",
        "content": [{"type": "math", "attrs": {"tex": "x^2"}}, {"type": "hardBreak"}],
    },
    {"type": "bulletList", "content": [{"type": "listItem", "content": [paragraph("one")]}]},
    {
        "type": "orderedList",
        "attrs": {"start": 3},
        "content": [{"type": "listItem", "content": [paragraph("3")]}],
    },
    {
        "type": "taskList",
        "content": [{"type": "taskItem", "attrs": {"checked": True}, "content": [paragraph("t")]}],
    },
    {"type": "blockquote", "content": [paragraph("said")]},
    {
        "type": "codeBlock",
        "attrs": {"language": "c++"},
        "content": [{"type": "text", "text": "int a;"}],
    },
    {"type": "mathBlock", "attrs": {"tex": "\\frac{1}{2}"}},
    {"type": "callout", "attrs": {"kind": "warning"}, "content": [paragraph("mind")]},
    {
        "type": "table",
        "content": [
            {
                "type": "tableRow",
                "content": [{"type": "tableHeader", "content": [paragraph("h")]}],
            },
            {
                "type": "tableRow",
                "content": [
                    {"type": "tableCell", "attrs": {"colspan": 2}, "content": [paragraph("c")]}
                ],
            },
        ],
    },
    {"type": "horizontalRule"},
    {"type": "contents"},
    {"type": "image", "attrs": {"image": "b" * 32, "caption": "<b>c</b>", "width": 300}},
    panel(
        "7",
        cards=[
            {"id": "loss", "keys": ["val/loss"], "settings": {"x": "m:epoch", "yScale": "log"}},
            {"id": "s", "kind": "scatter", "columns": ["params.lr", "metrics.loss:min"]},
        ],
    ),
    panel("007", "runs", columns=["params.lr", "metrics.loss:min"], runs={"ids": [RUN_ID]}),
    panel(
        "7",
        "compare",
        parts=["params"],
        runs={"filter": "params.lr > 0.1", "order": ["-metrics.loss:min"]},
    ),
    panel("7", "media", keys=["samples"], runs={"at": 1_700_000_000_000, "most": 3}),
    panel("7", "code"),
)


def test_a_report_holds_what_is_listed_and_is_the_same_when_checked_again() -> None:
    found = report_document.check(EVERYTHING)
    assert report_document.check(found) == found
    assert len(report_document.panels(found)) == 5
    assert report_document.images(found) == {"b" * 32}
    assert found["content"][1] == EVERYTHING["content"][1]
    named = report_document.panels(found)[1]
    assert named["runs"]["experiments"] == ["7"]
    assert (named["runs"]["ids"], named["runs"]["most"], named["runs"]["at"]) == (
        [RUN_ID],
        100,
        None,
    )
    # NUL and lone surrogates are what some databases do not take.
    odd = report_document.check(document(paragraph("a\0b\ud800")))
    assert odd["content"][0]["content"][0]["text"] == "a\ufffdb?"


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return ``EVERYTHING`` with one place in it changed: ``1.content.0.marks``."""
    found = copy.deepcopy(EVERYTHING)
    place: Any = found["content"]
    *way, last = path.split(".")
    for step in way:
        place = place[int(step)] if step.isdecimal() else place.setdefault(step, {})
    place[int(last) if last.isdecimal() else last] = value
    return found


def link(address: str) -> dict[str, Any]:
    return changed("1.content.0.marks", [{"type": "link", "attrs": {"href": address}}])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, '"type": "doc"'),
        ({"type": "doc"}, "never empty"),
        (document({"type": "script", "content": []}), r"content\[0\]: unknown node 'script'"),
        (document({"type": "text", "text": "t"}), "does not belong in doc"),
        (document(document(paragraph("t"))), "does not belong in doc"),
        (changed("1.content.0.onclick", "x"), r"content\[1\].content\[0\]: unknown field onclick"),
        (changed("0.attrs.style", "color: red"), "unknown attribute style"),
        (changed("0.attrs.level", 7), "from 1 to 3"),
        (changed("0.attrs.level", True), "from 1 to 3"),
        (changed("1.content.0.text", ""), "something in it"),
        (changed("1.content.0.marks", [{"type": "html"}]), "unknown mark 'html'"),
        (changed("1.content.0.marks", "bold"), "marks belong to text"),
        (changed("7.content.0.marks", [{"type": "bold"}]), "code has no marks"),
        (changed("7.attrs.language", "<script>"), "programming language"),
        (changed("9.attrs.kind", "x"), "note, tip"),
        (changed("10.content.0.content", []), "never empty"),
        (changed("13.attrs.image", "https://tracker.example/a.gif"), "uploaded"),
        (changed("13.attrs.image", None), "uploaded"),
        (changed("13.attrs.src", "data:text/html,x"), "unknown attribute src"),
        (changed("14.attrs.panel", None), "expected an object"),
        (changed("14.attrs.panel.kind", "html"), "charts, runs"),
        (changed("14.attrs.panel.html", "x"), "unknown field html"),
        (changed("14.attrs.panel.id", "x" * 16), "16 hexadecimal digits"),
        (changed("14.attrs.panel.cards", []), "one chart"),
        (changed("14.attrs.panel.cards.0.settings.x", "eval"), "m:METRIC"),
        (changed("14.attrs.panel.cards.0.settings.zoom", [2, 1]), "a range"),
        (changed("14.attrs.panel.cards.0.settings.yMin", float("nan")), "finite"),
        (changed("14.attrs.panel.cards.1.columns", []), "expected columns"),
        (changed("14.attrs.panel.cards.1.columns", ["evil"]), "card.columns"),
        (changed("14.attrs.panel.cards.1.kind", "compare"), "card.kind"),
        (changed("14.attrs.panel.runs.experiments", []), "ids of experiments"),
        (changed("14.attrs.panel.runs.experiments", ["1 OR 1=1"]), "ids of experiments"),
        (changed("15.attrs.panel.runs.ids", ["x"]), "ids of runs"),
        (changed("15.attrs.panel.columns", ["__class__"]), "columns"),
        (changed("16.attrs.panel.runs.filter", "params.lr >"), "runs.filter"),
        (changed("16.attrs.panel.runs.most", 10**6), "from 1 to 1,000"),
        (link("javascript:alert(1)"), "http://"),
        (link("javascript://x/%0aalert(1)"), "http://"),
        (link("data://text/html,x"), "http://"),
        (link("JaVaScript:alert(1)"), "http://"),
        (link("java\nscript:alert(1)"), "control characters"),
        (link("data:text/html,<script>1</script>"), "http://"),
        (link("//evil.example"), "http://"),
        (link("https:evil"), "http://"),
        (link("https:\\\\evil.example"), "control characters"),
        (link("/weir/e/1"), "http://"),
        (link("https://[x"), "address"),
    ],
)
def test_what_is_not_listed_is_refused_with_its_place(given: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        report_document.check(given)


def test_reports_have_limits() -> None:
    deep: dict[str, Any] = paragraph("deep")
    for _ in range(report_document.MAX_DEPTH):
        deep = {"type": "blockquote", "content": [deep]}
    chart = panel("1", cards=[{"keys": ["loss"]}])
    long = "x" * 10_000
    in_line = {"type": "math", "attrs": {"tex": f"{long}y"}}
    report_document.check(document({"type": "mathBlock", "attrs": {"tex": long}}))
    for given, why in (
        (document(deep), "deeper than"),
        (document(*([{"type": "contents"}] * report_document.MAX_NODES)), "nodes"),
        (document(*([chart] * (report_document.MAX_PANELS + 1))), "nodes panel"),
        (document(*([paragraph(long)] * 110)), "bytes"),
        (document({"type": "mathBlock", "attrs": {"tex": f"{long}y"}}), r"tex.*10,000"),
        (document({"type": "paragraph", "content": [in_line]}), r"tex.*10,000"),
    ):
        with pytest.raises(ConfigError, match=why):
            report_document.check(given)
