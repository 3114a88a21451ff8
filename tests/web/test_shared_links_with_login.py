"""Links on a server with basic-auth: who may make them, and that visitors need no account."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import NO_JOBS, poll
from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers
from senders import User, call, login_variables

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

ADMIN = User("admin", "an administrator's 1st password")
OWNER = User("olga", "olga's own 1st password")
READER = User("rita", "rita's own 1st password")
ROUTES = "/api/2.0/mlflow"


class Site:
    """Another web site, whose one page is what it is told."""

    def __init__(self) -> None:
        self.page = ""
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = f"<!doctype html><title>Wiki</title>{site.page}".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Site, Site]]:
    """Run a site that may show links in a frame, and one that may not."""
    both = Site(), Site()
    yield both
    for one in both:
        one.stop()


@pytest.fixture(scope="module")
def server(
    pages_are_built: None,
    sites: tuple[Site, Site],
    sqlite_folder: DatabaseServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    """Run a server that asks for a login."""
    folder: Path = tmp_path_factory.mktemp("login")
    database = sqlite_folder.new_mlflow_database().replace("sqlite:", "sqlite+weir:")
    arguments = ["server", "--app-name", "basic-auth", "--backend-store-uri", database]
    variables = (
        NO_JOBS,
        *login_variables(folder, ADMIN),
        ("WEIR_PUBLIC_LINKS_EMBED", sites[0].origin),
    )
    with start_servers(ServerSpec(arguments, folder, variables)) as (started,):
        for user in (OWNER, READER):
            body = {"username": user.name, "password": user.password}
            made = call(started, "POST", f"{ROUTES}/users/create", body, user=ADMIN)
            assert made.status == 200, made
        yield started


def make_run(server: ServerProcess) -> tuple[str, str]:
    """Make an experiment of the owner's with one run; return their ids."""

    def ask(path: str, body: dict[str, Any]) -> Any:
        answer = call(server, "POST", f"{ROUTES}/{path}", body, user=OWNER)
        assert answer.status == 200, answer
        return answer.body

    experiment_id = ask("experiments/create", {"name": "Olga's sweep"})["experiment_id"]
    body = {"experiment_id": experiment_id, "run_name": "first", "start_time": 1_760_000_000_000}
    run_id = ask("runs/create", body)["run"]["info"]["run_id"]
    metric = {"run_id": run_id, "key": "loss", "value": 0.5, "timestamp": 1, "step": 1}
    ask("runs/log-metric", metric)
    ask("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 1_760_000_009_000})
    return experiment_id, run_id


def test_the_owner_shares_a_reader_may_not_and_a_visitor_needs_no_account(
    server: ServerProcess,
    sites: tuple[Site, Site],
    open_page: Callable[..., Any],
    allow_errors: Callable[[str], None],
) -> None:
    allow_errors("40[134]|frame-ancestors")  # of who may not, and of the link that ends
    experiment_id, run_id = make_run(server)

    def signed_in(user: User) -> Any:
        credentials = {"username": user.name, "password": user.password}
        return open_page(color_scheme="light", http_credentials=credentials)

    owner, reader = signed_in(OWNER), signed_in(READER)
    owner.goto(f"{server.address}/weir/e/{experiment_id}")
    owner.get_by_role("button", name="Share", exact=True).click()
    dialog = owner.get_by_role("dialog")
    dialog.get_by_role("checkbox", name="loss", exact=True).check()
    assert dialog.get_by_text("no login").count() == 0
    dialog.get_by_role("button", name="Create link").click()
    field = dialog.get_by_role("textbox", name="The link, shown this once")
    field.wait_for()
    address = field.input_value()
    wiki, other = sites
    frame = dialog.get_by_role("textbox", name=f"To show it within a page of {wiki.origin}")
    wiki.page = other.page = frame.input_value()
    dialog.get_by_role("button", name="Done").click()

    visitor = open_page(color_scheme="light")
    finished: list[Any] = []
    visitor.on("requestfinished", lambda one: finished.append(one))
    visitor.goto(address)
    visitor.get_by_role("heading", name="Olga's sweep").wait_for()
    visitor.locator("[data-keys=loss] canvas").first.wait_for()
    answers = [one.response().all_headers() for one in finished if one.response()]
    assert answers
    assert all("www-authenticate" not in one and "set-cookie" not in one for one in answers)
    # The site that the server lets have it shows it in a frame, and no other one; nor any other
    # page of the server.
    for one, is_allowed in ((wiki, True), (other, False)):
        around = open_page(color_scheme="light")
        around.goto(one.origin)
        framed = around.frame_locator("iframe")
        if is_allowed:
            framed.locator("[data-keys=loss] canvas").first.wait_for()
            assert around.context.cookies() == []
        else:
            around.wait_for_function("() => document.readyState === 'complete'")
            assert around.frames[1].url.startswith("chrome-error:")
    inside = owner.request.get(f"{server.address}/weir/e/{experiment_id}").headers
    assert "frame-ancestors 'self'" in inside["content-security-policy"]
    # Nor does it lead further: what the server has is as closed as before.
    for path in (f"/weir/e/{experiment_id}", "/", "/ajax-api/2.0/mlflow/experiments/search"):
        assert visitor.request.get(f"{server.address}{path}").status == 401, path

    reader.goto(f"{server.address}/weir/r/{run_id}/overview")
    reader.get_by_role("region", name="About").wait_for()
    assert reader.get_by_role("button", name="Share", exact=True).count() == 0
    # MLflow's dock leads a reader here all the same: the page says who may.
    reader.goto(f"{server.address}/weir/r/{run_id}/overview?share=1")
    refused = reader.get_by_role("dialog", name="Share")
    refused.get_by_text("Who may edit an experiment may share it").wait_for()
    refused.get_by_role("button", name="Close it").click()
    reader.wait_for_function("() => !location.search.includes('share')")
    reader.goto(f"{server.address}/weir/shared")
    reader.get_by_text("Nothing is shared").wait_for()

    owner.goto(f"{server.address}/weir/shared")
    row = owner.get_by_role("row").filter(has_text="Olga's sweep")
    row.filter(has_text=f"by {OWNER.name}").wait_for()
    # Without an owner a link has nobody who answers for it.
    body = {"username": OWNER.name}
    gone = call(server, "DELETE", f"{ROUTES}/users/delete", body, user=ADMIN)
    assert gone.status == 200, gone
    page_is_gone = "This link does not work (any more)"
    heading = visitor.get_by_role("heading", level=1)

    def is_gone() -> bool:  # the permission is asked again within half a minute
        visitor.reload()
        heading.wait_for()
        if heading.inner_text() == page_is_gone:
            return True
        visitor.wait_for_timeout(1_000)
        return False

    poll(visitor, is_gone)
