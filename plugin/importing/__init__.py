"""History of other trackers, read from their own files and delivered as a journal would be.

A *source* (``wandb_run.py``, ``tensorboard_run.py``, ``mlflow_run.py``) says what one run was, as
the records of a journal; ``bringing.py`` delivers them, each exactly once however often asked.
"""
