"""Links of a server as tests make and open them."""

from __future__ import annotations

from typing import Any, NamedTuple

from mlflow_server import ServerProcess
from senders import Answer, User, call

MANAGE = "/ajax-api/3.0/weir/shares"


class Link(NamedTuple):
    """A link that was made.

    Attributes:
        share: As the server describes it to its maker.
        path: ``/weir/s/TOKEN`` behind the static prefix.
    """

    server: ServerProcess
    share: dict[str, Any]
    token: str
    path: str

    def ask(
        self, name: str, body: dict[str, Any] | None = None, key: str = "", **headers: str
    ) -> Answer:
        """Ask as a visitor, who has nothing but the token."""
        sent = {**headers, **({"X-Weir-Key": key} if key else {})}
        return call(self.server, "POST", f"{self.path}/api/{name}", body or {}, sent)

    def page(self, **headers: str) -> Answer:
        """Ask for the page."""
        return call(self.server, "GET", self.path, None, headers)


def manage(
    server: ServerProcess,
    name: str,
    body: dict[str, Any],
    user: User | None = None,
    headers: dict[str, str] | None = None,
    prefix: str = "",
) -> Answer:
    """Ask one of the routes of links' makers."""
    return call(server, "POST", f"{prefix}{MANAGE}/{name}", body, headers, user)


def make_link(
    server: ServerProcess,
    experiment_id: str,
    user: User | None = None,
    *,
    headers: dict[str, str] | None = None,
    prefix: str = "",
    **terms: Any,
) -> Link:
    """Make a link to an experiment, or to what the terms say."""
    body: dict[str, Any] = {
        "kind": "experiment",
        "title": "Results",
        "experiment_ids": [experiment_id],
        "is_live": True,
        "shown": {},
        **terms,
    }
    answer = manage(server, "create", body, user, headers, prefix)
    assert answer.status == 200, answer
    return Link(server, answer.body["share"], answer.body["token"], answer.body["path"])
