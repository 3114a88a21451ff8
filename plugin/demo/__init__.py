"""Training scripts of ``weir demo``: plain MLflow calls, nothing of ours imported.

They are run as scripts, by path, and never imported.
"""
