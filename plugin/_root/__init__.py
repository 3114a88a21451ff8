"""Weir: an MLflow plugin that keeps every metric point and answers at once.

Nothing here needs importing to use it: set ``MLFLOW_TRACKING_URI=weir:`` and keep every
``mlflow.*`` call. MLflow loads modules of this package in each ``import mlflow``, so this one
imports nothing.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
