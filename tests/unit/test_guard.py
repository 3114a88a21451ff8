"""The guard swallows what it must, says so, and nothing else."""

from __future__ import annotations

import logging

import pytest

from mlflow_weir import guard

# By name: the fixture `internal_errors` replaces the module's.
from mlflow_weir.guard import report_internal_error


@guard.never_raises(fallback=-1)
def divide(dividend: int, divisor: int) -> int:
    """Divide."""
    if divisor == 99:
        raise KeyboardInterrupt
    return dividend // divisor


def test_a_result_passes_through() -> None:
    assert divide(6, divisor=3) == 2
    assert divide.__name__ == "divide"


@pytest.mark.expects_internal_errors
def test_an_error_becomes_the_fallback_and_is_reported(internal_errors: list[Exception]) -> None:
    assert divide(1, 0) == -1
    assert [type(error) for error in internal_errors] == [ZeroDivisionError]


def test_an_interrupt_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        divide(1, 99)


def test_the_report_is_a_warning_with_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mlflow_weir"):
        report_internal_error("tags", ValueError("odd"))
    assert "tags failed; the run goes on without it" in caplog.text
    assert "ValueError: odd" in caplog.text
