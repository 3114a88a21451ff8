"""Alembic history of the ``weir_*`` tables, kept apart from MLflow's in ``alembic_version_weir``."""
