"""What becomes of a failure in a route: whose fault it was."""

from __future__ import annotations

import flask
import pytest
import sqlalchemy as sa

from mlflow_weir.ui_extensions import api


class DriverError(Exception):
    """What a database's driver raises."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DriverError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), 400),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 400),
        (DriverError("server closed the connection unexpectedly"), 503),
    ],
)
def test_a_text_is_at_fault_by_the_drivers_words_alone(error: Exception, status: int) -> None:
    about = {"value": "why NUL (0x00) ends a string"}  # which SQLAlchemy's message has in it
    failed = sa.exc.DBAPIError("INSERT INTO tags VALUES (:value)", about, error)
    assert "ends a string" in str(failed)
    with flask.Flask(__name__).app_context():
        assert api._database_failed(failed).status_code == status
