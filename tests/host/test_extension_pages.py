"""The extension's pages over HTTP: on kinds of servers, hardened, and cached."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import flask
import mlflow.server
import pytest

from browser import NO_JOBS, build_pages
from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from mlflow_weir.ui_extensions import bundle, pages
from sharing import make_link

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

SCRIPT = re.compile(r'<script type="module" src="weir/assets/(stock-[\w-]+\.js)"></script></head>')


class Got(NamedTuple):
    """An answer; headers in lower case."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()


def get(server: ServerProcess, path: str, **headers: str) -> Got:
    address = urllib.parse.urlsplit(server.address)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=300)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, None, sent)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Got(answer.status, answer.read(), found)
    finally:
        connection.close()


class Servers(NamedTuple):
    """Kinds of servers; the prefix of each is in ``PREFIXES``."""

    uvicorn: ServerProcess
    waitress: ServerProcess


# gunicorn, basic-auth and workspaces: tests/security/test_routes.py.
PREFIXES = {"uvicorn": "/mlf", "waitress": ""}


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> Iterator[Servers]:
    build_pages()
    specs = []
    for name, prefix in PREFIXES.items():
        url = sqlite_folder.new_mlflow_database().replace("sqlite:", "sqlite+weir:")
        words = ["server", "--backend-store-uri", url]
        if name == "waitress":
            words += ["--waitress-opts", "--threads=2"]
        specs.append(ServerSpec(words, tmp_path_factory.mktemp(name), (NO_JOBS,), prefix=prefix))
    with start_servers(*specs) as started:
        yield Servers(*started)


KINDS = pytest.mark.parametrize("kind", ["uvicorn", "waitress"])


@KINDS
def test_every_page_loads_its_files_by_relative_addresses(kind: str, servers: Servers) -> None:
    server, root = getattr(servers, kind), f"{PREFIXES[kind]}/weir/"
    for path in ("", "e/1", "e/1,2/compare", f"r/{'0' * 32}/console"):
        got = get(server, root + path)
        assert (got.status, got.headers["content-type"]) == (200, "text/html; charset=utf-8")
        named = re.findall(r'(?:src|href)="([^"]+)"', got.text)
        assert len(named) >= 3
        for name in named:
            asset = get(server, urllib.parse.urljoin(root + path, name))
            assert asset.status == 200, name
            assert "immutable" in asset.headers["cache-control"]
            assert asset.headers["x-content-type-options"] == "nosniff"
            assert asset.headers["content-type"].partition("/")[0] in {"text", "image"}


@KINDS
def test_pages_are_hardened_and_set_no_cookie(kind: str, servers: Servers) -> None:
    server, root = getattr(servers, kind), f"{PREFIXES[kind]}/weir/"
    for path in ("", "e/1", "assets/none.js", "..%2fapp.py", "assets/..%2findex.html"):
        got = get(server, root + path)
        policy = got.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["referrer-policy"] == "same-origin"
        assert "set-cookie" not in got.headers
        assert "def " not in got.text
    assert get(server, f"{root}assets/none.js").status == 404
    assert get(server, root.rstrip("/")).status in {301, 308}


@KINDS
def test_a_links_page_has_files_of_its_own_alone(kind: str, servers: Servers) -> None:
    server, prefix = getattr(servers, kind), PREFIXES[kind]
    link = make_link(server, "0", prefix=prefix, title="For you <all>", filter={})
    assert link.path.startswith(f"{prefix}/weir/s/")
    assert link.ask("share").body["title"] == "For you <all>"
    page = get(server, link.path)
    assert page.status == 200
    assert "<title>For you &lt;all&gt;</title>" in page.text
    built = bundle.read()
    assert built is not None
    for path, least in ((link.path, 3), (f"{prefix}/weir/s/x", 1), (f"{prefix}/weir/s/x/y/z", 1)):
        named = re.findall(r'(?:src|href)="([^"]+)"', get(server, path).text)
        assert len(named) >= least, path
        for name in named:
            asset = get(server, urllib.parse.urljoin(path, name))
            assert asset.status == 200, (path, name)
            assert "immutable" in asset.headers["cache-control"]
            assert asset.headers["referrer-policy"] == "no-referrer"
    for name in (built.stock_script, "index.html", "public.html", "..%2f..%2findex.html"):
        assert get(server, f"{prefix}/weir/s/assets/{name}").status in {400, 404}, name


def stock_page() -> Got:
    """Return MLflow's page as it is served without us."""
    folder = mlflow.server.app.static_folder or ""
    with mlflow.server.app.test_request_context("/"):
        answer = flask.send_from_directory(folder, "index.html")
        answer.direct_passthrough = False
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Got(answer.status_code, answer.get_data(), headers)


@KINDS
def test_mlflows_page_gets_one_script_and_a_validator_of_its_own(
    kind: str, servers: Servers
) -> None:
    server, home = getattr(servers, kind), f"{PREFIXES[kind]}/"
    stock = stock_page()
    got = get(server, home)
    found = SCRIPT.search(got.text)
    assert found is not None
    assert got.text.replace(found[0], "</head>") == stock.text
    assert get(server, f"{home}weir/assets/{found[1]}").status == 200
    assert got.headers["etag"] != stock.headers["etag"]
    assert get(server, home, If_None_Match=got.headers["etag"]).status == 304
    # A browser that kept the page from before the extension gets the new one.
    kept = get(server, home, If_None_Match=stock.headers["etag"])
    assert (kept.status, kept.text) == (200, got.text)
    dated = get(server, home, If_Modified_Since="Fri, 01 Jan 2100 00:00:00 GMT")
    assert (dated.status, dated.text) == (200, got.text)


def test_files_are_packed_for_who_takes_that(servers: Servers) -> None:
    built = bundle.read()
    assert built is not None
    for name, asset in built.assets.items():
        path = f"/weir/assets/{name}"
        plain = get(servers.waitress, path)
        packed = get(servers.waitress, path, Accept_Encoding="gzip, br")
        assert plain.body == asset.content
        assert plain.headers["vary"] == "Accept-Encoding"
        if asset.packed is not None:
            assert packed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(packed.body) == asset.content


def test_the_shell_is_asked_for_each_time_and_answered_in_short(servers: Servers) -> None:
    got = get(servers.waitress, "/weir/e/1")
    assert got.headers["cache-control"] == "no-cache"
    again = get(servers.waitress, "/weir/e/1", If_None_Match=got.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_the_first_screen_of_code_is_small() -> None:
    built = bundle.read()
    assert built is not None
    entry = re.findall(r'src="\./assets/([^"]+)"', built.page)
    # With the workspace in it, where most go to: 200 kB is what its first screen may load.
    assert sum(len(built.assets[name].packed or b"") for name in entry) < 180_000


@pytest.fixture
def served() -> flask.Flask:
    """A Flask app with the pages, and an index page as MLflow has it."""
    app = flask.Flask("served")
    app.add_url_rule("/", "serve", lambda: "<html><head></head></html>")
    app.register_blueprint(pages.blueprint())
    pages.join_index(app)
    return app


def test_without_a_build_mlflows_page_is_stock_and_ours_say_what_to_do(
    served: flask.Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bundle, "FOLDER", tmp_path)
    client = served.test_client()
    assert client.get("/").text == "<html><head></head></html>"
    answer = client.get("/weir/e/1")
    assert answer.status_code == 503
    assert "make web" in answer.text


def test_a_page_that_mlflow_changed_beyond_recognition_stays_as_it_is(
    served: flask.Flask,
) -> None:
    build_pages()
    served.view_functions["serve"] = lambda: "<html>no head at all</html>"
    pages.join_index(served)
    assert served.test_client().get("/").text == "<html>no head at all</html>"


def test_a_rebuild_is_served_without_a_restart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def build(text: str) -> str:
        name = f"stock-{hashlib.sha256(text.encode()).hexdigest()[:8]}.js"
        (tmp_path / "assets").mkdir(exist_ok=True)
        (tmp_path / "assets" / name).write_text(text)
        (tmp_path / "index.html").write_text(f'<script src="./assets/{name}">')
        manifest = f'{{"src/stock/main.ts": {{"file": "assets/{name}"}}}}'
        (tmp_path / "manifest.json").write_text(manifest)
        (tmp_path / "public" / "assets").mkdir(parents=True, exist_ok=True)
        for page in ("public.html", "gone.html", "invite.html"):
            (tmp_path / "public" / page).write_text("<title>Weir</title>")
        (tmp_path / "published").mkdir(exist_ok=True)
        for one in (
            "runs.js",
            "runs.css",
            "report.js",
            "report.css",
            "first-paint.js",
            "icon.svg",
        ):
            (tmp_path / "published" / one).write_text("")
        (tmp_path / "mark").write_text(text)
        (tmp_path / "mark").replace(tmp_path / "sources.sha256")
        return name

    monkeypatch.setattr(bundle, "FOLDER", tmp_path)
    assert bundle.read() is None
    for text in ("one", "two"):
        name = build(text)
        built = bundle.read()
        assert built is not None
        assert built.stock_script == name
        assert built.page_at_depth(2).decode() == f'<script src="../../assets/{name}">'
