"""What a server's log lines look like, and what is never in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from mlflow_weir.ui_extensions import logs

TOKEN = "Zk3vJ8w0Qn5rT1yU6xB9cD2eF4gH7iK0lM3nP5qR8sU"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Give what a handler of uvicorn's access log writes."""
    stream = io.StringIO()
    logger = logging.getLogger("uvicorn.access")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)


def put_back(before: dict[logging.Handler, tuple[object, list[object]]]) -> None:
    for handler, (formatter, filters) in before.items():
        handler.formatter, handler.filters = formatter, filters  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def handlers_as_they_were() -> Iterator[None]:
    before = {one: (one.formatter, list(one.filters)) for one in logs._handlers()}
    yield
    put_back(before)  # type: ignore[arg-type]


def say(path: str) -> None:
    arguments = ("127.0.0.1:9", "GET", path, "1.1", 200)
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *arguments)


def test_the_address_of_a_link_is_in_no_line(written: io.StringIO) -> None:
    logs.start()
    logs.start()  # no filter twice
    say(f"/weir/s/{TOKEN}/series?k=1")
    say("/weir/e/1")
    assert written.getvalue().splitlines() == [
        '127.0.0.1:9 - "GET /weir/s/[redacted]/series?k=1 HTTP/1.1" 200',
        '127.0.0.1:9 - "GET /weir/e/1 HTTP/1.1" 200',
    ]


def test_gunicorns_lines_hold_no_address_of_a_link_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    glogging = pytest.importorskip("gunicorn.glogging")
    path = f"/weir/s/{TOKEN}/api/run"
    atoms = {"h": "127.0.0.1", "m": "POST", "r": f"POST {path} HTTP/1.1", "s": "200", "U": path}
    atoms |= {"f": f"http://here{path}", "{raw_uri}e": path}
    stream = io.StringIO()
    logger, handler = logging.getLogger("gunicorn.access"), logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    words = '%(h)s "%(r)s" %(s)s "%(f)s" %({raw_uri}e)s %(a)s'
    try:
        logs.start()
        logger.info(words, glogging.SafeAtoms(atoms))
        monkeypatch.setenv("WEIR_LOG_FORMAT", "json")
        logs.start()
        logger.info(words, glogging.SafeAtoms(atoms))
    finally:
        logger.removeHandler(handler)
    plain, line = stream.getvalue().splitlines()
    cut = "/weir/s/[redacted]/api/run"
    assert plain == f'127.0.0.1 "POST {cut} HTTP/1.1" 200 "http://here{cut}" {cut} -'
    found = json.loads(line)
    assert (found["client"], found["method"], found["status"]) == ("127.0.0.1", "POST", 200)
    assert found["path"] == cut
    assert TOKEN not in line


def test_lines_of_json_hold_no_secret(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_LOG_FORMAT", "json")
    logs.start()
    say(f"/mlf/weir/s/{TOKEN}?key=ghp_{'a1B2' * 9}")
    logger = logging.getLogger("uvicorn.access")
    logger.warning("cannot reach %s", "postgresql://mlflow:hunter2hunter2@db/mlflow")
    try:
        raise ValueError(f"Authorization: Bearer {TOKEN}\n\ttwo lines")
    except ValueError:
        logger.exception("failed")
    text = written.getvalue()
    for secret in (TOKEN, "hunter2hunter2", "a1B2a1B2"):
        assert secret not in text
    first, second, third = (json.loads(line) for line in text.splitlines())
    assert first["path"] == "/mlf/weir/s/[redacted]"
    assert (first["client"], first["method"], first["status"]) == ("127.0.0.1:9", "GET", 200)
    assert first["level"] == "info"
    assert first["time"].endswith("+00:00")
    assert second["message"].startswith("cannot reach postgresql://")
    assert "ValueError" in third["traceback"]
    assert "two lines" in third["traceback"]
