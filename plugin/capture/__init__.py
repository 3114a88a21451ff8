"""What is captured beside a training: its code and its environment, with secrets taken out.

A process of its own does it (``process.py``), started in the background with the first run, so
that nothing here takes time from the training. Imports nothing of MLflow's.
"""
