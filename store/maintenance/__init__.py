"""What ``weir db`` does to a database: upgrade, compact, check, eject.

Each works in transactions that are complete by themselves, so that a command that was stopped
goes on where it was when it is run again.
"""
