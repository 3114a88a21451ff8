"""The ``weir`` command; one module a command."""
