"""The tracking database: knows SQL and columns; never MLflow's fluent API, never a web page."""
