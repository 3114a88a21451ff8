"""What becomes of a failure in a route: whose fault it was."""

from __future__ import annotations

import flask
import pytest
import sqlalchemy as sa
from mlflow.exceptions import MlflowException

from mlflow_weir.errors import ConfigError
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


def test_what_is_wrong_with_a_question_is_told_from_within_a_session_too() -> None:
    failed = MlflowException("5 keys")  # as MLflow's session has it: an error of the server's
    failed.__cause__ = ConfigError("5 keys: expected 1 to 4")
    with flask.Flask(__name__).app_context():
        answer = api._mlflow_failed(failed)
        assert (answer.status_code, answer.get_json()) == (
            400,
            {"error": "5 keys: expected 1 to 4"},
        )
        assert api._mlflow_failed(MlflowException("5 keys")).status_code == 503
