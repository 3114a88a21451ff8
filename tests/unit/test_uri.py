"""Weir's tracking URIs: what each stands for, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.uri import Backend, expand, is_embedded, is_weir, strip, without_secrets


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEIR_HOME", raising=False)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite+weir:///relative.db", "sqlite:///relative.db"),
        ("sqlite+weir:////abs/a b.db", "sqlite:////abs/a b.db"),
        ("sqlite+weir:///:memory:", "sqlite:///:memory:"),
        ("sqlite+weir://", "sqlite://"),
        ("sqlite+weir:///file:x?mode=ro&uri=true", "sqlite:///file:x?mode=ro&uri=true"),
        (
            "postgresql+weir://us%40er:p%2Fw%3A%25@db.example:5433/ml%20flow?sslmode=require",
            "postgresql+psycopg://us%40er:p%2Fw%3A%25@db.example:5433/ml%20flow?sslmode=require",
        ),
        (
            "postgresql+weir:///mlflow?host=/var/run/postgresql&port=5433",
            "postgresql+psycopg:///mlflow?host=/var/run/postgresql&port=5433",
        ),
        (
            "postgresql+weir://u@[::1]:5432/d?host=a:1&host=b:2&target_session_attrs=read-write",
            "postgresql+psycopg://u@[::1]:5432/d?host=a:1&host=b:2&target_session_attrs=read-write",
        ),
        (
            "mysql+weir://u:p@h/d?unix_socket=/run/mysqld/mysqld.sock&charset=utf8mb4",
            "mysql+pymysql://u:p@h/d?unix_socket=/run/mysqld/mysqld.sock&charset=utf8mb4",
        ),
        ("PostgreSQL+Weir://h/d", "postgresql+psycopg://h/d"),
    ],
)
def test_a_database_uri_changes_in_its_scheme_alone(uri: str, expected: str) -> None:
    assert strip(uri) == expected
    assert make_url(expected).get_backend_name() == expected.partition(":")[0].partition("+")[0]


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///x.db", "postgresql://u:p@h/d", "mysql+pymysql://h/d", "", "./mlruns", "file:x"],
)
def test_a_uri_without_weir_is_left_alone(uri: str) -> None:
    assert strip(uri) == uri
    assert not is_weir(uri)
    assert not is_embedded(uri)
    assert expand(uri) == Backend(uri, None)


@settings(deadline=None)
@given(
    password=st.text(min_size=1),
    database=st.from_regex(r"[a-zé][a-z0-9_ -]{0,20}", fullmatch=True),
)
def test_a_password_of_any_characters_arrives_whole(password: str, database: str) -> None:
    try:
        encoded = quote(password, safe="")
    except UnicodeEncodeError:  # a lone surrogate cannot be written in a URI
        return
    url = make_url(strip(f"postgresql+weir://user:{encoded}@host/{quote(database)}"))
    assert url.password == password
    assert unquote(url.database or "") == database


@pytest.mark.parametrize(
    ("uri", "way_out"),
    [
        ("mariadb+weir://u:secret@h/d", "mysql+weir://"),
        ("postgres+weir://u:secret@h/d?password=secret", "postgresql+weir://"),
        ("mssql+weir://u:secret@h/d", "MySQL"),
        ("oracle+weir://u:secret@h/d", "postgresql+weir://"),
        ("sqlite+weir://folder/file.db", "three slashes"),
        ("sqlite+weir:file.db", "three slashes"),
        ("sqlite+weir:/abs/file.db", "four before an absolute one"),
        ("postgresql+weir:u:secret@h/d", "user:password@host/database"),
    ],
)
def test_a_database_uri_that_cannot_work_is_refused_with_a_way_out(uri: str, way_out: str) -> None:
    for refuse in (strip, expand):
        with pytest.raises(ConfigError) as caught:
            refuse(uri)
        assert way_out in str(caught.value)
        assert uri.partition(":")[0] in str(caught.value)
        if "://" in uri:
            assert "secret" not in str(caught.value)


def test_weir_alone_means_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expand("weir:") == Backend(
        f"sqlite+weir:///{tmp_path}/weir.db", f"{tmp_path}/weir-artifacts"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("home", "directory"),
    [("/data/runs", "/data/runs"), ("sub/dir", "{cwd}/sub/dir"), ("~/runs", "/home/her/runs")],
)
def test_weir_home_moves_both(
    home: str, directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/her")
    monkeypatch.setenv("WEIR_HOME", home)
    expected = directory.format(cwd=tmp_path)
    assert expand("weir:") == Backend(
        f"sqlite+weir:///{expected}/weir.db", f"{expected}/weir-artifacts"
    )


def test_weir_home_does_not_move_a_named_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_HOME", "/elsewhere")
    assert expand("weir:///data").database_uri == "sqlite+weir:////data/weir.db"


@pytest.mark.parametrize(
    ("uri", "directory"),
    [
        ("weir:///data/runs", "/data/runs"),
        ("weir:///data/runs/", "/data/runs"),
        ("weir:////data//runs/../x", "/data/x"),
        ("weir:///my%20runs/é", "/my runs/é"),
        ("weir:///my runs", "/my runs"),
        ("WEIR:///data", "/data"),
    ],
)
def test_a_named_directory_is_decoded_and_made_plain(uri: str, directory: str) -> None:
    backend = expand(uri)
    assert backend == Backend(f"sqlite+weir:///{directory}/weir.db", f"{directory}/weir-artifacts")
    assert make_url(strip(backend.database_uri)).database == f"{directory}/weir.db"


def test_a_hash_in_the_directory_makes_the_artifact_root_a_file_uri() -> None:
    assert expand("weir:///a%23b") == Backend(
        "sqlite+weir:////a#b/weir.db", "file:///a%23b/weir-artifacts"
    )


@pytest.mark.parametrize(
    "uri",
    [
        "weir:relative",
        "weir:./relative",
        "weir:/abs",
        "weir://",
        "weir://host",
        "weir://host/abs",
        "weir:///",
        "weir:///abs?x=1",
        "weir:///abs#x",
        "weir:///100%25/abs",
        "weir:///what%3F",
        "weir:///line%0Abreak",
    ],
)
def test_other_forms_of_weir_are_refused_with_their_value(uri: str) -> None:
    assert is_weir(uri)
    with pytest.raises(ConfigError) as caught:
        expand(uri)
    assert uri in str(caught.value)
    assert caught.value.hint


def test_a_current_directory_that_no_uri_can_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "100%").mkdir()
    monkeypatch.chdir(tmp_path / "100%")
    with pytest.raises(ConfigError, match="WEIR_HOME") as caught:
        expand("weir:")
    assert os.getcwd() in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql+weir://u:p@h:1/d?password=x", "postgresql+weir://…@h:1/d"),
        ("postgresql+weir://u:p/w@h/d", "postgresql+weir://…@h/d"),
        ("mysql+weir://h/d", "mysql+weir://h/d"),
        ("sqlite+weir:////abs/x.db", "sqlite+weir:////abs/x.db"),
        ("weir:", "weir:"),
    ],
)
def test_a_uri_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown
