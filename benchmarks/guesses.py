"""Guesses at the tokens of links: how long a look-up takes, and how many a server answers."""

from __future__ import annotations

import dataclasses
import http.client
import json
import random
import secrets
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from measuring import Row, Sizes, say
from places import Place, SqlitePlace
from servers import Server, running

from mlflow_weir.store import schema
from mlflow_weir.store.sharing import links
from mlflow_weir.store.sharing.links import Terms
from mlflow_weir.store.sharing.shown import Shown
from mlflow_weir.store.tracking_store import WeirStore

TITLE = "Guessing at links"
ABOUT = """\
Tokens that open nothing, looked up as the server does it, among 10,000 links: random ones, real
ones with another last character, and what is no token at all (nothing, or 9,999 characters), in
random order. None may open a link, and each kind has to take as long as the first. The same kinds
are then sent to a started server (one worker) from 60 addresses of the loopback network, each
within what one address is let ask, and from one address for as long as the row says.
"""

_N_LINKS = 10_000
_ALIKE = 0.05
_N_ADDRESSES = 60
_A_ADDRESS = 90  # it is put off after 100
_KINDS = ("random", "one character off", "no token")
_REAL_EVERY = 1_000


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Fill a database with links, guess at them there, and at a server on it."""
    url = place.new_database()
    store = WeirStore(url, "mlflow-artifacts:/")
    tokens = _filled(store.engine)
    n_guesses = sizes.guesses if isinstance(place, SqlitePlace) else sizes.guesses // 10
    say(f"{place.name}: {len(tokens):,} links are there")
    rows = _looked_up(store.engine, tokens, n_guesses, place)
    store.engine.dispose()
    if isinstance(place, SqlitePlace):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(url.replace("sqlite:", "sqlite+weir:"), Path(folder) / "server")
            with running(server):
                rows += _asked(server.address, tokens, sizes.guessing_s, place)
    place.drop_all()
    return rows


def _filled(engine: sa.Engine) -> list[str]:
    """Make links, and return their tokens."""
    terms = Terms(
        kind="experiment", title="Results", experiment_ids=["0"], workspace=None, is_live=True,
        as_of_ms=None, shown=Shown(), run_filter=links.Filter(""), view=None,
        replaces_names=False, expires_ms=None, password=None, is_preview=False, created_by="",
    )  # fmt: skip
    share, token = links.create(engine, terms, None)
    tokens = [token, *(secrets.token_urlsafe(32) for _ in range(_N_LINKS - 1))]
    columns = schema.share.c
    with engine.begin() as connection:
        query = sa.select(schema.share).where(columns.share_id == share.share_id)
        row = dict(connection.execute(query).mappings().one())
        more = [
            row | {"share_id": secrets.token_hex(16), "token_sha256": links.hash_token(one)}
            for one in tokens[1:]
        ]
        connection.execute(sa.insert(schema.share), more)
    return tokens


def _guess(kind: int, tokens: list[str], chosen: random.Random) -> str:
    if kind == 0:
        return secrets.token_urlsafe(32)
    if kind == 1:
        real = tokens[chosen.randrange(len(tokens))]
        # Characters 4 apart differ in bits that the last one has.
        return real[:-1] + ("A" if real[-1] != "A" else "E")
    return "" if chosen.random() < 0.5 else "x" * 9_999


def _looked_up(engine: sa.Engine, tokens: list[str], n: int, place: Place) -> list[Row]:
    chosen = random.Random(7)
    kinds = np.random.default_rng(7).integers(0, len(_KINDS), n).astype(np.uint8)
    times_s = np.zeros(n)
    n_opened = n_real = 0
    clock = time.perf_counter
    begun_s = clock()
    for at in range(n):
        guess = _guess(int(kinds[at]), tokens, chosen)
        start_s = clock()
        found = links.find_by_token(engine, guess)
        times_s[at] = clock() - start_s
        n_opened += found is not None
        if at % _REAL_EVERY == 0:
            n_real += (
                links.find_by_token(engine, tokens[chosen.randrange(len(tokens))]) is not None
            )
    took_s = clock() - begun_s
    n_wanted = -(-n // _REAL_EVERY)
    if n_real != n_wanted:
        raise RuntimeError(f"{n_real} of {n_wanted} real tokens were found")
    said = f"{n:,} guesses in {took_s:.0f} s, {n_opened} opened a link; "
    rows = _rows("look-up of a guess", [times_s[kinds == kind] for kind in range(3)], place, said)
    return [dataclasses.replace(row, passed=row.passed and n_opened == 0) for row in rows]


def _rows(what: str, by_kind: list[np.ndarray], place: Place, said: str) -> list[Row]:
    """Return a row a kind; each has to take as long as the first."""
    first_s = float(np.median(by_kind[0]))
    rows = []
    for kind, times_s in zip(_KINDS, by_kind, strict=True):
        p50_s, p99_s = (float(np.quantile(times_s, q)) for q in (0.5, 0.99))
        ratio = p50_s / first_s
        target = "none opens" if kind == _KINDS[0] else f"the first ± {_ALIKE:.0%}"
        note = f"{said}{ratio:.3f} x the first, p99 {1e3 * p99_s:.2f} ms"
        is_alike = abs(ratio - 1) <= _ALIKE
        rows.append(
            Row(f"{what}, {kind}, p50", place.name, "s", None, p50_s, target, is_alike, note)
        )
        said = ""
    return rows


def _asked(address: str, tokens: list[str], guessing_s: float, place: Place) -> list[Row]:
    """Guess over HTTP: within the limits of many addresses, and from one as fast as it goes."""
    _require_open(address, tokens[0])
    chosen = random.Random(11)
    times_s: list[list[float]] = [[], [], []]
    for number in range(_N_ADDRESSES):
        ask = _asker(address, f"127.0.1.{number + 1}")
        for _ in range(_A_ADDRESS):
            kind = chosen.randrange(3)
            # A path of nothing is another route's; what is too short is no token either.
            guess = _guess(kind, tokens, chosen) or "x"
            start_s = time.perf_counter()
            status = ask(guess)
            times_s[kind].append(time.perf_counter() - start_s)
            if status != 404:
                raise RuntimeError(f"{status} for a guess within what an address may ask")
    said = f"{_N_ADDRESSES * _A_ADDRESS:,} guesses, all 404; "
    rows = _rows("server's answer to a guess", [np.array(one) for one in times_s], place, said)
    ask, answered, sent = _asker(address, "127.0.2.1"), 0, 0
    end_s = time.monotonic() + guessing_s
    while time.monotonic() < end_s:
        answered += ask(secrets.token_urlsafe(32)) == 404
        sent += 1
    between_s = guessing_s / max(1, answered - 100)
    days = 1e7 * between_s / 86_400
    what = f"between two guesses of one address that are answered, over {guessing_s:.0f} s"
    note = f"{sent:,} sent, {answered} answered; ten million would take it {days:.0f} days"
    target = "≥ 1 s after the first 100"
    rows.append(Row(what, place.name, "s", None, between_s, target, between_s >= 0.95, note))
    return rows


def _require_open(address: str, token: str) -> None:
    request = urllib.request.Request(
        f"{address}/weir/s/{token}/api/share", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        if json.load(answer)["title"] != "Results":
            raise RuntimeError("a real link does not open")


def _asker(address: str, source: str) -> Callable[[str], int]:
    """Return what asks from an address of the loopback network, over one connection."""
    parts = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(
        str(parts.hostname), parts.port, timeout=60, source_address=(source, 0)
    )
    headers = {"Content-Type": "application/json"}

    def ask(token: str) -> int:
        connection.request("POST", f"/weir/s/{token}/api/share", b"{}", headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return ask
