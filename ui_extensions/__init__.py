"""What a browser sees: starting MLflow's server on a Weir store."""
