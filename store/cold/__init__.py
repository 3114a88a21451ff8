"""Chunks that have moved out of the database, to files that any reader of Parquet reads."""
