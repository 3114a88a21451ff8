"""Where a server sends alerts to, and where it does not, whatever a name stands for."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.alerts.alerts import Alert
from mlflow_weir.store.alerts.queue import Claimed
from mlflow_weir.store.alerts.targets import Target
from mlflow_weir.ui_extensions.alerting import hosts, messages, sending

PUBLIC = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946")
NOT_PUBLIC = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "fec0::1"),
)


def named(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> None:
    """Have a name stand for these addresses, each time it is asked for the next ones."""
    left = list(answers)

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(0, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def claimed(url: str, **alert: str) -> Claimed:
    target = Target("t" * 32, None, "t", "webhook", url, ("a@example.com",), "https://weir.test")
    words = {"level": "error", "title": "title", "text": "text", **alert}
    of = Alert("a" * 32, "b" * 32, at_ms=1_700_000_000_000, **words)
    return Claimed("d" * 32, 1, target, of, "run <1>|x", "RUNNING", 7, "exp & co")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also as one of several, in any place.
    for answer in ((address,), (PUBLIC[0], address), (address, PUBLIC[0])):
        named(monkeypatch, answer)
        with pytest.raises(hosts.NotAllowed):
            hosts.resolve("evil.example", 443)
    outcome = sending.send(claimed("https://evil.example/"))
    assert (outcome.is_sent, outcome.is_final) == (False, True)


def test_a_public_one_is_taken_and_others_as_the_administrator_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for address in PUBLIC:
        named(monkeypatch, (address,))
        assert hosts.resolve("good.example", 443) == address
    monkeypatch.setenv("WEIR_ALERT_HOSTS", "chat.internal, 10.1.0.0/16 fd00::7")
    for address, host in (
        *(("10.9.9.9", "chat.internal"), ("10.1.2.3", "any.example"), ("fd00::7", "any.example")),
    ):
        named(monkeypatch, (address,))
        assert hosts.resolve(host, 443) == address
    for address in ("10.2.0.1", "127.0.0.1", "fd00::8", "::ffff:10.2.0.1"):
        named(monkeypatch, (address,))
        with pytest.raises(hosts.NotAllowed):
            hosts.resolve("any.example", 443)


def test_the_connection_goes_to_the_address_that_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> Any:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    # The second answer is what the name stands for a moment later.
    named(monkeypatch, (PUBLIC[0],), ("127.0.0.1",))
    outcome = sending.send(claimed("https://rebinding.example/x"))
    assert connected == [(PUBLIC[0], 443)]
    assert outcome.told == "connection refused"


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "ftp://example.com/", "https://", "https:///x", "example.com"),
        *("https://u@example.com/", "https://u:p@example.com/", "https://example.com/#x"),
        *("https://example.com/a b", "https://example.com/\r\nX: y", "https://ex\\ample.com/"),
        *("https://example.com:99999/", "https://[::1/", "https://exämple.com/"),
        *("https://-x.com/", "https://a..b/", f"https://example.com/{'x' * 2_000}"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="url:"):
        hosts.read_url(url)


def test_a_url_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hosts.read_url("https://Example.com./a?b=c") == (True, "example.com", 443, "/a?b=c")
    monkeypatch.setenv("WEIR_ALERT_HOSTS", "127.0.0.1")
    assert hosts.read_url("http://127.0.0.1:8065") == (False, "127.0.0.1", 8065, "/")


def test_in_chat_a_text_is_neither_a_link_nor_markup_nor_a_call() -> None:
    hostile = "<!channel> <https://evil.example|here> *b* `c` ~d~ _e_ @here @Everyone &"
    text = messages.as_slack(claimed("https://x.example/", title=hostile, text=hostile)).decode()
    for wrong in ("<!", "<https://evil", "@here", "@Everyone", " `c`", " ~d~", " _e_"):
        assert wrong not in text, wrong
    assert "<https://weir.test/weir/r/" + "b" * 32 in text


def test_a_mail_keeps_to_its_headers() -> None:
    wanted = claimed("", title="x\r\nBcc: evil@example.com", text="\r\n.\r\nRCPT TO:<x>")
    message = messages.as_mail(wanted, "Weir <weir@example.com>")
    assert message["Bcc"] is None
    assert message["Subject"] == "[error] x Bcc: evil@example.com"
    assert message["Message-ID"] == f"<{'d' * 32}@example.com>"
