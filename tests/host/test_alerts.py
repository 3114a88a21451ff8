"""Alerts from a training, or from a rule, to real sinks of HTTP and mail, by a started server."""

from __future__ import annotations

import base64
import hmac
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from agents import wait_until
from alert_sinks import HttpSink, MailSink, ask, make_rule, make_target, sinks
from databases import DatabaseServer
from mlflow_server import ServerProcess
from mlflow_weir.plugin.cli import main
from senders import Sender, create_run, new_id, operation, points
from trainings import Moving, Place, Training, begin, with_weir

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

PASSWORD = "right"
DEADLINE_S = 120.0


class Scene(NamedTuple):
    """A server that sends, and what it sends to."""

    moving: Moving
    http: HttpSink
    mail: MailSink
    database: str

    @property
    def server(self) -> ServerProcess:
        server = self.moving._server
        assert server is not None
        return server

    def experiment(self, sender: Sender) -> str:
        """Have a new experiment made."""
        made = operation("create_experiment", experiment_id="e", name=new_id(), at_ms=1, tags=[])
        return str(sender.send(made)["aliases"]["e"])

    def deliveries(self, experiment_id: str) -> list[dict[str, Any]]:
        """Return the log of an experiment's deliveries, the oldest first."""
        answer = ask(self.server, "/log", {"experiment_id": experiment_id})
        assert answer.status == 200, answer
        return list(reversed(answer.body["deliveries"]))

    def execute(self, statement: str, *values: Any) -> list[Any]:
        """Do something in the database."""
        connection = sqlite3.connect(self.database.removeprefix("sqlite:///"), timeout=60)
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> Iterator[Scene]:
    folder, database = tmp_path_factory.mktemp("alerts"), sqlite_folder.new_mlflow_database()
    with sinks(folder) as (http_sink, mail_sink):
        moving = Moving(folder, with_weir(database))
        variables = (
            ("WEIR_ALERT_HOSTS", "127.0.0.1"),
            ("WEIR_SMTP", mail_sink.place),
            ("WEIR_SMTP_FROM", "Weir <weir@example.com>"),
            ("WEIR_SMTP_USER", "weir"),
            ("WEIR_SMTP_PASSWORD", PASSWORD),
            ("SSL_CERT_FILE", str(mail_sink.certificate)),
        )
        moving.spec = replace(moving.spec, variables=(*moving.spec.variables, *variables))
        moving.start()
        yield Scene(moving, http_sink, mail_sink, database)
        moving.close()


@pytest.fixture
def training(tmp_path: Path, scene: Scene) -> Iterator[Training]:
    yield from begin(tmp_path, scene.moving.place)


def raised(run_id: str, title: str, level: str = "info", text: str = "") -> bytes:
    return operation(
        "alert", run_id=run_id, alert_id=new_id(), at_ms=5, level=level, title=title, text=text
    )


def test_what_a_training_raises_gets_to_its_targets_once(scene: Scene, training: Training) -> None:
    hook = make_target(scene.server, "hook", f"{scene.http.address}/hook")
    chat = make_target(scene.server, "chat", f"{scene.http.address}/chat", "slack")
    answer = ask(scene.server, "/rules/change", {"action": "add", "kind": "alert", "targets": []})
    everywhere = answer.body["rule"]["id"]
    sender = Sender(scene.server)
    experiment_id = scene.experiment(sender)
    make_rule(scene.server, experiment_id, "alert", hook)
    make_rule(scene.server, experiment_id, "alert", hook, chat, level="error")
    out = training.run(
        """
import threading, mlflow_weir
print(mlflow_weir.alert("no run yet"))
mlflow.set_experiment(experiment_id=sys.argv[1])
with mlflow.start_run(run_name="<b>one</b>") as run:
    print(mlflow_weir.alert("loss is high", "3.2 & <more>", "warning"))
    print(mlflow_weir.alert("loss is high"), mlflow_weir.alert("loss is high", wait_s=0))
    print(mlflow_weir.alert("@channel it *burns*", level="error"))
    said = []
    thread = threading.Thread(target=lambda: said.append(mlflow_weir.alert("of a thread")))
    thread.start(); thread.join()
    print(said, mlflow_weir.alert(None, object(), "fatal", wait_s=0))
print(run.info.run_id)
""",
        experiment_id,
    )
    *said, run_id = out.splitlines()
    assert said[:5] == ["False", "True", "False True", "True", "[True] True"]
    training.settle()
    expected = ["loss is high", "loss is high", "@channel it *burns*", "of a thread", "None"]
    found = scene.http.wait("/hook", len(expected))
    assert sorted(one.body["alert"]["title"] for one in found) == sorted(expected)
    (first,) = (one for one in found if "3.2" in one.body["alert"]["text"])
    assert first.body["alert"]["text"] == "3.2 & <more>"
    assert first.body["run"]["name"] == "<b>one</b>"
    assert first.body["run"]["url"] == f"{scene.server.address}/weir/r/{run_id}"
    assert first.headers["x-weir-delivery"] == first.body["id"]
    (odd,) = (one.body["alert"] for one in found if one.body["alert"]["title"] == "None")
    assert odd["level"] == "warning"  # "fatal" is no level
    (burns,) = scene.http.wait("/chat")
    assert "webhook-signature" not in burns.headers  # chat services check none
    assert "<!" not in burns.body["text"]
    assert "@channel" not in burns.body["text"]
    assert "&lt;b&gt;one&lt;/b&gt;" in burns.body["text"]
    log = scene.deliveries(experiment_id)
    assert {one["state"] for one in log} == {"sent"}
    assert len(log) == len(expected) + 1
    shown = ask(scene.server, "", {"run_id": run_id}).body["alerts"]
    assert sorted(one["title"] for one in shown) == sorted(expected)
    assert ask(scene.server, "", {"experiment_id": experiment_id}).body["alerts"] == shown
    ask(scene.server, "/rules/change", {"action": "delete", "id": everywhere})


def test_a_journal_that_is_delivered_again_raises_nothing_again(scene: Scene) -> None:
    sender, run_id = Sender(scene.server), new_id()
    experiment_id = scene.experiment(sender)
    target = make_target(scene.server, "again", f"{scene.http.address}/again")
    make_rule(scene.server, experiment_id, "alert", target)
    start = sender.position
    records = [create_run(run_id, "e"), raised(run_id, "once")]
    sender.send(*records)
    again = sender.post(*sender.request(records, start))
    assert (again.status, again.body["was_applied"]) == (200, True)
    # By another journal too, such as a copy's; and no other run's.
    copy = Sender(scene.server)
    assert copy.rejections(create_run(run_id), records[1]) == [f"run {run_id} exists already"]
    other = create_run(new_id())
    stolen = operation(
        "alert", **{**dict.fromkeys(("text",), ""), "run_id": run_id, "alert_id": "x"},
        at_ms=1, level="info", title="t",
    )  # fmt: skip
    assert "not 32 hexadecimal" in copy.rejections(other, stolen)[0]
    copy.send(raised(run_id, "last"))
    titles = [one.body["alert"]["title"] for one in scene.http.wait("/again", 2)]
    assert titles == ["once", "last"]


def test_what_was_claimed_by_a_server_that_was_killed_is_sent_again(scene: Scene) -> None:
    sender, run_id = Sender(scene.server), new_id()
    experiment_id = scene.experiment(sender)
    target = make_target(scene.server, "killed", f"{scene.http.address}/killed")
    make_rule(scene.server, experiment_id, "alert", target)
    scene.http.holds.set()
    sender.send(create_run(run_id, "e"), raised(run_id, "held"))
    (first,) = scene.http.wait("/killed")
    os.killpg(scene.server.group, signal.SIGKILL)
    scene.http.holds.clear()
    ((state, n_tries, due_ms, tried_ms),) = scene.execute(
        "SELECT state, n_tries, due_ms, tried_ms FROM weir_alert_delivery WHERE target_id = ?",
        target,
    )
    assert (state, n_tries, due_ms - tried_ms) == ("sending", 1, 30_000)
    # As if its term were over.
    scene.execute("UPDATE weir_alert_delivery SET due_ms = 0 WHERE target_id = ?", target)
    scene.moving._stack.close()
    scene.moving.start()
    _, second = scene.http.wait("/killed", 2)
    # Signed anew, the same otherwise.
    assert second.raw == first.raw
    for name in ("x-weir-delivery", "webhook-id"):
        assert second.headers[name] == first.headers[name]
    wait_until(
        lambda: [one["state"] for one in scene.deliveries(experiment_id)] == ["sent"],
        "it is settled",
        DEADLINE_S,
    )
    assert scene.deliveries(experiment_id)[0]["n_tries"] == 2
    assert len(scene.http.at("/killed")) == 2


def test_what_a_target_does_not_take_is_tried_again_or_given_up(scene: Scene) -> None:
    sender, run_id = Sender(scene.server), new_id()
    experiment_id = scene.experiment(sender)
    ways = {
        "/once/503": ("sent", 2, "answered 200"),
        "/404": ("failed", 1, "answered 404"),
        "/302": ("failed", 1, "redirects (302), which is not followed"),
    }
    ids = [make_target(scene.server, path, f"{scene.http.address}{path}") for path in ways]
    make_rule(scene.server, experiment_id, "alert", *ids)
    sender.send(create_run(run_id, "e"), raised(run_id, "t"))

    def log() -> dict[str, tuple[str, int, str]]:
        found = scene.deliveries(experiment_id)
        return {one["target"]: (one["state"], one["n_tries"], one["told"]) for one in found}

    wait_until(lambda: log() == ways, "all are settled", DEADLINE_S)
    assert scene.http.at("/redirected") == []
    again = scene.http.at("/once/503")
    assert again[0].headers["x-weir-delivery"] == again[1].headers["x-weir-delivery"]


def test_a_target_gets_thirty_a_minute_and_the_rest_waits(scene: Scene) -> None:
    sender, run_id = Sender(scene.server), new_id()
    experiment_id = scene.experiment(sender)
    target = make_target(scene.server, "busy", f"{scene.http.address}/busy")
    calm = make_target(scene.server, "calm", f"{scene.http.address}/calm")
    make_rule(scene.server, experiment_id, "alert", target)
    make_rule(scene.server, experiment_id, "alert", calm, level="error")
    sender.send(create_run(run_id, "e"), *(raised(run_id, f"{n}") for n in range(33)))

    def states() -> list[str]:
        return [one["state"] for one in scene.deliveries(experiment_id)]

    wait_until(lambda: states().count("sent") >= 30, "as many as may be are sent", DEADLINE_S)
    # Another target is not kept waiting, and by then those of the first would be sent, too.
    sender.send(raised(run_id, "last", "error"))
    scene.http.wait("/calm")
    assert len(states()) == 35
    query = "SELECT tried_ms FROM weir_alert_delivery WHERE target_id = ? AND state = 'sent'"
    tried_ms = sorted(at_ms for (at_ms,) in scene.execute(query, target))
    # On a machine that takes longer than a minute, more of them.
    assert all(b - a >= 60_000 for a, b in zip(tried_ms, tried_ms[30:], strict=False))


def test_rules_fire_once_a_run(scene: Scene) -> None:
    sender = Sender(scene.server)
    experiment_id = scene.experiment(sender)
    target = make_target(scene.server, "rules", f"{scene.http.address}/rules")
    for kind, of in (
        ("finished", {}),
        ("failed", {}),
        ("crashed", {}),
        ("metric", {"metric": "loss", "op": ">", "value": 3}),
        ("nan", {}),
        ("silence", {"seconds": 10}),
        ("alert", {"level": "error"}),
    ):
        make_rule(scene.server, experiment_id, kind, target, **of)
    good, bad, crashed, spiky, silent = (new_id() for _ in range(5))
    names = {good: "good", bad: "bad", crashed: "crashed", spiky: "spiky", silent: "silent"}
    now_ms = int(scene.execute("SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000")[0][0])
    end = {"end_time": now_ms + 1_000, "is_provisional": False, "is_revival": False}
    sender.send(*(create_run(run, "e", run_name=name) for run, name in names.items()))
    sender.send(
        *points(good, "loss", [1.0, 2.0]),
        operation("update_run", run_id=good, status="FINISHED", **end),
        operation("update_run", run_id=bad, status="FAILED", **end),
        operation("own_run", run_id=crashed, how="fluent"),
        operation("exit", run_id=crashed, status="FAILED", cause="uncaught ValueError: boom"),
        *points(spiky, "loss", [1.0, 9.0, 1.0, float("nan")]),
    )
    expected = {
        "good has finished",
        "bad has failed",
        "crashed has failed",
        "crashed has crashed",
        "spiky: loss > 3",
        "spiky: loss is NaN",
        "silent is silent",
        "spiky is silent",
    }

    def titles() -> list[str]:
        return [one.body["alert"]["title"] for one in scene.http.at("/rules")]

    wait_until(lambda: expected <= set(titles()), "every rule fires", DEADLINE_S)
    # Some turns more, to the end of which what is raised now tells.
    sender.send(*points(spiky, "loss", [10.0], 9), raised(spiky, "low", "warning"))
    for turn in range(3):
        sender.send(raised(spiky, f"turn {turn}", "error"))
        wait_until(lambda turn=turn: f"turn {turn}" in titles(), "a turn", DEADLINE_S)  # type: ignore[misc]
    assert sorted(titles()) == sorted([*expected, "turn 0", "turn 1", "turn 2"])
    texts = {one.body["alert"]["title"]: one.body["alert"] for one in scene.http.at("/rules")}
    assert texts["crashed has crashed"]["text"] == "uncaught ValueError: boom"
    assert texts["spiky: loss > 3"]["text"] == "loss was 9."
    assert texts["crashed has crashed"]["level"] == "error"


def test_mail_goes_out_encrypted_and_its_password_is_nowhere(scene: Scene) -> None:
    sender, run_id = Sender(scene.server), new_id()
    experiment_id = scene.experiment(sender)
    target = make_target(
        scene.server, "mail", "", "email", recipients=["a@example.com", "b@example.com"]
    )
    make_rule(scene.server, experiment_id, "alert", target)
    hostile = "Überhitzt\r\nBcc: evil@example.com"
    sender.send(create_run(run_id, "e"), raised(run_id, hostile, "error", "zu heiß\n.\n<b>x</b>"))
    wait_until(lambda: scene.mail.messages, "a message", DEADLINE_S)
    (message,) = scene.mail.messages
    assert scene.mail.logins == [("weir", PASSWORD)]
    assert scene.mail.recipients == ["a@example.com", "b@example.com"]
    assert message["Subject"] == "[error] Überhitzt Bcc: evil@example.com"
    assert message["Bcc"] is None
    assert message.get_content_type() == "text/plain"
    assert "zu heiß\n.\n<b>x</b>" in message.get_content().replace("\r", "")
    (one,) = scene.deliveries(experiment_id)
    assert message["Message-ID"] == f"<{one['delivery_id']}@example.com>"
    listed = ask(scene.server, "/targets", {}).body
    assert listed["has_mail"] is True
    assert "example.com" not in str(listed)
    assert PASSWORD not in str(listed)
    assert f"password={PASSWORD}" not in scene.moving.output()
    tried = ask(scene.server, "/targets/change", {"action": "test", "id": target})
    assert (tried.body["is_sent"], tried.body["told"]) == (True, "accepted")


def test_without_a_server_an_alert_is_kept_for_the_one_to_come(
    tmp_path: Path, sqlite_folder: DatabaseServer
) -> None:
    url = sqlite_folder.new_mlflow_database()
    script = """
import mlflow_weir
with mlflow.start_run() as run:
    assert mlflow_weir.alert("kept", "text", "warning")
    if len(sys.argv) > 1:
        mlflow.MlflowClient().delete_run(run.info.run_id)
        print("deleted", mlflow_weir.alert("too late"))
        mlflow.MlflowClient().restore_run(run.info.run_id)
"""
    for made in begin(tmp_path, Place(with_weir(url), {"WEIR_CAPTURE": "off"})):
        made.run(script)
        made.settle()
        code, out, err = made.outcome(script, "delete", WEIR_CLIENT="off")
    assert (code, "deleted False" in out) == (0, True), err
    assert err.count("mlflow_weir.alert: not raised") == 1
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        kept = connection.execute("SELECT title, text, level, is_routed FROM weir_alert")
        assert kept.fetchall() == [("kept", "text", "warning", 0)] * 2
    connection.close()


def test_the_command_does_what_the_routes_do(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", scene.server.address)
    sender, run_id = Sender(scene.server), new_id()
    experiment_id = scene.experiment(sender)

    def weir(*words: str, code: int = 0, typed: str | None = None) -> str:
        done = CliRunner().invoke(main, ["alert", *words], input=typed)
        assert done.exit_code == code, done.output
        return done.output

    secret = f"{scene.http.address}/cli?token=of-the-url"
    key = weir("target", "add", "cli", "--webhook", "-", typed=f"{secret}\n").split()
    (signing,) = [one for one in key if one.startswith("whsec_")]
    for words in (("list",), ("list", "--json"), ("test", "cli")):
        shown = weir("target", *words)
        assert "of-the-url" not in shown
        assert signing not in shown
    (tried,) = scene.http.wait("/cli?token=of-the-url")
    assert tried.body["alert"]["title"] == "A test"
    # Signed as Standard Webhooks says, over what was sent, byte by byte, and when.
    at_s = tried.headers["webhook-timestamp"]
    signed = f"{tried.body['id']}.{at_s}.".encode() + tried.raw
    assert tried.headers["webhook-id"] == tried.body["id"]
    assert int(at_s) > 1_700_000_000
    secret_key = base64.b64decode(signing.removeprefix("whsec_"))
    assert len(secret_key) == 32
    digest = hmac.new(secret_key, signed, "sha256").digest()
    assert tried.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    # One of before Weir signed, as it is in the database, gets a key like any other.
    scene.execute(
        "UPDATE weir_alert_target SET document = json_remove(document, '$.key') WHERE name = 'cli'"
    )
    listed = json.loads(weir("target", "list", "--json"))
    assert [one["is_signed"] for one in listed if one["name"] == "cli"] == [False]
    (again,) = [
        one for one in weir("target", "set", "cli", "key").split() if one.startswith("whsec_")
    ]
    assert again != signing
    weir("target", "test", "cli")
    _, tried = scene.http.wait("/cli?token=of-the-url", 2)
    signed = f"{tried.body['id']}.{tried.headers['webhook-timestamp']}.".encode() + tried.raw
    digest = hmac.new(base64.b64decode(again.removeprefix("whsec_")), signed, "sha256").digest()
    assert tried.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    weir("rule", "add", "val/loss >= -1e-3", "-e", experiment_id, "--to", "cli")
    rule = json.loads(weir("rule", "add", "alert", "-e", experiment_id, "--to", "cli", "--json"))
    assert "val/loss >= -0.001" in weir("rule", "list", "-e", experiment_id)
    sender.send(
        create_run(run_id, "e", run_name="r"), raised(run_id, "by hand"),
        *points(run_id, "val/loss", [0.0]),
    )  # fmt: skip
    scene.http.wait("/cli?token=of-the-url", 4)
    wait_until(lambda: weir("log", "-e", experiment_id).count("sent") == 2, "both", DEADLINE_S)
    assert "by hand" in weir("list", run_id)
    assert "r: val/loss >= -0.001" in weir("list", "-e", experiment_id)
    weir("rule", "set", rule["id"], "pause")
    assert "paused" in weir("rule", "list", "-e", experiment_id)
    weir("target", "set", "cli", "delete")
    assert "(deleted)" in weir("rule", "list", "-e", experiment_id)
    for wrong in (
        ("target", "test", "cli"),
        ("target", "add", "x", "--webhook", "https://10.0.0.1/"),
        ("rule", "set", "0" * 32, "delete"),
        ("rule", "add", "finished", "-e", "none such"),
        ("list", "0" * 32),
        ("target", "list", "--uri", "weir:"),
    ):
        assert "Error: " in weir(*wrong, code=1)
    weir("rule", "add", "lost", "-e", experiment_id, code=2)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://user:password@127.0.0.1/",
        "http://127.0.0.1:1/a b",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
    ],
)
def test_a_target_that_the_server_must_not_reach_is_refused(scene: Scene, url: str) -> None:
    body = {"action": "add", "name": "evil", "kind": "webhook", "url": url}
    answer = ask(scene.server, "/targets/change", body)
    assert answer.status == 400, answer
    assert answer.body["error"].startswith("url:")
