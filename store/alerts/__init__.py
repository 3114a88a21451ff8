"""Alerts of runs: kept, raised by rules, and queued for where they are to be sent."""
