"""Runs: searching them without building ORM rows."""
