"""What every test has: real database servers (``support/databases.py``)."""

pytest_plugins = ["databases"]
