"""Which servers are remembered, and what a journal says of one."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from mlflow.utils.rest_utils import MlflowHostCreds

from mlflow_weir.capture_policy import CLASSES, parse_classes
from mlflow_weir.plugin import servers
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.plugin.journaled_rest import server_target


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIR_SPOOL", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://Host:5000/", "http://host:5000"),
        ("https://me:secret@host/prefix/?q=secret", "https://host/prefix"),
        ("HTTP://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_address_has_no_secrets_and_one_form(uri: str, address: str) -> None:
    assert servers.address_of(uri) == address


def test_looking_makes_no_folder(root: Path) -> None:
    assert not servers.is_known("http://host")
    assert Spool.look() is None
    assert not root.exists()


def test_what_a_server_allows_is_remembered_where_it_is_not_all(root: Path) -> None:
    servers.note_captures("http://host", CLASSES)
    assert not root.exists()
    servers.note_captures("http://me:secret@host/", frozenset({"git"}))
    assert servers.allowed_captures("http://host") == {"git"}
    assert servers.allowed_captures("http://other") == CLASSES
    assert stat.S_IMODE((root / "captures.json").stat().st_mode) == 0o600
    servers.note_captures("http://host", frozenset())
    assert servers.allowed_captures("http://host") == frozenset()
    servers.note_captures("http://host", CLASSES)
    assert servers.allowed_captures("http://host") == CLASSES


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("on", CLASSES), ("off", set()), ("git, Files", {"git", "files"}), ("console", {"console"})],
)
def test_a_policy_names_classes(text: str, wanted: set[str]) -> None:
    assert parse_classes(text) == wanted


@pytest.mark.parametrize("text", ["gti", "", "git,on"])
def test_a_policy_that_names_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected on, off, or some of"):
        parse_classes(text)


def test_a_server_is_remembered_privately_until_it_is_forgotten(root: Path) -> None:
    servers.remember("http://me:secret@host/")
    servers.remember("http://other")
    assert servers.is_known("http://host")
    assert not servers.is_known("http://host/prefix")
    file = root / "servers.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.read_text()
    servers.forget(root, "http://host")
    assert (servers.is_known("http://host"), servers.is_known("http://other")) == (False, True)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "servers": 7}'])
def test_a_damaged_file_is_as_none(root: Path, text: str) -> None:
    servers.remember("http://host")
    (root / "servers.json").write_text(text)
    assert not servers.is_known("http://host")


@pytest.fixture(autouse=True)
def no_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def basic(words: str) -> str:
    return f"Basic {base64.b64encode(words.encode()).decode()}"


def test_who_it_is_goes_into_a_header_as_in_mlflows_own_requests(tmp_path: Path) -> None:
    uri = "http://uri-user:uri%40word@host:5000/x"
    creds = MlflowHostCreds(uri, username="name", password="word", token="token")
    target, credentials = server_target(uri, creds, "team")
    assert target == ("http", "http://host:5000/x")
    assert credentials.uri == "http://host:5000/x"
    assert credentials.headers["Authorization"] == basic("uri-user:uri@word")
    assert credentials.headers["X-MLFLOW-WORKSPACE"] == "team"
    assert credentials.headers["User-Agent"].startswith("mlflow-python-client/")
    plain = "http://host:5000"
    _, credentials = server_target(plain, creds, None)
    assert credentials.headers["Authorization"] == basic("name:word")
    assert "X-MLFLOW-WORKSPACE" not in credentials.headers
    _, credentials = server_target(plain, MlflowHostCreds(plain, token="token"), None)
    assert credentials.headers["Authorization"] == "Bearer token"
    (tmp_path / "netrc").write_text("machine host login netrc-user password netrc-word\n")
    _, credentials = server_target(uri, creds, None)
    assert credentials.headers["Authorization"] == basic("netrc-user:netrc-word")


def test_certificates_and_proxies_of_the_training_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    uri = "https://host"
    creds = MlflowHostCreds(uri, server_cert_path="ca.pem", client_cert_path="me.pem")
    environment = server_target(uri, creds, None)[1].environment
    assert environment["HTTPS_PROXY"] == "http://proxy:1"
    assert environment["MLFLOW_TRACKING_SERVER_CERT_PATH"] == str(tmp_path / "ca.pem")
    assert environment["MLFLOW_TRACKING_CLIENT_CERT_PATH"] == str(tmp_path / "me.pem")
    creds = MlflowHostCreds(uri, ignore_tls_verification=True)
    assert server_target(uri, creds, None)[1].environment["MLFLOW_TRACKING_INSECURE_TLS"] == "true"
