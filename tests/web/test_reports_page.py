"""Reports: written, saved, published, read, said something of, and taken away as files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from agents import wait_until
from browser import PHONE, Site, axe_violations
from mlflow_weir import reports
from mlflow_weir.errors import WeirError
from reports import ask, document, panel, paragraph, png, write_report
from run_data import XSS
from senders import Answer, call, new_id
from sharing import make_link, manage
from workspace_data import FIRST_START_MS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]


def draft_of(site: Site, report_id: str) -> dict[str, Any]:
    answer = ask(site.server, "/read", {"id": report_id, "draft": True})
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body
    return found


def ask_runs(site: Site, experiment_id: str, at_ms: int, most: int = 5) -> list[tuple[Any, ...]]:
    """Return the newest runs as of a moment, as members get them."""
    body = {
        "experiments": [experiment_id],
        "filter": f"start_time <= {at_ms}",
        "columns": ["metrics.train/loss:latest"],
        "limit": most,
        "at": at_ms,
    }
    answer = call(site.server, "POST", "/ajax-api/3.0/weir/runs", body)
    assert answer.status == 200, answer
    rows = answer.body["rows"]
    assert len(rows) > 0
    return [(row["id"], row["status"], row["cells"]) for row in rows]


def types_of(node: dict[str, Any]) -> list[str]:
    """Return the types of a node and all below it, with those of its marks."""
    own = [node["type"], *(mark["type"] for mark in node.get("marks", ()))]
    return own + [one for child in node.get("content", ()) for one in types_of(child)]


def nodes_of(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a node and all below it."""
    return [node, *(one for child in node.get("content", ()) for one in nodes_of(child))]


PASTE = """(field, html) => {
    const data = new DataTransfer()
    data.setData("text/html", html)
    data.setData("text/plain", "the plain text")
    const how = { clipboardData: data, bubbles: true, cancelable: true }
    field.dispatchEvent(new ClipboardEvent("paste", how))
}"""
PASTED = """<p style="position: fixed">kept words <b onclick="window.wasRun = 1">and bold</b>
<img src="x" onerror="window.wasRun = 1"><img src="https://tracker.example/a.gif"></p>
<script>window.wasRun = 1</script><style>* { display: none }</style>
<iframe srcdoc="<script>parent.wasRun = 1</script>"></iframe><object data="x"></object>
<svg onload="window.wasRun = 1"><text>drawn</text></svg><video src="x" autoplay></video>
<form action="https://evil.example"><input name="a"><button>send</button></form>
<p><a href="javascript:window.wasRun = 1">kept, led astray</a>
<a href="https://example.com/fine">kept, led on</a></p>"""
KNOWN = [
    {"type": name}
    for name in ("heading", "paragraph", "codeBlock", "mathBlock", "image", "text", "hardBreak")
]


def saved(page: Any) -> None:
    page.get_by_role("status").filter(has_text=re.compile(r"^Saved \d\d:\d\d$")).wait_for()


def insert(page: Any, name: str) -> None:
    """Choose from what `/` offers on an empty line."""
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="What to insert")
    field.wait_for()
    field.fill(name)
    field.press("Enter")


def test_a_report_is_written_published_read_and_taken_away(
    site: Site,
    page: Any,
    tmp_path: Path,
    open_page: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    bare = MlflowClient(site.server.address).create_experiment(f"no report {new_id()}")
    page.goto(site.pages(f"/reports?e={bare}"))
    page.get_by_text("A report is a page of text").wait_for()
    assert axe_violations(page) == []
    page.goto(site.pages(f"/reports?e={site.sweep.experiment_id}"))
    page.get_by_role("button", name="New report").first.click()
    dialog = page.get_by_role("dialog", name="New report")
    dialog.get_by_role("textbox", name="Title").fill("LR sweep <b>12</b>")
    dialog.get_by_role("button", name="Begin").click()
    text = page.get_by_role("textbox", name="The report")
    text.wait_for()
    report_id = page.url.partition("/reports/")[2].partition("/")[0]
    text.click()
    page.keyboard.type("# Results\n")
    page.keyboard.type("The loss $x^2$ is **low** `here`\n")
    page.keyboard.type("- one\ntwo\n\n")
    insert(page, "Call-out")
    page.keyboard.type("mind the seed")
    page.keyboard.press("ArrowDown")
    page.locator("input[type=file]").set_input_files(
        [{"name": "grey.png", "mimeType": "image/png", "buffer": png(64, 64)}]
    )
    page.locator(".w-edited-picture img").wait_for()
    page.get_by_role("textbox", name="Caption").fill("A grey one")
    page.get_by_role("button", name="Insert", exact=True).click()
    page.get_by_role("menuitem", name="Charts and runs").click()
    form = page.get_by_role("dialog", name="Charts and runs")
    form.get_by_role("textbox", name="Filter").fill("params.optimizer = 'adam'")
    form.get_by_role("checkbox", name="train/loss", exact=True).check()
    # Of all 60, before the filter was asked about.
    matching = form.get_by_text(re.compile(r"^(?!60 )\d+ runs match$"))
    matching.wait_for()
    wanted = int(matching.inner_text().split()[0])
    assert wanted > 0
    form.get_by_role("button", name="Insert", exact=True).click()
    page.wait_for_function(
        "n => document.querySelector('.w-edited-panel [data-painted]')?.dataset.painted == n",
        arg=str(min(20, wanted)),
    )
    saved(page)
    draft = draft_of(site, report_id)
    found = types_of(draft["document"])
    for one in ("heading", "math", "bold", "code", "bulletList", "callout", "image", "panel"):
        assert one in found, found
    assert draft["report"]["revision"] == 0
    page.get_by_role("button", name="Publish").click()
    # What readers see is what was written, and text is text.
    body = page.locator(".w-report-body")
    body.get_by_role("heading", name="Results").wait_for()
    assert page.locator(".w-report-title").inner_text() == "LR sweep <b>12</b>"
    body.locator("math msup").wait_for()
    page.wait_for_function(
        "n => document.querySelector('.w-report [data-painted]')?.dataset.painted == n",
        arg=str(min(20, wanted)),
    )
    comments = page.get_by_role("region", name="Comments")
    comments.get_by_role("textbox", name="Comment").fill("Why not <i>AdamW</i>?")
    comments.get_by_role("button", name="Comment", exact=True).click()
    comments.get_by_text("Why not <i>AdamW</i>?").wait_for()
    assert axe_violations(page) == []
    comments.get_by_role("button", name="Settled").click()
    comments.get_by_text("Why not <i>AdamW</i>?").wait_for(state="hidden")
    # Of one panel: begun in its head, counted there until it is settled, and led back to.
    chart = page.locator(".w-panel").first
    name = chart.get_attribute("aria-label")
    chart.get_by_role("button", name=f"Comment on {name}", exact=True).click()
    page.wait_for_function(
        "() => document.activeElement?.getAttribute('aria-label') === 'Comment'"
    )
    page.keyboard.type("This one rises.")
    comments.get_by_role("button", name="Comment", exact=True).click()
    chart.get_by_text("1 comment").wait_for()
    page.reload()
    chart.get_by_text("1 comment").wait_for()
    comments.get_by_role("button", name=f"▦ {name}").click()
    assert axe_violations(page) == []
    comments.get_by_role("button", name="Settled").click()
    chart.get_by_role("button", name=f"Comment on {name}", exact=True).wait_for()
    page.locator(".w-report [data-painted]").first.wait_for()
    # On paper there is the report, who wrote it and when it was printed, and nothing to press.
    page.emulate_media(media="print")
    paper = page.locator(".w-for-paper")
    paper.wait_for()
    assert re.search(r"version 1 · as of \d{4}-\d\d-\d\d", paper.inner_text())
    for shown in (".w-report-title", ".w-report h2", ".w-report math", ".w-card canvas"):
        assert page.locator(shown).first.is_visible(), shown
    for absent in (".w-head", ".w-report-side", ".w-side", ".w-comments", ".w-off-paper"):
        assert not any(one.is_visible() for one in page.locator(absent).all()), absent
    assert not any(one.is_visible() for one in page.locator("main button").all())
    # A4 with its margins is 686 px wide.
    assert page.locator(".w-report").bounding_box()["width"] <= 686
    assert page.pdf(format="A4").startswith(b"%PDF-")
    page.emulate_media(media="screen")

    def exported(name: str) -> str:
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as started:
            page.get_by_role("menuitem", name=name).click()
        path = tmp_path / name
        started.value.save_as(path)
        return path.read_text(encoding="utf-8")

    markdown = exported("Markdown")
    assert "# LR sweep \\<b\\>12\\</b\\>\n" in markdown
    for one in (
        "## Results",
        "$x^2$",
        "**low**",
        "`here`",
        "- one\n- two",
        "> **Note**",
        "```weir\n",
    ):
        assert one in markdown, markdown[:3_000]
    assert "]: data:image/svg+xml;base64," in markdown
    assert "]: data:image/png;base64," in markdown
    # Nothing of the page's buttons, and nothing that is true only while one looks.
    about = r"version 1 · as of \d{4}-\d\d-\d\d \d\d:\d\d"
    for words in (r"\d+ runs · as of \d{4}-\d\d-\d\d \d\d:\d\d\*", about):
        assert re.search(words, markdown), markdown[:3_000]
    assert not re.search(r"Comment|· live| ago", markdown)
    question = re.search(r"```weir\n(.*)\n```", markdown)
    assert question is not None
    assert json.loads(question[1])["runs"]["filter"] == "params.optimizer = 'adam'"
    html = exported("HTML file")
    assert "<script" not in html
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    alone = open_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto((tmp_path / "report.html").as_uri())
    assert alone.title() == "LR sweep <b>12</b>"
    assert alone.locator("math msup").count() == 1
    pictures = "[...document.images].map(one => one.naturalWidth)"
    assert all(alone.evaluate(pictures))
    assert alone.locator("img").count() == 2
    head = alone.locator(".w-report-head").inner_text()
    assert re.search(about, head)
    assert not re.search(r"Comment|· live| ago", alone.locator("body").inner_text())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    # An older version is looked at, and made the draft again.
    page.get_by_role("button", name="Edit").click()
    field = page.get_by_role("textbox", name="Title")
    field.fill("Another title")
    saved(page)
    page.get_by_role("button", name="More of this report").click()
    page.get_by_role("menuitem", name="Versions").click()
    page.get_by_role("button", name="Make version 1 the draft").click()
    page.wait_for_function(
        "() => document.querySelector('.w-report-title-field')?.value === 'LR sweep <b>12</b>'"
    )
    assert draft_of(site, report_id)["title"] == "LR sweep <b>12</b>"
    # What is said of a panel stays with it when it is renamed and has a copy of the same name.
    (kept,) = [one for one in nodes_of(draft_of(site, report_id)["document"]) if is_panel(one)]
    kept_id = kept["attrs"]["panel"]["id"]
    page.get_by_role("button", name="Change the panel").click()
    form = page.get_by_role("dialog", name="Change the panel")
    form.get_by_role("textbox", name="Title").fill("Adam alone")
    form.get_by_role("button", name="Change", exact=True).click()
    page.locator(".w-panel-title", has_text="Adam alone").click()
    page.keyboard.press("Control+c")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Control+v")
    page.locator(".w-edited-panel").nth(1).wait_for()

    def both() -> list[str]:
        found = [one for one in nodes_of(draft_of(site, report_id)["document"]) if is_panel(one)]
        ids = [one["attrs"]["panel"]["id"] for one in found]
        return ids if len(ids) == 2 else []

    ids = wait_until(both, "both panels are saved", 120.0)
    assert ids[0] == kept_id != ids[1]
    said = {"id": report_id, "action": "add", "quote": "▦ Charts"}
    for text, of in (
        ("of the first", {"panel": kept_id}),
        ("of before", {"quote": "▦ Adam alone"}),
    ):
        assert ask(site.server, "/comments", {**said, "text": text, **of}).status == 200
    page.get_by_role("button", name="Publish").click()
    named = page.get_by_role("group", name="Adam alone")
    named.nth(0).get_by_text("2 comments").wait_for()
    page.get_by_role("button", name="Comment on Adam alone (2)", exact=True).wait_for()
    comments.get_by_role("button", name="▦ Adam alone").nth(1).wait_for()


def is_panel(node: dict[str, Any]) -> bool:
    return bool(node["type"] == "panel")


def test_what_cannot_be_saved_is_kept_and_two_writers_hear_of_each_other(
    site: Site, page: Any, allow_errors: Callable[[str], None]
) -> None:
    allow_errors("ERR_INTERNET_DISCONNECTED")
    allow_errors("409")
    report_id, _ = write_report(
        site.server, site.rich.experiment_id, "Ours", paragraph("first"), is_published=False
    )
    page.goto(site.pages(f"/reports/{report_id}/edit"))
    text = page.get_by_role("textbox", name="The report")
    text.wait_for()
    page.context.set_offline(True)
    text.click()
    page.keyboard.press("End")
    page.keyboard.type(" and mine")
    page.get_by_text("kept in this browser").wait_for()
    kept = page.evaluate("id => localStorage.getItem(`weir.report.${id}`)", report_id)
    assert "first and mine" in kept
    page.context.set_offline(False)
    page.get_by_role("button", name="Retry").click()
    saved(page)
    assert draft_of(site, report_id)["document"]["content"][0] == paragraph("first and mine")
    # Somebody else saves; what is written here is told of it before anything is lost.
    theirs = {"id": report_id, "action": "save", "title": "Theirs"}
    draft = draft_of(site, report_id)["report"]["draft"]
    body = {**theirs, "draft": draft, "document": document(paragraph("their words"))}
    assert ask(site.server, "/change", body).status == 200
    text.click()
    page.keyboard.press("End")
    page.keyboard.type("!")
    dialog = page.get_by_role("dialog", name="The draft has been changed elsewhere")
    dialog.wait_for()
    dialog.get_by_label("Mine", exact=True).get_by_text("first and mine!").wait_for()
    dialog.get_by_label("Theirs", exact=True).get_by_text("their words").wait_for()
    assert axe_violations(page, ".w-conflict") == []
    dialog.get_by_role("button", name="Keep both: mine as a new report").click()
    dialog.wait_for(state="hidden")
    page.get_by_text("their words").wait_for()
    listed = ask(site.server, "/list", {"experiment_id": site.rich.experiment_id}).body["reports"]
    mine = next(one for one in listed if one["title"] == "Ours (mine)")
    assert draft_of(site, mine["id"])["document"]["content"][0] == paragraph("first and mine!")
    assert draft_of(site, report_id)["document"]["content"][0] == paragraph("their words")


def test_a_chart_goes_into_a_report_and_hostile_words_stay_words(
    site: Site, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    allow_errors("404")  # a run that is not there, a picture that is not there
    # Of what is pasted, while it is read: the policy refuses it.
    allow_errors("Applying inline style")
    allow_errors("Executing inline event handler")
    name = XSS[:200]
    report_id, _ = write_report(
        site.server,
        site.sweep.experiment_id,
        name,
        {"type": "heading", "attrs": {"level": 1}, "content": [{"type": "text", "text": name}]},
        paragraph(XSS),
        {"type": "codeBlock", "content": [{"type": "text", "text": XSS}]},
        {"type": "mathBlock", "attrs": {"tex": "\\href{javascript:window.wasRun=1}{x}"}},
        {"type": "image", "attrs": {"image": "c" * 32, "alt": XSS, "caption": XSS}},
        panel("987654321", "runs", columns=["params.lr"]),
        panel(site.sweep.experiment_id, title=name, cards=[{"id": name, "keys": [name]}]),
    )
    page = open_page(color_scheme="dark", viewport=PHONE)
    page.goto(site.pages(f"/reports/{report_id}"))
    page.get_by_text("Not shared with you").wait_for()
    page.get_by_text("The picture could not be read").wait_for()
    assert axe_violations(page) == []
    assert page.evaluate("window.wasRun === undefined && window.__hostile === undefined")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wide = open_page(color_scheme="light")
    wide.goto(site.pages(f"/e/{site.sweep.experiment_id}"))
    card = wide.locator("[data-keys='train/loss']").first
    card.locator("canvas").first.wait_for()
    card.get_by_role("button", name="Menu of train/loss").click()
    wide.get_by_role("menuitem", name="Add to report…").click()
    dialog = wide.get_by_role("dialog", name="Add to report: train/loss")
    dialog.get_by_role("combobox", name="Report").select_option(report_id)
    dialog.get_by_role("button", name="Frozen as of now").click()
    dialog.get_by_role("button", name="Add", exact=True).click()
    wide.get_by_role("dialog", name="Added").get_by_role("link").click()
    wide.wait_for_url(re.compile(rf"/reports/{report_id}/edit"))
    wide.get_by_role("button", name="Frozen", exact=True).wait_for()
    added = draft_of(site, report_id)["document"]["content"][-1]["attrs"]["panel"]
    assert added["cards"][0]["keys"] == ["train/loss"]
    assert added["runs"]["at"] > 1_700_000_000_000
    # What is pasted becomes what a report may hold, or words, and nothing of it is fetched or run.
    asked: list[str] = []
    wide.on("request", lambda request: asked.append(request.url))
    wide.get_by_role("textbox", name="The report").evaluate(PASTE, PASTED)

    def with_pasted() -> dict[str, Any] | None:
        found: dict[str, Any] = draft_of(site, report_id)["document"]
        return found if "kept words" in json.dumps(found) else None

    pasted = wait_until(with_pasted, "the pasted words are saved", 120.0)
    known = {*types_of({"type": "doc", "content": KNOWN}), "bold", "link", "panel"}
    assert set(types_of(pasted)) <= known
    assert "bold" in types_of(pasted)
    marks = [mark for node in nodes_of(pasted) for mark in node.get("marks", ())]
    assert {mark["attrs"]["href"] for mark in marks if mark["type"] == "link"} == {
        "https://example.com/fine"
    }
    words = json.dumps([node for node in nodes_of(pasted) if "kept" in node.get("text", "")])
    for hidden in ("onclick", "style", "fixed", "tracker", "javascript"):
        assert hidden not in words
    assert [url for url in asked if "tracker.example" in url] == []
    assert wide.evaluate("window.wasRun === undefined && window.__hostile === undefined")


def test_a_link_shows_a_reports_words_and_what_is_ticked_of_its_panels(
    site: Site, open_page: Callable[..., Any], allow_errors: Callable[[str], None]
) -> None:
    experiment_id = site.sweep.experiment_id
    named = [run_id for run_id in site.sweep.run_ids[:3]]
    report_id, image_id = write_report(
        site.server,
        experiment_id,
        "Shared <i>results</i>",
        paragraph(XSS),
        panel(
            experiment_id,
            title="Ours",
            cards=[{"id": "c", "keys": ["train/loss", "val/loss"]}],
            runs={"ids": named},
        ),
        panel(experiment_id, "runs", columns=["params.lr", "params.optimizer"], runs={"most": 2}),
        # Two charts of one metric: a page has no two landmarks of the same name.
        panel(experiment_id, cards=[{"id": "c", "keys": ["train/loss"]}], runs={"ids": named[:1]}),
        picture=png(32, 32),
    )
    ask(site.server, "/comments", {"id": report_id, "action": "add", "text": "never shown"})
    ticked = {"metrics": ["train/loss", "train/acc"], "params": ["lr", "seed"], "console": True}
    link = make_link(
        site.server,
        "0",
        kind="report",
        title="Shared <i>results</i>",
        report_id=report_id,
        shown=ticked,
        is_live=True,
    )
    shared = link.ask("share", {}).body
    text = json.dumps(shared)
    # What was ticked of what its panels show, and no more; nor what says how they are found.
    assert shared["shown"]["metrics"] == ["train/loss"]
    assert (shared["shown"]["params"], shared["shown"]["console"]) == (["lr"], False)
    for hidden in ("val/loss", "params.optimizer", "never shown", report_id):
        assert hidden not in text
    first, second = shared["report"]["content"][1], shared["report"]["content"][2]
    assert first["attrs"]["panel"]["runs"]["experiments"] == ["1"]
    # Runs that are named stand in the order in which they are.
    assert first["attrs"]["panel"]["runs"]["ids"] == named
    assert second["attrs"]["panel"]["runs"]["ids"] is None
    assert second["attrs"]["panel"]["columns"] == ["params.lr"]
    # A panel's runs are found by its number, and no other run is there.
    rows = link.ask("runs", {"experiments": ["1"], "columns": []}).body["rows"]
    assert {row["id"] for row in rows} == set(named)
    assert len(link.ask("runs", {"experiments": ["2"], "columns": []}).body["rows"]) == 2
    assert link.ask("runs", {"experiments": ["4"], "columns": []}).status == 404
    others = set(site.sweep.run_ids) - {row["id"] for row in rows}
    assert link.ask("run", {"run_id": others.pop()}).status == 404
    keys = link.ask("keys", {"experiments": ["1"]}).body["keys"]
    assert [one["key"] for one in keys] == ["train/loss"]
    assert link.ask("reports/image", {"image": image_id}).status == 200
    assert link.ask("reports/image", {"image": "c" * 32}).status == 404
    for name in ("reports/list", "reports/read", "reports/change", "reports/comments"):
        assert link.ask(name, {"id": report_id, "draft": True}).status == 404, name
    page = open_page(color_scheme="light", viewport=PHONE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.server.address}{link.path}")
    page.wait_for_function(
        "() => document.querySelector('.w-panel [data-painted]')?.dataset.painted === '3'"
    )
    for chart in page.get_by_role("article", name="train/loss", exact=True).all():
        chart.scroll_into_view_if_needed()
    page.locator(".w-panel [data-painted='1']").wait_for()
    page.locator(".w-report-picture img").wait_for()
    assert page.get_by_role("heading", name="Shared <i>results</i>").count() == 1
    assert axe_violations(page) == []
    assert page.evaluate("window.wasRun === undefined && window.__hostile === undefined")
    assert page.context.cookies() == []
    assert page.get_by_role("button", name=re.compile("^Comment")).count() == 0
    own = (f"{site.server.address}{link.path}", f"{site.server.address}/weir/s/assets/", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []
    # Made in the dialog: the report's metrics are ticked, and the preview is the page itself.
    allow_errors("404")
    wide = open_page(color_scheme="light")
    wide.goto(site.pages(f"/reports/{report_id}"))
    wide.get_by_role("button", name="Share", exact=True).click()
    dialog = wide.get_by_role("dialog")
    dialog.get_by_role("list", name="Metrics").get_by_role(
        "checkbox", name="train/loss"
    ).wait_for()
    wide.wait_for_function(
        "() => document.querySelectorAll('.w-share-list input:checked').length === 2"
    )
    preview = dialog.frame_locator("iframe[title='Preview of the shared page']")
    preview.locator(".w-panel canvas").first.wait_for()
    # The link ends with the report.
    change = {"id": report_id, "action": "delete"}
    assert ask(site.server, "/change", change).status == 200
    assert link.ask("share", {}).status == 404


def test_a_link_says_nothing_of_code_that_it_does_not_show(
    site: Site, open_page: Callable[..., Any]
) -> None:
    experiment_id = site.rich.experiment_id
    both = {"ids": [site.rich.run_id, site.rich.other_id]}
    report_id, _ = write_report(
        site.server, experiment_id, "Code", panel(experiment_id, "code", runs=both)
    )
    terms: dict[str, Any] = {"kind": "report", "report_id": report_id, "is_live": True}
    link = make_link(site.server, "0", shown={"code": True}, **terms)
    page = open_page(color_scheme="light")
    page.goto(f"{site.server.address}{link.path}")
    compared = page.locator(".w-code")
    compared.get_by_role("heading", name="Packages").wait_for()
    compared.locator("strong").filter(has_text="slipper").wait_for()  # from the one named first
    # Neither that patches and commands are the same, nor that there are none.
    assert compared.get_by_role("heading").all_inner_texts() == ["Commit", "Packages"]
    assert not re.search("same|Neither", compared.inner_text())


def test_a_frozen_panel_makes_a_frozen_link(site: Site) -> None:
    experiment_id = site.sweep.experiment_id
    at_ms = FIRST_START_MS + 200_000
    late_ms, columns = FIRST_START_MS + 2_600_000, ["metrics.train/loss:latest"]
    report_id, _ = write_report(
        site.server,
        experiment_id,
        "Frozen",
        panel(
            experiment_id,
            cards=[{"id": "c", "keys": ["train/loss"]}],
            runs={"at": at_ms, "most": 5},
        ),
        panel(experiment_id, "runs", columns=columns, runs={"at": late_ms, "most": 50}),
        panel(experiment_id, "runs", columns=columns, runs={"most": 1_000}),
    )
    body: dict[str, Any] = {"kind": "report", "title": "t", "report_id": report_id}
    body["shown"] = {"metrics": ["*"]}
    refused = manage(site.server, "create", {**body, "is_live": True})
    assert (refused.status, "frozen" in refused.body["error"]) == (400, True)
    link = make_link(site.server, "0", **{**body, "is_live": False})
    # A run of several panels is in each as of that panel's moment, and found by what it had then.
    inside = ask_runs(site, experiment_id, at_ms)
    of_panels = {"1": inside, "2": ask_runs(site, experiment_id, late_ms, 50)}
    last_ms = link.ask("share", {}).body["as_of_ms"]
    of_panels["3"] = ask_runs(site, experiment_id, last_ms, 1_000)
    moments = {"1": at_ms, "2": late_ms, "3": last_ms}
    shown: dict[str, dict[str, Any]] = {}
    for number, rows in of_panels.items():
        asked = {"experiments": [number], "columns": columns, "at": moments[number]}
        found = link.ask("runs", {**asked, "limit": 1_000}).body["rows"]
        assert [(row["id"], row["status"], row["cells"]) for row in found] == rows
        shown[number] = {run_id: (status, cells) for run_id, status, cells in rows}
        running = link.ask("runs", {**asked, "filter": "status = 'RUNNING'"}).body["matching"]
        assert running == sum(status == "RUNNING" for _, status, _ in rows)
    changed = [one for one in shown["1"] if shown["1"][one] != shown["2"][one]]
    assert changed
    assert any(shown["2"][one] != shown["3"][one] for one in shown["2"])
    draft = draft_of(site, report_id)
    assert draft["document"]["content"][0]["attrs"]["panel"]["runs"]["at"] == at_ms
    # Side by side it is the same moment, by the points that MLflow's client gives.
    client, run_ids = MlflowClient(site.server.address), [run_id for run_id, _, _ in inside]
    asked = {"run_ids": run_ids, "at": at_ms}
    members = {**asked, "experiments": [experiment_id]}
    beside = call(site.server, "POST", "/ajax-api/3.0/weir/runs/compare", members).body["runs"]
    n_cut = 0
    for answer in (beside, link.ask("runs/compare", {**asked, "experiments": ["1"]}).body["runs"]):
        assert [(one["id"], one["status"]) for one in answer] == [one[:2] for one in inside]
        for one in answer:
            points = client.get_metric_history(one["id"], "train/loss")
            then = [p.value for p in points if one["end"] is not None or p.timestamp <= at_ms]
            n_cut += len(points) > len(then)
            kept = [found for found in one["metrics"] if found["key"] == "train/loss"]
            assert [(found["min"], found["max"]) for found in kept] == (
                [(min(then), max(then))] if then else []
            )
            assert [found["latest"] for found in kept] == then[-1:]
    assert n_cut > 0


def test_a_frozen_panel_has_the_pictures_of_its_moment(site: Site) -> None:
    client = MlflowClient(site.server.address)
    experiment_id = client.create_experiment(f"pictures {new_id()}")
    run_id = client.create_run(experiment_id).info.run_id

    def log(step: int) -> None:
        client.log_image(run_id, np.zeros((2, 2, 3), np.uint8), key="samples", step=step)

    def steps_of(answer: Answer) -> list[tuple[int, int]]:
        (series,) = answer.body["series"]
        return [(one["step"], one["at_ms"]) for one in series["items"]]

    def inside() -> list[tuple[int, int]]:
        route = "/ajax-api/3.0/weir/media"
        answer = call(site.server, "POST", route, {"run_id": run_id})
        return steps_of(answer) if answer.body.get("series") else []  # or not delivered yet

    log(1)
    ((_, at_ms),) = wait_until(inside, "the first picture is there", 120.0)
    wait_until(lambda: time.time() * 1_000 > at_ms + 1, "the clock goes on")
    log(2)
    wait_until(lambda: [step for step, _ in inside()] == [1, 2], "the second is there", 120.0)
    for runs, steps in (({"at": at_ms}, [1]), ({}, [1, 2])):
        report_id, _ = write_report(
            site.server, experiment_id, "Pictures", panel(experiment_id, "media", runs=runs)
        )
        terms: dict[str, Any] = {
            "kind": "report",
            "title": "t",
            "report_id": report_id,
            "is_live": False,
        }
        link = make_link(site.server, "0", **terms, shown={"media": True})
        if not runs:
            log(3)  # later than the link is no moment of any panel
        assert [step for step, _ in steps_of(link.ask("media", {"run_id": run_id}))] == steps


def test_a_report_is_written_from_python(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    report = reports.Report("From Python", [site.sweep.name], uri=site.server.address)
    report.heading("Results", 2).contents().line()
    report.text("Loss by ", reports.math("x"), " is ", reports.bold(reports.italic("low")), ".")
    report.text(reports.link("there", "https://example.com/"), " ", reports.code("x = 1"))
    report.bullets("one", "two").numbers("three", start=3).todo(("done", True), ("open", False))
    report.callout("mind", kind="warning").quote("said").code("x", "python").math("y^2")
    report.table([["rate", "loss"], [3e-3, 0.31]]).image(tmp_path / "a.png", caption="c")
    report.charts("train/loss", "val/loss", together=True, log_y=True, smoothing=0.6, most=5)
    report.runs("params.lr", filter="params.optimizer = 'adam'", order="-metrics.train/loss:min")
    report.compare("params", frozen=True).media("samples").code_of(site.sweep.run_ids[0])
    address = report.publish()
    assert address == site.pages(f"/reports/{report.report_id}")
    found = draft_of(site, report.report_id)
    assert (found["report"]["revision"], found["report"]["is_changed"]) == (1, False)
    types = types_of(found["document"])
    for one in ("heading", "math", "link", "taskItem", "tableHeader", "image", "codeBlock"):
        assert one in types
    panels = [
        node["attrs"]["panel"] for node in found["document"]["content"] if node["type"] == "panel"
    ]
    assert [one["kind"] for one in panels] == ["charts", "runs", "compare", "media", "code"]
    assert panels[0]["cards"][0]["keys"] == ["train/loss", "val/loss"]
    assert panels[0]["runs"]["experiments"] == [site.sweep.experiment_id]
    assert panels[2]["runs"]["at"] > FIRST_START_MS
    # What the server does not take it says with its place, and nobody's work is overwritten.
    other = reports.Report("Bad", [site.sweep.experiment_id], uri=site.server.address)
    with pytest.raises(WeirError, match=r"content\[0\].*http"):
        other.text(reports.link("x", "javascript:alert(1)")).save()
    body = {"id": report.report_id, "action": "append", "content": [paragraph("theirs")]}
    assert ask(site.server, "/change", body).status == 200
    with pytest.raises(WeirError, match="changed since"):
        report.text("more").save()
    for named, where in (("no such experiment", site.server.address), ("1", "weir:")):
        lost = reports.Report("t", [named], uri=where)
        with pytest.raises(WeirError):
            lost.save()
    with pytest.raises(TypeError, match="unexpected"):
        report.charts("loss", rums=3)
