"""What visitors of shared links are served: nothing that writes, none of MLflow's, and little."""

from __future__ import annotations

import re

import flask
import pytest

from mlflow_weir import settings
from mlflow_weir.ui_extensions import api, bundle, public

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")]

# What the pages' own parts ask a shared link's API; of all other routes no word is in the bundle.
ASKED = {
    *("runs", "groups", "columns", "keys", "series", "changes", "run", "console", "histograms"),
    *("code", "media", "files", "file", "runs/compare", "reports/image"),
}


def test_no_part_that_writes_and_no_route_of_mlflows_is_in_the_bundle_for_visitors(
    pages_are_built: None,
) -> None:
    built = bundle.read()
    assert built is not None
    public = built.public
    texts = {
        name: asset.content.decode()
        for name, asset in public.assets.items()
        if asset.content_type.startswith(("text/javascript", "text/css"))
    }
    everything = "\n".join([public.page, public.gone, *texts.values()])
    routes = routes_of_the_api()
    assert routes >= ASKED
    # Routes and pages have these names: the grammar of pages is the same in both bundles.
    assert names(everything, routes) - {"reports", "alerts"} <= ASKED
    # The pages inside do name what writes: the same look finds it there.
    inside = "\n".join(one.content.decode() for one in built.assets.values())
    assert names(inside, routes) >= {"runs/act", "views/save", "views/personal", "views/delete"}
    for word in ("ajax-api", "X-MLFLOW-WORKSPACE", "runColor", "document.cookie", "eval("):
        assert word not in everything, word
    # Addresses of others: namespaces, and where React explains its errors; nothing is loaded.
    hosts = set(re.findall(r"https?://([\w.-]+)", everything))
    assert hosts <= {"www.w3.org", "react.dev", "github.com"}, hosts
    assert "<script" not in public.gone
    # No file is shared with the other bundle: what is served to visitors is theirs alone.
    named = re.findall(r"(?:src|href)=\"\./assets/([^\"]+)\"", public.page)
    assert set(named) <= set(public.assets)


def names(text: str, routes: set[str]) -> set[str]:
    """Return the routes that a bundle's text names."""
    return {one for one in routes if re.search(rf"""["'`]/?{re.escape(one)}["'`]""", text)}


def routes_of_the_api() -> set[str]:
    """Return the routes of the API inside, below its prefix, without those with a variable."""
    app = flask.Flask(__name__)
    app.register_blueprint(api.blueprint())
    rules = [str(rule) for rule in app.url_map.iter_rules() if not rule.arguments]
    return {rule.partition("/ajax-api/3.0/weir/")[2] for rule in rules} - {""}


def test_a_visitors_first_page_is_small(pages_are_built: None) -> None:
    built = bundle.read()
    assert built is not None
    assets = built.public.assets
    wanted = set(re.findall(r"\./assets/([^\"]+)\"", built.public.page))
    (entry,) = [name for name in wanted if name.startswith("public-") and name.endswith(".js")]
    # What the list's page imports, and the charts with it; not what a run's tabs bring.
    (workspace,) = [name for name in assets if re.match(r"workspace-[\w-]+\.js$", name)]
    wanted |= {workspace}
    queue = [entry, workspace]
    while queue:
        text = assets[queue.pop()].content.decode()
        for name in re.findall(r"""(?:from|import)\s*["'`]\./([\w.-]+\.js)["'`]""", text):
            if name not in wanted:
                wanted.add(name)
                queue.append(name)
    size = sum(len(assets[name].packed or assets[name].content) for name in wanted)
    # Parts that the page of a report has too are files of their own, which pack less well.
    assert size <= 130_000, {name: len(assets[name].packed or b"") for name in wanted}


def test_a_link_is_framed_by_the_sites_that_policy_names_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = flask.Flask(__name__)
    policy = "Content-Security-Policy"

    def ancestors() -> str:
        with app.test_request_context("/weir/s/x"):
            found = public._harden(flask.Response("x")).headers[policy]
        return found.partition("frame-ancestors ")[2]

    assert ancestors() == "'none'"
    monkeypatch.setenv("WEIR_PUBLIC_LINKS_EMBED", "https://wiki.example.com http://a.b:8080")
    assert ancestors() == "https://wiki.example.com http://a.b:8080"
    for bad in ("*", "https://a.example; script-src *", "'self'", "https://a.example/path"):
        with pytest.raises(ValueError, match="origin"):
            settings.origins(bad)
