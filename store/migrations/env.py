"""What Alembic runs for each command: the connection is always the caller's."""

from alembic import context

from mlflow_weir.store import schema
from mlflow_weir.store.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
