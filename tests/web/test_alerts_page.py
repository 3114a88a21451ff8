"""The page of alerts: rules, targets and what was sent, changed where they are listed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient

from agents import wait_until
from alert_sinks import HttpSink
from browser import PHONE, Site, axe_violations
from senders import Sender, create_run, new_id, operation

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

HOSTILE = "<img src=x onerror='window.wasRun=1'> \u202e " + "long" * 40


def test_alerts_are_set_up_and_followed_on_their_page(
    site: Site,
    open_page: Callable[..., Any],
    allow_errors: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow_errors("400")  # of the address that is refused
    monkeypatch.setenv("WEIR_CLIENT", "off")
    run_id = new_id()
    experiment_id = MlflowClient(site.server.address).create_experiment(f"alerts {run_id}")
    Sender(site.server).send(create_run(run_id, experiment_id))
    sink = HttpSink()
    page = open_page(color_scheme="light")
    page.goto(site.pages(f"/e/{experiment_id}"))
    page.get_by_role("link", name="Alerts", exact=True).click()
    page.get_by_text("There is no rule for this experiment.").wait_for()
    page.get_by_role("button", name="No login").wait_for()  # who sees it, where its name is
    assert axe_violations(page) == []
    # A target that the server must not reach is refused, in words; one that it may is tried.
    page.get_by_role("tab", name="Targets").click()
    page.get_by_text("there is no target").wait_for()
    form = page.get_by_role("form", name="Add a target")
    form.get_by_label("Name").fill(HOSTILE[:100])
    form.get_by_label("Address").fill("https://169.254.169.254/latest")
    form.get_by_role("button", name="Add the target").click()
    form.get_by_text("No target was added").wait_for()
    form.get_by_label("Address").fill(f"{sink.address}/hook?token=hush")
    form.get_by_role("button", name="Add the target").click()
    told = page.get_by_role("dialog", name="A webhook")
    key = told.get_by_label("Its signing key, shown this once").input_value()
    assert key.startswith("whsec_")
    told.get_by_role("button", name="Done").click()
    row = page.get_by_role("row").filter(has_text="onerror")
    row.get_by_role("button", name="Send a test to").click()
    row.get_by_text("Sent: answered 200").wait_for()
    (tried,) = sink.wait("/hook?token=hush")
    assert "webhook-signature" in tried.headers
    # One of before Weir signed is said to be so, and gets a key; later another, in two steps.
    with sqlite3.connect(site.server.folder / "mlflow.db", timeout=60) as connection:
        forget = "UPDATE weir_alert_target SET document = json_remove(document, '$.key')"
        connection.execute(forget)
    connection.close()
    page.reload()
    row.get_by_text("Not signed").wait_for()
    row.get_by_role("button", name="Sign", exact=True).click()
    told = page.get_by_role("dialog")
    told.get_by_label("Its signing key, shown this once").wait_for()
    told.get_by_role("button", name="Done").click()
    row.get_by_text("Not signed").wait_for(state="detached")
    row.get_by_role("button", name="New key…").click()
    row.get_by_role("button", name="End the key of").click()
    key = told.get_by_label("Its signing key, shown this once").input_value()
    assert key.startswith("whsec_")
    told.get_by_role("button", name="Done").click()
    # A rule that sends there, and one for a metric.
    page.get_by_role("tab", name="Rules").click()
    form = page.get_by_role("form", name="Add a rule")
    form.get_by_label("When").select_option("alert")
    form.get_by_role("checkbox").check()
    form.get_by_role("button", name="Add the rule").click()
    page.get_by_text("alerts of the training, from info on").wait_for()
    form.get_by_label("When").select_option("metric")
    assert form.get_by_role("button", name="Add the rule").is_disabled()
    form.get_by_label("Metric", exact=True).fill("val/loss")
    form.get_by_label("Value", exact=True).fill("1e3")
    form.get_by_role("button", name="Add the rule").click()
    row = page.get_by_role("row").filter(has_text="val/loss > 1000")
    row.get_by_role("button", name="Pause").click()
    row.get_by_text("Paused").wait_for()
    row.get_by_role("button", name="Delete").click()
    row.wait_for(state="detached")
    # What a training raises is there, and what became of it.
    alert = {"at_ms": 5, "level": "error", "title": HOSTILE, "text": f"{HOSTILE}\n" * 3}
    Sender(site.server).send(operation("alert", run_id=run_id, alert_id=new_id(), **alert))
    sink.wait("/hook?token=hush", 2)
    phone = open_page(color_scheme="dark", viewport=PHONE)
    for tab, text in (("sent", "answered 200"), ("raised", "onerror"), ("targets", "Webhook")):
        phone.goto(site.pages(f"/alerts?e={experiment_id}&tab={tab}"))

        def shows(text: str = text) -> bool:
            phone.reload()
            phone.get_by_role("tabpanel").locator("table, .w-state").first.wait_for()
            return bool(phone.get_by_text(text).count())

        wait_until(shows, text, 120.0)  # the sink has it before the log says so
        assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab
        assert axe_violations(phone) == []
        text_of_all = phone.locator("body").inner_text()
        for secret in ("hush", key):
            assert secret not in text_of_all, tab
    assert phone.evaluate("window.wasRun === undefined")
    # Taken away in two steps: others that share the server have no target of ours.
    row = phone.get_by_role("row").filter(has_text="onerror")
    row.get_by_role("button", name="Delete…").click()
    row.get_by_role("button", name="Delete <img").click()
    phone.get_by_text("there is no target").wait_for()
    phone.goto(site.pages(f"/alerts?e={experiment_id}"))
    row = phone.get_by_role("row").filter(has_text="alerts of the training")
    row.get_by_text("(deleted)").wait_for()
    row.get_by_role("button", name="Delete").click()
    row.wait_for(state="detached")
    sink.close()
