"""The background process that delivers what trainings wrote to their journals.

``client`` is what a training uses: the standard library alone. ``loop`` and what it imports run in
the agent's own process, which never imports MLflow (1.7 s and 164 MB).
"""
