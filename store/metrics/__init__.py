"""Metric history in columns: batches, chunks and rollups. Nothing here imports MLflow."""
