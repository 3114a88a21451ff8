"""What journals deliver: the records in them, and their application to the database.

Nothing here imports MLflow: the background process that delivers does without it.
"""
